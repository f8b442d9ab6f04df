// The daemon's loop: every wake-up (wire, runner, child, signal, tick) becomes an event of the
// agent, and what the agent wants is done in one batch: results written, messages sent, runners
// started.
#include "worker/daemon.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>

#include "cluster/systemd/service.h"
#include "cluster/transport/client.h"
#include "cluster/transport/connections.h"
#include "schemas/error.h"
#include "schemas/new_file.h"
#include "schemas/try_again.h"
#include "schemas/version.h"
#include "worker/agent/agent.h"
#include "worker/devices.h"
#include "worker/results.h"
#include "worker/runners.h"
#include "worker/state_directory.h"

namespace headcount::worker {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr size_t kPacketBytes = 1 << 20;   // a packet is closed beyond this
constexpr int kPacketsPerTurn = 64;        // received before what they caused is done
constexpr Millis kDiskRetry = 1'000;       // between looks at a disk that takes nothing
constexpr Millis kSilenceWarning = 5'000;  // without a welcome: said once in the log
constexpr Millis kRefusalPause = 60'000;   // between two log lines about refusals

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

Millis now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int64_t unix_now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

class Daemon {
 public:
  explicit Daemon(const WorkerOptions& options)
      : options_(options),
        lock_(options.state),
        log_(open_log(options.state + "/worker.log")),
        results_(options.state + "/results"),
        client_(options.key),
        agent_(settings(), results_.journal().all()),
        signals_(io_, SIGTERM, SIGINT),
        children_(io_, SIGCHLD),
        wire_(io_, ::dup(client_.fd())),
        timer_(io_),
        runners_(io_, options_, log_,
                 {.feed = [this](Event event) { feed(std::move(event)); },
                  .settle = [this] { pump(); },
                  .cannot_go_on =
                      [this](const std::string& why) {
                        log_->error("{}", why);
                        stop(1);
                      }}) {
    log_->info(
        "worker {} of version {} starts, pid {}, {} runner(s), coordinator {}, {} result(s) kept",
        options_.key.name, kVersion, ::getpid(), runners_.size(), options_.key.address,
        results_.journal().size());
    const Journal::Damage& damage = results_.journal().damage();
    if (damage.dropped_bytes > 0) {
      log_->warn("{} bytes of a half-written result were dropped", damage.dropped_bytes);
    }
    if (!damage.set_aside.empty()) {
      log_->error(
          "{} bytes of the journal cannot be read and were set aside in {}: what they held "
          "is computed again",
          damage.unreadable_bytes, damage.set_aside);
    }
  }

  ~Daemon() {
    std::error_code ignored;
    std::filesystem::remove(options_.state + "/worker.json", ignored);
  }

  int run() {
    watch_signals();
    watch_children();
    watch_wire();
    service_.ready();
    try {
      tick();
      io_.run();
    } catch (const TryAgain& error) {
      log_->error("{} (log: {}/worker.log)", error.what(), options_.state);
      return kExitTryAgain;
    } catch (const Error& error) {
      log_->error("{} (log: {}/worker.log)", error.what(), options_.state);
      return 1;
    }
    return status_;
  }

 private:
  Settings settings() {
    Settings settings;
    settings.version = kVersion;
    settings.host = host_name();
    settings.incarnation = next_incarnation(options_.state, static_cast<uint64_t>(unix_now_us()));
    if (!options_.runner_program.empty()) settings.devices = options_.devices;
    settings.idle_exit_ms = options_.idle_exit_ms;
    if (options_.until_unix_ms) {
      settings.until = now() + (*options_.until_unix_ms - unix_now_us() / 1000);
    }
    return settings;
  }

  // ---- waiting

  void watch_signals() {
    signals_.async_wait([this](const boost::system::error_code& error, int signal) {
      if (error) return;
      if (asked_to_stop_) {
        log_->warn("told to stop twice: exits at once");
        stop(1);
        return;
      }
      asked_to_stop_ = true;
      log_->info("signal {}: drains", signal);
      feed(DrainRequested{});
      watch_signals();
      pump();
    });
  }

  void watch_children() {
    children_.async_wait([this](const boost::system::error_code& error, int) {
      if (error) return;
      runners_.look();
      watch_children();
      pump();
    });
  }

  void watch_wire() {
    wire_.async_wait(Descriptor::wait_read, [this](const boost::system::error_code& error) {
      if (error) return;
      watch_wire();
      pump();
    });
  }

  void tick() {
    look_at_link();
    look_at_disk();
    feed(Tick{});
    pump();
    tell_service();
    timer_.expires_after(kTick);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) tick();
    });
  }

  // ---- the disk and the service manager

  void look_at_disk() {
    const std::string& problem = results_.problem();
    if (!problem.empty() && now() - tried_disk_at_ >= kDiskRetry) {
      results_.try_again();
      tried_disk_at_ = now();
    }
    if (problem == told_problem_) return;
    told_problem_ = problem;
    if (problem.empty()) {
      log_->warn("the disk takes results again: goes on");
      feed(DiskWorks{});
    } else {
      log_->error("{}: starts no more shards until it can", problem);
      feed(DiskFailed{problem});
    }
  }

  void tell_service() {
    service_.alive();
    const Counts counts = agent_.counts();
    service_.status(!told_problem_.empty() ? told_problem_
                    : !agent_.welcomed()   ? "waits for the coordinator at " + options_.key.address
                    : agent_.draining()   ? "drains: " + std::to_string(counts.running) + " running"
                    : counts.running == 0 ? "waits for work"
                                          : std::to_string(counts.running) + " running");
  }

  // ---- the wire

  void look_at_link() {
    const transport::Client::Link link = client_.link();
    if (!link.refusal.empty() && !welcomed_) {
      log_->error("{}", link.refusal);
      stop(1);
      return;
    }
    if (!link.refusal.empty()) goes_on_though(link.refusal);
    if (link.n_connected != n_connected_) {
      n_connected_ = link.n_connected;
      refusal_.clear();
      log_->info("connected to {}", options_.key.address);
      feed(Reconnected{});
    }
    if (!link.connected && !warned_ && now() - started_at_ > kSilenceWarning) {
      warned_ = true;
      log_->warn("no coordinator answers at {} yet; goes on trying (log: {}/worker.log)",
                 options_.key.address, options_.state);
    }
    if (agent_.welcomed() && !welcomed_) {
      welcomed_ = warned_ = true;
      log_->info("welcomed by the coordinator");
    }
    if (welcomed_ && !said_ready_ && now() - tried_to_say_at_ >= kDiskRetry) say_ready();
  }

  /// STATE/worker.json, for whoever waits for this worker; a full disk keeps no worker from working.
  void say_ready() {
    try {
      write_file(options_.state + "/worker.json", "{\"name\": \"" + options_.key.name +
                                                      "\", \"pid\": " + std::to_string(::getpid()) +
                                                      "}\n");
      said_ready_ = true;
    } catch (const Error& error) {
      if (tried_to_say_at_ == 0) log_->warn("{}", error.what());
    }
    tried_to_say_at_ = now();
  }

  /// Receives until nothing is left, doing what each batch caused: ZeroMQ's fd tells of new packets
  /// only once, and sending may swallow that.
  void pump() {
    bool more = true;
    while (more && !stopped_) {
      more = receive_some();
      perform();
    }
  }

  bool receive_some() {
    for (int i = 0; i < kPacketsPerTurn; ++i) {
      std::optional<std::vector<Message>> messages;
      try {
        messages = client_.receive();
      } catch (const Error& error) {
        if (!welcomed_) throw;
        goes_on_though(error.what());
        continue;
      }
      if (!messages) return i > 0;
      for (Message& message : *messages) {
        if (const auto* refused = std::get_if<Refused>(&message); refused != nullptr && welcomed_)
          goes_on_though(refused->reason);
        feed(Received{std::move(message)});
      }
    }
    return true;
  }

  /// A worker that was welcomed once is not ended by what answers in the coordinator's place.
  void goes_on_though(const std::string& refusal) {
    if (refusal == refusal_ || now() - refused_at_ < kRefusalPause) return;
    refusal_ = refusal;
    refused_at_ = now();
    log_->warn("{}; tries again, and finishes what runs", refusal);
  }

  void send_all(std::vector<Message>& messages) {
    std::vector<Message> packet;
    size_t bytes = 0;
    for (Message& message : messages) {
      if (const auto* done = std::get_if<ShardDone>(&message)) bytes += done->result.size();
      bytes += 200;
      packet.push_back(std::move(message));
      if (bytes < kPacketBytes) continue;
      client_.send(packet);
      packet.clear();
      bytes = 0;
    }
    if (!packet.empty()) client_.send(packet);
    messages.clear();
  }

  // ---- the agent

  void feed(Event event) {
    for (Action& action : agent_.step(std::move(event), now())) {
      actions_.push_back(std::move(action));
    }
  }

  /// All actions so far, in order, with one write for all results and one packet for all messages
  /// between them.
  void perform() {
    while (!actions_.empty() && !stopped_) {
      std::deque<Action> actions = std::exchange(actions_, {});
      std::vector<ShardDone> persisted;
      for (Action& action : actions) {
        if (auto* persist = std::get_if<Persist>(&action)) persisted.push_back(persist->done);
      }
      results_.add(std::move(persisted));
      std::vector<Message> messages;
      std::vector<ShardKey> forgotten;
      for (Action& action : actions) {
        std::visit(Overloaded{[&](Send& send) { messages.push_back(std::move(send.message)); },
                              [&](const Persist& it) {
                                std::erase(forgotten, it.done.key);
                              },  // taken up again
                              [&](const Forget& forget) { forgotten.push_back(forget.key); },
                              [&](const StartRunner& start) { runners_.start(start.runner); },
                              [&](const KillRunner& kill) { runners_.kill(kill.runner); },
                              [&](RunOn& run) { runners_.run(run); },
                              [&](const Exit& exit) { exit_as_told(exit, messages); }},
                   action);
      }
      send_all(messages);
      results_.remove(forgotten);
    }
  }

  void exit_as_told(const Exit& exit, std::vector<Message>& messages) {
    send_all(messages);
    if (exit.kind == Exit::Kind::kDone) {
      log_->info("ends: {}", exit.reason);
      stop(0);
    } else {
      log_->error("{} (log: {}/worker.log)", exit.reason, options_.state);
      stop(exit.kind == Exit::Kind::kTryAgain ? kExitTryAgain : 1);
    }
  }

  void stop(int status) {
    status_ = status;
    stopped_ = true;
    service_.stopping();
    io_.stop();
  }

  const WorkerOptions& options_;
  StateLock lock_;
  std::shared_ptr<spdlog::logger> log_;
  Results results_;
  transport::Client client_;
  Agent agent_;
  asio::io_context io_;
  asio::signal_set signals_, children_;
  Descriptor wire_;
  asio::steady_timer timer_;
  Runners runners_;
  std::deque<Action> actions_;
  systemd::Service service_;
  std::string told_problem_;  // of the disk
  const Millis started_at_ = now();
  std::string refusal_;  // said in the log since it connected last
  Millis refused_at_ = -kRefusalPause;
  Millis tried_disk_at_ = 0;
  Millis tried_to_say_at_ = 0;
  uint64_t n_connected_ = 0;
  int status_ = 0;
  bool asked_to_stop_ = false, stopped_ = false, warned_ = false, welcomed_ = false;
  bool said_ready_ = false;
};

}  // namespace

int worker_main(const WorkerOptions& options) {
  transport::raise_file_limit();
  ::umask(0077);
  Daemon daemon(options);
  return daemon.run();
}

}  // namespace headcount::worker
