#include "cluster/transport/client.h"

#include <zmq.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <zmq.hpp>

#include "schemas/error.h"

namespace headcount::transport {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMaxSockets = 16'384;    // three a client
constexpr int kWaitsAfterABreach = 5;  // of ClientOptions::reconnect_ms

int64_t ms_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
}

// A coordinator that starts again waits a minute for those that held leases
// (Settings::restored_ms).
constexpr int64_t kLongestWaitMs = 5000;

// Asking these twice would do something twice.
bool may_ask_again(const std::string& verb) {
  return verb != "sweep.submit" && verb != "bench.submit" && verb != "key.create";
}

}  // namespace

struct Client::Impl {
  using Context = std::shared_ptr<zmq::context_t>;

  Impl(Context shared, const KeyFile& file, ClientOptions options)
      : address(file.address),
        wait_after_a_breach(kWaitsAfterABreach * options.reconnect_ms),
        context(std::move(shared)),
        dealer(*context, zmq::socket_type::dealer),
        monitor(*context, zmq::socket_type::pair) {
    dealer.set(zmq::sockopt::linger, 500);
    dealer.set(zmq::sockopt::immediate,
               true);  // a message for a connection that is not there is lost, never sent late
    dealer.set(zmq::sockopt::sndhwm, 2000);
    dealer.set(zmq::sockopt::rcvhwm, 2000);
    dealer.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(kMaxFrameBytes));
    dealer.set(zmq::sockopt::reconnect_ivl, static_cast<int>(options.reconnect_ms));
    dealer.set(zmq::sockopt::reconnect_ivl_max,
               static_cast<int>(std::max(options.reconnect_ms, kLongestWaitMs)));
    dealer.set(zmq::sockopt::connect_timeout, 10000);
    dealer.set(zmq::sockopt::heartbeat_ivl, 5000);
    dealer.set(zmq::sockopt::heartbeat_timeout, 20000);
    if (options.curve) {
      if (file.coordinator_public.size() != 40 || file.pair.public_key.size() != 40 ||
          file.pair.secret_key.size() != 40) {
        throw Error("the key of " + file.name + " is not a CURVE key");
      }
      dealer.set(zmq::sockopt::curve_serverkey, file.coordinator_public);
      dealer.set(zmq::sockopt::curve_publickey, file.pair.public_key);
      dealer.set(zmq::sockopt::curve_secretkey, file.pair.secret_key);
    }
    const int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                       ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED;
    static std::atomic<uint64_t> links{0};
    const std::string link_address = "inproc://link-" + std::to_string(++links);
    zmq_socket_monitor(dealer.handle(), link_address.c_str(), events);
    monitor.set(zmq::sockopt::linger, 0);
    monitor.connect(link_address);
    if (zmq_connect(dealer.handle(), file.address.c_str()) != 0) {
      throw Error("\"" + file.address + "\" is not an address: it must look like tcp://HOST:PORT");
    }
  }
  ~Impl() { zmq_socket_monitor(dealer.handle(), nullptr, 0); }

  void read_events() {
    for (;;) {
      zmq::message_t event, from;
      if (!monitor.recv(event, zmq::recv_flags::dontwait)) return;
      if (!monitor.recv(from) || event.size() < 6) return;
      uint16_t kind = 0;
      uint32_t value = 0;
      std::memcpy(&kind, event.data(), sizeof kind);
      std::memcpy(&value, event.data<char>() + 2, sizeof value);
      switch (kind) {
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
          link.connected = true;
          left_at.reset();
          ++link.n_connected;
          link.refusal.clear();
          break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
          link.connected = false;
          link.refusal =
              "the coordinator refuses this key: it is unknown there or was revoked; ask for a new "
              "one (`headcount key create`)";
          break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
          link.connected = false;
          link.refusal =
              "what answers at this address is not the coordinator this key file was made for";
          break;
        case ZMQ_EVENT_DISCONNECTED:
          link.connected = false;
          left_at = Clock::now();
          break;
        case ZMQ_EVENT_CONNECT_RETRIED:
        case ZMQ_EVENT_CONNECTED:
          left_at.reset();
          break;
        default:
          link.connected = false;
          break;
      }
    }
  }

  static Context new_context() {
    auto context = std::make_shared<zmq::context_t>();
    context->set(zmq::ctxopt::max_sockets, kMaxSockets);
    return context;
  }

  /// ZeroMQ connects again by itself after a connection broke, but never after its peer broke the
  /// protocol or refused the key.
  void connect_where_given_up() {
    if (!left_at || ms_since(*left_at) < wait_after_a_breach) return;
    left_at = Clock::now();
    zmq_disconnect(dealer.handle(), address.c_str());
    zmq_connect(dealer.handle(), address.c_str());
  }

  std::string address;
  int64_t wait_after_a_breach;
  Context context;
  zmq::socket_t dealer;
  zmq::socket_t monitor;
  Link link;
  std::optional<Clock::time_point> left_at;  // since when nobody connects
};

Client::Client(const KeyFile& file, ClientOptions options)
    : Client(std::make_unique<Impl>(Impl::new_context(), file, options)) {}
Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client Client::beside(const KeyFile& file, ClientOptions options) const {
  return Client(std::make_unique<Impl>(impl_->context, file, options));
}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

int Client::fd() const { return static_cast<int>(impl_->dealer.get(zmq::sockopt::fd)); }

void Client::wait(int64_t timeout_ms) const {
  zmq_pollitem_t items[] = {{impl_->dealer.handle(), 0, ZMQ_POLLIN, 0},
                            {impl_->monitor.handle(), 0, ZMQ_POLLIN, 0}};
  zmq_poll(items, 2, static_cast<long>(timeout_ms));
}

bool Client::send(const std::vector<Message>& messages) {
  const Packet packet = encode(messages);
  const auto part = [this](const std::string& bytes, bool more) {
    return zmq_send(impl_->dealer.handle(), bytes.data(), bytes.size(),
                    ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0;
  };
  bool sent = part(packet.header, !packet.frames.empty());
  for (size_t i = 0; sent && i < packet.frames.size(); ++i)
    sent = part(packet.frames[i], i + 1 < packet.frames.size());
  return sent;
}

std::optional<std::vector<Message>> Client::receive() {
  zmq::message_t header;
  if (!impl_->dealer.recv(header, zmq::recv_flags::dontwait)) return std::nullopt;
  std::vector<std::string> frames;
  while (impl_->dealer.get(zmq::sockopt::rcvmore)) {
    zmq::message_t part;
    if (!impl_->dealer.recv(part)) break;
    frames.push_back(part.to_string());
  }
  return decode(header.to_string_view(), std::move(frames));
}

Client::Link Client::link() {
  impl_->read_events();
  impl_->connect_where_given_up();
  return impl_->link;
}

std::string ask(Client& client, const std::string& address, const std::string& verb,
                const Fields& fields, int64_t timeout_ms, const std::function<void()>& meanwhile) {
  static std::atomic<uint64_t> numbers{0};
  const uint64_t number = ++numbers;
  const auto start = Clock::now();
  uint64_t asked_at = 0;  // the connection it was asked over
  for (;;) {
    const auto link = client.link();
    if (!link.refusal.empty()) throw Error(link.refusal);
    if (link.connected && link.n_connected != asked_at) {
      if (asked_at != 0 && !may_ask_again(verb)) {
        throw Error(
            "the connection to the coordinator broke before it answered: see `headcount sweep "
            "list` for what it has done");
      }
      if (client.send({Request{number, verb, fields}})) asked_at = link.n_connected;
    }
    while (auto messages = client.receive()) {
      for (auto& message : *messages) {
        if (const auto* refused = std::get_if<Refused>(&message)) throw Error(refused->reason);
        auto* reply = std::get_if<Reply>(&message);
        if (reply == nullptr || reply->number != number) continue;
        if (!reply->ok) throw Error(reply->error);
        return std::move(reply->json);
      }
    }
    const int64_t left = timeout_ms - ms_since(start);
    if (left <= 0) {
      throw Error(asked_at == 0 ? "no coordinator answers at " + address +
                                      ": is it running (`headcount coordinator start`)?"
                                : "the coordinator at " + address + " did not answer within " +
                                      std::to_string(timeout_ms / 1000) + " s");
    }
    if (meanwhile) meanwhile();
    client.wait(std::min<int64_t>(left, 200));
  }
}

}  // namespace headcount::transport
