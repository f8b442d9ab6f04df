// What the peers of a server may take of its process. Open files: a newcomer beyond a share of the
// limit is shut out, whoever is connected stays. Memory: what is sent to a peer that does not read
// it, and what a peer sends of a message that never ends, are kept by ZeroMQ without a limit in
// bytes; the kernel's own count of each connection's bytes (TCP_INFO) says how much that is.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace headcount::transport {

/// Raises this process's limit of open files as far as it may; returns it.
int64_t raise_file_limit();

/// Used by the owner of a server and by the thread that lets its peers in.
class Connections {
 public:
  /// `max_packet_bytes`: of one message; a connection that sends more without an end is shut.
  explicit Connections(size_t max_packet_bytes);

  /// As ZeroMQ's monitor tells them. A newcomer whose descriptor, as the lowest free one, says that
  /// too many files are open is shut out.
  void accepted(int fd);
  void disconnected(int fd);
  /// Several times a second: shuts who sends a message that never ends. Some that ended may lie
  /// unread while the owner is busy, so that only beyond four times the limit it does not wait for
  /// the owner to have read all.
  void look();
  /// The owner has read all that had arrived.
  void emptied() { ++n_emptied_; }

  /// A whole message of `route` has arrived over `fd`.
  void heard(const std::string& route, int fd);
  void sent(const std::string& route, size_t bytes);
  /// Bytes sent to `route` that its machine has not taken yet, about; 0 where nobody knows.
  size_t unread(const std::string& route);

  /// Newcomers shut out so far.
  int64_t n_shut_out() const { return n_shut_out_; }

 private:
  struct Peer {
    std::string route;                // empty: not heard yet
    bool heard = false;               // since the last look
    uint64_t received = 0;            // the kernel's count when a message ended last
    std::optional<uint64_t> over_at;  // n_emptied_ when it was first seen beyond the limit
    uint64_t sent = 0;                // since the kernel's count of what was taken stood at `taken`
    uint64_t taken = 0;
  };
  Peer* find(const std::string& route);
  void forget_route(const std::string& route, int fd);

  const size_t max_packet_bytes_;
  const int max_fd_;
  std::atomic<int64_t> n_shut_out_ = 0;
  std::atomic<uint64_t> n_emptied_ = 0;
  std::mutex mutex_;
  std::map<int, Peer> peers_;                 // by descriptor
  std::unordered_map<std::string, int> fds_;  // by route
};

}  // namespace headcount::transport
