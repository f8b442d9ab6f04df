// A worker's or command's end of the wire: a CURVE DEALER that connects, and reconnects for ever,
// waiting 1, 2, 4 .. 32 s. Threads: the owner's and ZeroMQ's one I/O thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/transport/keys.h"
#include "schemas/messages.h"

namespace headcount::transport {

struct ClientOptions {
  int64_t reconnect_ms = 1000;  // the first wait; doubled after each failure up to 5 s
  bool curve = true;            // false only in measurements
};

class Client {
 public:
  /// Starts connecting to file.address; throws Error only for an address or key that is none.
  explicit Client(const KeyFile& file, ClientOptions options = {});
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();
  /// A client of its own that shares this one's I/O thread: for programs that stand for many.
  Client beside(const KeyFile& file, ClientOptions options = {}) const;

  /// Readable when something may have arrived. Edge-triggered, and send() may swallow an edge:
  /// after every wake-up and after every send(), call receive() until it returns nothing.
  int fd() const;
  /// Waits up to timeout_ms (-1: for ever) for a message, or a change that link() has not told yet.
  void wait(int64_t timeout_ms) const;
  /// One packet. False while there is no connection, or it takes no more: the messages are lost.
  bool send(const std::vector<Message>& messages);
  /// The messages of the next packet, or nothing. Throws Error when the coordinator speaks another
  /// protocol.
  std::optional<std::vector<Message>> receive();

  /// How the connection stands; call it several times a second, as it also connects anew where
  /// ZeroMQ gave up. `refusal` is one sentence when what answers refuses this key (unknown or
  /// revoked) or is not the coordinator the key file was made for. Whoever holds the port can say
  /// both, so neither is proof; it is tried again all the same, and a key allowed later connects.
  struct Link {
    bool connected = false;
    uint64_t n_connected = 0;  // grows with every (re)connection: say Hello again
    std::string refusal;
  };
  Link link();

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A command's one question. Throws Error: no coordinator answers at ADDRESS within timeout, the
/// key is refused, or reply.error itself where the coordinator answers no. Returns the reply's JSON
/// text. `meanwhile` is called some times a second until then.
std::string ask(Client& client, const std::string& address, const std::string& verb,
                const Fields& fields, int64_t timeout_ms,
                const std::function<void()>& meanwhile = {});

}  // namespace headcount::transport
