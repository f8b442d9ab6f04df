// The coordinator's end of the wire: a CURVE ROUTER whose peers are named by their key. Threads:
// the owner's, ZeroMQ's one I/O thread, and one thread "zap" that answers ZeroMQ's authentication
// requests (ZAP, RFC 27) from the AllowList.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/transport/keys.h"
#include "schemas/messages.h"

namespace headcount::transport {

/// What arrived: from whom (the ZAP User-Id: a public key), over which connection (only today's
/// address).
struct Incoming {
  std::string peer;
  std::string route;
  Packet packet;
};

struct ServerOptions {
  std::string address;  // tcp://host:port; port 0 or * takes a free one
  KeyPair pair;
  bool curve = true;  // false only in measurements: every peer is then named by its route
};

class Server {
 public:
  /// Throws Error in one sentence: address in use, not an address, not of this machine.
  Server(const ServerOptions& options, AllowList& allowed);
  Server(Server&&) noexcept;
  ~Server();

  /// The address with its real port.
  std::string address() const;
  /// Readable (edge-triggered: receive until nothing) when something may have arrived.
  int fd() const;
  /// Waits up to timeout_ms (-1: for ever) for a message, or for `other_fd` (-1: none) to become
  /// readable.
  void wait(int64_t timeout_ms, int other_fd) const;
  /// The next message, or nothing. Never waits. Datagrams with too many or too large parts, or from
  /// a key no longer allowed, are dropped.
  std::optional<Incoming> receive();
  /// False when that connection is gone or takes no more: the message is lost, which the protocol
  /// mends.
  bool send(const std::string& route, const Packet& packet);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headcount::transport
