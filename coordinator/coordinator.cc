#include "coordinator/coordinator.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cluster/systemd/service.h"
#include "cluster/transport/connections.h"
#include "cluster/transport/ports.h"
#include "coordinator/loop.h"
#include "schemas/error.h"
#include "schemas/new_file.h"
#include "schemas/try_again.h"
#include "schemas/version.h"
#include "store/private_files.h"

namespace headcount::coordinator {
namespace {

constexpr const char* kPortMeta = "listen.address";
constexpr const char* kLoopback = "tcp://127.0.0.1:0";
constexpr auto kFarewell = std::chrono::milliseconds(200);

std::string information_path(const std::string& state) { return state + "/coordinator.json"; }

/// SIGTERM and SIGINT as a readable file, for as long as it lives.
class StopSignals {
 public:
  StopSignals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, &before_);  // before any thread starts: they inherit it
    fd_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  }
  StopSignals(const StopSignals&) = delete;
  ~StopSignals() {
    ::close(fd_);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  int fd() const { return fd_; }
  bool arrived() const {
    signalfd_siginfo info;
    return ::read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info);
  }

 private:
  sigset_t before_;
  int fd_ = -1;
};

bool any_port(const std::string& address) {
  return address.ends_with(":0") || address.ends_with(":*");
}

// Whoever has a key but this machine's own commands, which find a coordinator by its state
// directory.
int64_t n_keys_of_others(const std::string& state) {
  const std::string admin = transport::admin_key_path(state);
  const std::string own = std::filesystem::exists(admin)
                              ? transport::read_key_file(admin).pair.public_key
                              : std::string();
  const auto keys = transport::list_keys(state);
  return std::count_if(keys.begin(), keys.end(),
                       [&](const auto& key) { return key.public_key != own; });
}

// Where the port is not said: the one this state had before, so that key files made then stay true;
// else a free one that no outgoing connection takes.
transport::Server listen(const CoordinatorOptions& options, const store::Store& store,
                         transport::AllowList& allowed, const transport::KeyPair& pair, Log& log) {
  transport::ServerOptions server{.address = options.listen.empty() ? kLoopback : options.listen,
                                  .pair = pair,
                                  .curve = options.curve};
  if (!any_port(server.address)) return transport::Server(server, allowed);
  const std::string host = server.address.substr(0, server.address.rfind(':') + 1);
  const std::string before = store.meta(kPortMeta).value_or("");
  if (before.starts_with(host)) {
    try {
      server.address = before;
      return transport::Server(server, allowed);
    } catch (const transport::AddressInUse& error) {
      const int64_t n = n_keys_of_others(options.state);
      if (options.listen.empty() && n > 0) {
        throw Error(std::string(error.what()) + " tcp://HOST:PORT; " + std::to_string(n) +
                    (n == 1 ? " key file names" : " key files name") +
                    " this address, and would have to be made anew for another");
      }
      log.line(std::string(error.what()) + "; another port is taken");
    }
  }
  for (const int port : transport::ports_for(options.state)) {
    try {
      server.address = host + std::to_string(port);
      return transport::Server(server, allowed);
    } catch (const transport::AddressInUse&) {
      continue;
    }
  }
  server.address = host + "0";
  return transport::Server(server, allowed);
}

void write_information(const CoordinatorOptions& options, const std::string& address,
                       const std::string& public_key) {
  const nlohmann::ordered_json json = {
      {"pid", getpid()}, {"address", address}, {"public_key", public_key}, {"version", kVersion}};
  write_file(information_path(options.state), json.dump() + "\n", Readers::kOwner);
}

/// False where a reader of files is left that does not come back.
bool run(CoordinatorOptions options, Log& log) {
  transport::raise_file_limit();
  store::Store store = store::Store::open(options.state);
  transport::AllowList allowed(options.state);
  const auto pair = transport::coordinator_pair(options.state);
  const StopSignals signals;
  transport::Server server = listen(options, store, allowed, pair, log);
  const std::string address = server.address();
  const std::string advertised = options.advertise.empty() ? address : options.advertise;
  store.transaction([&] { store.set_meta(kPortMeta, address); });
  options.local_admin = transport::admin_key(options.state, address).pair.public_key;
  allowed.refresh();
  log.line("coordinator " + std::string(kVersion) + ", process " + std::to_string(getpid()) +
           ", listens on " + address);
  Loop loop(options, store, server, allowed, log);
  // The file says ready: where sweeps are quickly read again, they go on already.
  for (int i = 0; i < 20 && !loop.restored(); ++i) loop.turn(signals.fd());
  write_information(options, advertised, pair.public_key);
  systemd::Service service;
  service.ready();
  while (!loop.stopping() && !signals.arrived()) {
    loop.turn(signals.fd());
    service.alive();
    service.status(loop.waits().empty() ? "listens on " + address : "waits: " + loop.waits());
  }
  service.stopping();
  unlink(information_path(options.state).c_str());
  log.line("coordinator stops");
  const bool closed = loop.close();
  // A client may lose an answer it has not read when the connection ends right behind it.
  if (loop.stopping()) std::this_thread::sleep_for(kFarewell);
  return closed;
}

}  // namespace

int coordinator_main(const CoordinatorOptions& options) {
  try {
    umask(077);               // whatever is made from here on is this user's alone
    std::error_code ignored;  // what keeps the folder from being made is said by the store
    std::filesystem::create_directories(options.state, ignored);
    Log log(options.state + "/coordinator.log");
    for (const std::string& line : store::make_private(options.state)) {
      log.line(line);
      std::fprintf(stderr, "headcount: %s\n", line.c_str());
    }
    try {
      if (!run(options, log)) {
        std::fflush(nullptr);
        _exit(0);  // nothing waits for a mount that is dead
      }
    } catch (const Error& error) {
      log.line(std::string("stops: ") + error.what());
      throw;
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "headcount: %s (log: %s/coordinator.log)\n", error.what(),
                 options.state.c_str());
    return dynamic_cast<const TryAgain*>(&error) != nullptr ? kExitTryAgain : 1;
  }
  return 0;
}

std::optional<Running> find_running(const std::string& state) {
  std::ifstream in(information_path(state));
  const auto json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const int lock = ::open((state + "/lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (lock < 0) return std::nullopt;
  const bool free =
      flock(lock, LOCK_SH | LOCK_NB) == 0;  // nobody has it: what the file names is gone
  ::close(lock);
  if (free) return std::nullopt;
  return Running{.pid = json.value("pid", int64_t{0}),
                 .address = json.value("address", ""),
                 .public_key = json.value("public_key", "")};
}

}  // namespace headcount::coordinator
