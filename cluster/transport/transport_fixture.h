// What the tests of the wire share: a server on a free port of loopback, and few files to open.
#pragma once

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cluster/transport/client.h"
#include "cluster/transport/keys.h"
#include "cluster/transport/server.h"
#include "schemas/error.h"

namespace headcount::transport {

namespace fs = std::filesystem;
using testing::HasSubstr;

inline std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline sockaddr_in loopback(const std::string& address) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return to;
}

/// A TCP connection to the server at `address`; nothing is said yet.
inline int raw_connection(const std::string& address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in to = loopback(address);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  return fd;
}

/// So many files can be opened beyond those that are, as long as it lives.
class FewFiles {
 public:
  explicit FewFiles(rlim_t n) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int lowest = dup(0);
    close(lowest);
    const rlimit few{static_cast<rlim_t>(lowest) + n, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
  }
  FewFiles(const FewFiles&) = delete;
  ~FewFiles() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

/// A state directory with a server on a free port of loopback.
class TransportTest : public testing::Test {
 protected:
  TransportTest() {
    char name[] = "/tmp/headcount-transport-XXXXXX";
    state = mkdtemp(name);
    allowed = std::make_unique<AllowList>(state);
    start("tcp://127.0.0.1:*");
  }
  ~TransportTest() override {
    server.reset();
    fs::remove_all(state);
  }
  void start(const std::string& address) {
    server = std::make_unique<Server>(
        ServerOptions{.address = address, .pair = coordinator_pair(state)}, *allowed);
  }
  KeyFile key(const std::string& name, Role role = Role::kWorker) {
    return create_key(state, role, name, server->address());
  }

  std::optional<Incoming> next(int64_t timeout_ms = 5000) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (std::chrono::steady_clock::now() < end) {
      if (auto incoming = server->receive()) return incoming;
      server->wait(20, -1);
    }
    return std::nullopt;
  }
  static bool send(Client& client, const std::vector<Message>& messages,
                   int64_t timeout_ms = 5000) {
    for (int64_t waited = 0; waited < timeout_ms; waited += 10) {
      if (client.send(messages)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  static std::vector<Message> receive(Client& client, int64_t timeout_ms = 5000) {
    for (int64_t waited = 0; waited < timeout_ms; waited += 20) {
      if (auto messages = client.receive()) return *messages;
      client.link();
      client.wait(20);
    }
    return {};
  }
  static std::string refusal(Client& client, int64_t timeout_ms = 5000) {
    for (int64_t waited = 0; waited < timeout_ms; waited += 20) {
      if (auto link = client.link(); !link.refusal.empty()) return link.refusal;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return "";
  }

  std::string state;
  std::unique_ptr<AllowList> allowed;
  std::unique_ptr<Server> server;
};

}  // namespace headcount::transport
