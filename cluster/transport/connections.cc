#include "cluster/transport/connections.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace headcount::transport {
namespace {

constexpr rlim_t kMaxReserve = 256;        // open files kept for this process itself
constexpr uint64_t kUncounted = 64 << 10;  // sent without asking the kernel what became of it

// Newcomers get descriptors below this.
int share_of_files() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const rlim_t limit = std::min<rlim_t>(files.rlim_cur, INT32_MAX);
  return static_cast<int>(limit - std::min(limit / 4, kMaxReserve));
}

struct Counts {
  uint64_t received = 0, taken = 0;
};

// nullopt: no TCP socket (any more), or a kernel that does not count.
std::optional<Counts> counts_of(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
      size < offsetof(tcp_info, tcpi_segs_out) || info.tcpi_bytes_acked == 0)
    return std::nullopt;
  return Counts{info.tcpi_bytes_received, info.tcpi_bytes_acked};
}

}  // namespace

int64_t raise_file_limit() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_NOFILE, &files);
  return static_cast<int64_t>(files.rlim_cur);
}

Connections::Connections(size_t max_packet_bytes)
    : max_packet_bytes_(max_packet_bytes), max_fd_(share_of_files()) {}

void Connections::accepted(int fd) {
  disconnected(fd);
  if (fd < max_fd_) {
    const std::lock_guard lock(mutex_);
    peers_[fd];
    return;
  }
  shutdown(fd, SHUT_RDWR);  // ZeroMQ reads its end and closes it
  ++n_shut_out_;
}

void Connections::disconnected(int fd) {
  const std::lock_guard lock(mutex_);
  const auto peer = peers_.find(fd);
  if (peer == peers_.end()) return;
  forget_route(peer->second.route, fd);
  peers_.erase(peer);
}

void Connections::look() {
  const std::lock_guard lock(mutex_);
  for (auto& [fd, peer] : peers_) {
    const auto counts = counts_of(fd);
    if (!counts) continue;
    if (std::exchange(peer.heard, false)) {
      peer.received = counts->received;
      peer.over_at.reset();
      continue;
    }
    const uint64_t unended = counts->received - peer.received;
    if (unended <= max_packet_bytes_) continue;
    if (!peer.over_at) peer.over_at = n_emptied_;
    if (n_emptied_ > *peer.over_at || unended > 4 * max_packet_bytes_) shutdown(fd, SHUT_RDWR);
  }
}

void Connections::heard(const std::string& route, int fd) {
  const std::lock_guard lock(mutex_);
  Peer& peer = peers_[fd];
  peer.heard = true;
  if (peer.route == route) return;
  forget_route(peer.route, fd);
  peer.route = route;
  fds_[route] = fd;
}

// The owner may hear what a connection said after it has ended and its descriptor is another's.
void Connections::forget_route(const std::string& route, int fd) {
  const auto known = fds_.find(route);
  if (known != fds_.end() && known->second == fd) fds_.erase(known);
}

Connections::Peer* Connections::find(const std::string& route) {
  const auto fd = fds_.find(route);
  const auto peer = fd == fds_.end() ? peers_.end() : peers_.find(fd->second);
  return peer == peers_.end() ? nullptr : &peer->second;
}

void Connections::sent(const std::string& route, size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (Peer* peer = find(route)) peer->sent += bytes;
}

size_t Connections::unread(const std::string& route) {
  const std::lock_guard lock(mutex_);
  Peer* peer = find(route);
  if (peer == nullptr || peer->sent <= kUncounted) return 0;
  const auto counts = counts_of(fds_.at(route));
  // What ZeroMQ adds to each message is taken too: all of it has arrived somewhat before this says
  // so, and from then on both are counted anew.
  if (!counts || counts->taken - peer->taken >= peer->sent) {
    peer->sent = 0;
    peer->taken = counts ? counts->taken : 0;
    return 0;
  }
  return peer->sent - (counts->taken - peer->taken);
}

}  // namespace headcount::transport
