#include "cluster/transport/server.h"

#include <cerrno>
#include <cstring>
#include <thread>
#include <zmq.hpp>

#include "cluster/transport/connections.h"
#include "cluster/transport/ports.h"
#include "schemas/error.h"

namespace headcount::transport {
namespace {

constexpr int kMaxParts = 4096;
constexpr size_t kMaxUnread = 64u << 20;  // bytes queued for a peer that does not read them
constexpr int kHandshakeMs = 5000;        // a connection that has not shaken hands by then is shut
constexpr int kUnread = 16;  // packets of a peer; what it says beyond waits on its own machine
constexpr auto kLook = std::chrono::milliseconds(250);
constexpr const char* kMonitorAddress = "inproc://connections";
constexpr const char* kZapAddress = "inproc://zeromq.zap.01";  // where libzmq asks (RFC 27)
constexpr const char* kZapDomain = "headcount";

// One ZAP request: the peer's public key is allowed and becomes its User-Id, or is refused.
void answer(zmq::socket_t& socket, AllowList& allowed) {
  std::vector<std::string> parts;
  do {
    zmq::message_t part;
    if (!socket.recv(part)) return;
    parts.emplace_back(part.to_string());
  } while (socket.get(zmq::sockopt::rcvmore));
  std::string status = "400", text = "key not allowed", user;
  if (parts.size() >= 7 && parts[0] == "1.0" && parts[5] == "CURVE" && parts[6].size() == 32) {
    char key[41];
    zmq_z85_encode(key, reinterpret_cast<const uint8_t*>(parts[6].data()), 32);
    allowed.refresh();
    if (allowed.find(key)) {
      status = "200";
      text = "OK";
      user = key;
    }
  }
  const std::string id = parts.size() > 1 ? parts[1] : "";
  for (const auto& part : {std::string("1.0"), id, status, text, user})
    socket.send(zmq::buffer(part), zmq::send_flags::sndmore);
  socket.send(zmq::message_t(), zmq::send_flags::none);
}

void read_events(zmq::socket_t& monitor, Connections& connections) {
  zmq::message_t event, address;
  while (monitor.recv(event, zmq::recv_flags::dontwait)) {
    if (!monitor.recv(address) || event.size() < 6) return;
    uint16_t kind = 0;
    int32_t fd = 0;
    std::memcpy(&kind, event.data(), sizeof kind);
    std::memcpy(&fd, event.data<char>() + sizeof kind, sizeof fd);
    if (kind == ZMQ_EVENT_ACCEPTED) connections.accepted(fd);
    if (kind == ZMQ_EVENT_DISCONNECTED) connections.disconnected(fd);
  }
}

std::string user_of(zmq::message_t& message) {
  const char* user = zmq_msg_gets(message.handle(), "User-Id");
  return user == nullptr ? "" : user;
}

[[noreturn]] void fail_bind(const std::string& address, int error) {
  switch (error) {
    case EADDRINUSE:
      throw AddressInUse(address + " is in use by " +
                         holder_of(std::stoi(address.substr(address.rfind(':') + 1))) +
                         ": stop it, or choose another port with --listen");
    case EACCES:
      throw Error(address +
                  " may not be listened on by this user: choose a port above 1023 with --listen");
    case ENODEV:
    case EADDRNOTAVAIL:
      throw Error(address + " is not an address of this machine: choose one with --listen");
    default:
      throw Error("cannot listen on " + address + " (" + zmq_strerror(error) +
                  "): give --listen tcp://HOST:PORT");
  }
}

}  // namespace

struct Server::Impl {
  Impl(const ServerOptions& options, AllowList& list)
      : allowed(list),
        curve(options.curve),
        max_packet_bytes(options.max_packet_bytes),
        connections(options.max_packet_bytes),
        router(context, zmq::socket_type::router) {
    start_zap();
    router.set(zmq::sockopt::router_mandatory, true);
    router.set(zmq::sockopt::linger, 3000);  // the last reply of a busy machine still leaves
    router.set(zmq::sockopt::sndhwm, 20000);
    router.set(zmq::sockopt::rcvhwm, kUnread);
    router.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(kMaxFrameBytes));
    router.set(zmq::sockopt::heartbeat_ivl, 5000);
    router.set(zmq::sockopt::heartbeat_timeout, 20000);
    router.set(zmq::sockopt::handshake_ivl, kHandshakeMs);
    router.set(zmq::sockopt::backlog, 1024);
    if (curve) {
      router.set(zmq::sockopt::curve_server, true);
      router.set(zmq::sockopt::curve_secretkey, options.pair.secret_key);
      router.set(zmq::sockopt::zap_domain, kZapDomain);
    }
    if (zmq_bind(router.handle(), options.address.c_str()) != 0) {
      const int error = errno;
      stop();
      fail_bind(options.address, error);
    }
  }
  ~Impl() { stop(); }

  void start_zap() {
    zmq::socket_t responder(context, zmq::socket_type::rep),
        monitor(context, zmq::socket_type::pair);
    responder.set(zmq::sockopt::linger, 0);
    responder.bind(kZapAddress);
    zmq_socket_monitor(router.handle(), kMonitorAddress,
                       ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED);
    monitor.set(zmq::sockopt::linger, 0);
    monitor.set(zmq::sockopt::rcvhwm, 0);  // ZeroMQ's I/O thread must never wait for it
    monitor.connect(kMonitorAddress);
    zap = std::thread([this, asked = std::move(responder), told = std::move(monitor)]() mutable {
      try {
        let_peers_in(asked, told);
      } catch (const zmq::error_t&) {
        asked.close();  // the context is being shut down
        told.close();
      }
    });
  }

  [[noreturn]] void let_peers_in(zmq::socket_t& asked, zmq::socket_t& told) {
    auto looked_at = std::chrono::steady_clock::now();
    for (;;) {
      zmq::pollitem_t items[] = {{told.handle(), 0, ZMQ_POLLIN, 0},
                                 {asked.handle(), 0, ZMQ_POLLIN, 0}};
      zmq::poll(items, 2, kLook);
      read_events(told, connections);
      if ((items[1].revents & ZMQ_POLLIN) != 0) answer(asked, allowed);
      if (const auto now = std::chrono::steady_clock::now(); now - looked_at >= kLook) {
        looked_at = now;
        connections.look();
      }
    }
  }

  void stop() {
    zmq_socket_monitor(router.handle(), nullptr, 0);
    router.close();
    context.shutdown();
    if (zap.joinable()) zap.join();
  }

  AllowList& allowed;
  bool curve;
  size_t max_packet_bytes;
  Connections connections;
  zmq::context_t context;
  zmq::socket_t router;
  std::thread zap;
};

Server::Server(const ServerOptions& options, AllowList& allowed)
    : impl_(std::make_unique<Impl>(options, allowed)) {}
Server::Server(Server&&) noexcept = default;
Server::~Server() = default;

std::string Server::address() const { return impl_->router.get(zmq::sockopt::last_endpoint); }

int Server::fd() const { return static_cast<int>(impl_->router.get(zmq::sockopt::fd)); }

void Server::wait(int64_t timeout_ms, int other_fd) const {
  zmq_pollitem_t items[] = {{impl_->router.handle(), 0, ZMQ_POLLIN, 0},
                            {nullptr, other_fd, ZMQ_POLLIN, 0}};
  zmq_poll(items, other_fd >= 0 ? 2 : 1,
           static_cast<long>(timeout_ms));  // a signal ends it early: no error
}

std::optional<Incoming> Server::receive() {
  for (;;) {
    zmq::message_t route;
    if (!impl_->router.recv(route, zmq::recv_flags::dontwait)) {
      impl_->connections.emptied();
      return std::nullopt;
    }
    Incoming incoming{.peer = {}, .route = route.to_string(), .packet = {}};
    int n_parts = 0;
    size_t size = 0;
    while (impl_->router.get(zmq::sockopt::rcvmore)) {
      zmq::message_t part;
      if (!impl_->router.recv(part)) break;
      size += part.size();
      if (n_parts == 0) {
        impl_->connections.heard(incoming.route, zmq_msg_get(part.handle(), ZMQ_SRCFD));
        incoming.peer = impl_->curve ? user_of(part) : incoming.route;
        incoming.packet.header = part.to_string();
      } else if (n_parts < kMaxParts && size <= impl_->max_packet_bytes) {
        incoming.packet.frames.push_back(part.to_string());
      }
      ++n_parts;
    }
    if (n_parts == 0 || n_parts > kMaxParts || size > impl_->max_packet_bytes) continue;
    if (impl_->curve && !impl_->allowed.find(incoming.peer)) {
      send(incoming.route,
           encode({Refused{.reason = "this key was revoked: ask for a new one", .revoked = true}}));
      continue;
    }
    return incoming;
  }
}

bool Server::send(const std::string& route, const Packet& packet) {
  const auto part = [this](const std::string& bytes, bool more) {
    return zmq_send(impl_->router.handle(), bytes.data(), bytes.size(),
                    ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0;
  };
  if (unread(route) > kMaxUnread || !part(route, true)) return false;
  bool sent = part(packet.header, !packet.frames.empty());
  size_t size = packet.header.size();
  for (size_t i = 0; i < packet.frames.size(); ++i) {
    sent = part(packet.frames[i], i + 1 < packet.frames.size()) && sent;
    size += packet.frames[i].size();
  }
  impl_->connections.sent(route, size);
  return sent;
}

size_t Server::unread(const std::string& route) const { return impl_->connections.unread(route); }

int64_t Server::n_shut_out() const { return impl_->connections.n_shut_out(); }

}  // namespace headcount::transport
