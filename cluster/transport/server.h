// The coordinator's end of the wire: a CURVE ROUTER whose peers are named by their key. Threads:
// the owner's, ZeroMQ's one I/O thread, and one thread "zap" that lets peers in: it answers
// ZeroMQ's authentication requests (ZAP, RFC 27) from the AllowList and shuts out whoever takes too
// much (connections.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/transport/keys.h"
#include "schemas/error.h"
#include "schemas/messages.h"

namespace headcount::transport {

/// What arrived: from whom (the ZAP User-Id: a public key), over which connection (only today's
/// address).
struct Incoming {
  std::string peer;
  std::string route;
  Packet packet;
};

/// Another program listens there.
class AddressInUse : public Error {
 public:
  using Error::Error;
};

struct ServerOptions {
  std::string address;  // tcp://host:port; port 0 or * takes a free one
  KeyPair pair;
  bool curve = true;  // false only in measurements: every peer is then named by its route
  size_t max_packet_bytes = kMaxFrameBytes + 2 * kMaxHeaderBytes;  // of a message, however cut
};

class Server {
 public:
  /// Throws Error in one sentence: not an address, not of this machine; AddressInUse, naming who
  /// has it.
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
  /// a key no longer allowed, are dropped; the bearer of such a key is told that it was revoked.
  std::optional<Incoming> receive();
  /// False when that connection is gone or takes no more: the message is lost, which the protocol
  /// mends.
  bool send(const std::string& route, const Packet& packet);
  /// Bytes sent over that connection that its peer has not taken yet, about. Beyond 64 MiB of them
  /// send() takes no more.
  size_t unread(const std::string& route) const;
  /// Newcomers shut out so far because too many files are open.
  int64_t n_shut_out() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headcount::transport
