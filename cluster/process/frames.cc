// Part of cluster/process/process.h.
// Frames over a stream socket and the capped tail of a child's output.
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "cluster/process/process.h"
#include "schemas/error.h"

namespace headcount::process {
namespace {

constexpr size_t kPrefixBytes = 4;
constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kReadBytesPerCall = 4 << 20;

void put_size(std::string& out, size_t size) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(size >> shift & 255));
}

size_t size_at(std::string_view bytes) {
  size_t size = 0;
  for (size_t i = 0; i < kPrefixBytes; ++i) {
    size |= static_cast<size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return size;
}

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

FrameStream::FrameStream(int fd, size_t max_bytes) : fd_(fd), max_bytes_(max_bytes) {}

void FrameStream::send(std::string_view frame) {
  if (frame.size() > max_bytes_) {
    throw Error("a frame of " + std::to_string(frame.size()) + " bytes is above the limit of " +
                std::to_string(max_bytes_));
  }
  if (out_at_ > out_.size() / 2) {
    out_.erase(0, out_at_);
    out_at_ = 0;
  }
  put_size(out_, frame.size());
  out_.append(frame);
  flush();
}

bool FrameStream::flush() {
  while (wants_write() && !closed_) {
    const ssize_t sent =
        ::send(fd_, out_.data() + out_at_, out_.size() - out_at_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      out_at_ += static_cast<size_t>(sent);
    } else if (would_block()) {
      return false;
    } else {
      closed_ = true;
    }
  }
  out_.clear();
  out_at_ = 0;
  return true;
}

std::vector<std::string> FrameStream::receive() {
  size_t taken = 0;
  while (!closed_ && taken < kReadBytesPerCall) {
    const size_t before = in_.size();
    in_.resize(before + kReadBytes);
    const ssize_t got = ::recv(fd_, in_.data() + before, kReadBytes, MSG_DONTWAIT);
    const bool blocked = got < 0 && would_block();
    in_.resize(before + (got > 0 ? static_cast<size_t>(got) : 0));
    if (blocked) break;
    if (got <= 0) closed_ = true;
    taken += got > 0 ? static_cast<size_t>(got) : 0;
  }
  std::vector<std::string> frames;
  size_t at = 0;
  while (in_.size() - at >= kPrefixBytes) {
    const size_t size = size_at(std::string_view(in_).substr(at));
    if (size > max_bytes_) {
      throw Error("a frame of " + std::to_string(size) + " bytes was announced; the limit is " +
                  std::to_string(max_bytes_));
    }
    if (in_.size() - at - kPrefixBytes < size) break;
    frames.push_back(in_.substr(at + kPrefixBytes, size));
    at += kPrefixBytes + size;
  }
  in_.erase(0, at);
  return frames;
}

bool FrameStream::wait(int64_t timeout_ms) const {
  const short events = static_cast<short>(wants_write() ? POLLIN | POLLOUT : POLLIN);
  pollfd watched = {.fd = fd_, .events = events, .revents = 0};
  return ::poll(&watched, 1, static_cast<int>(timeout_ms)) > 0;
}

bool LogTail::read_from(int fd) {
  std::array<char, 16384> buffer{};
  for (size_t taken = 0; taken < kReadBytesPerCall;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got == 0) return false;
    if (got < 0) return would_block();
    add({buffer.data(), static_cast<size_t>(got)});
    taken += static_cast<size_t>(got);
  }
  return true;
}

void LogTail::add(std::string_view text) {
  text_.append(text);
  if (text_.size() <= max_bytes_) return;
  text_.erase(0, text_.size() - max_bytes_);
  cut_ = true;
}

std::string LogTail::text() const {
  if (!cut_) return text_;
  const size_t line = text_.find('\n');
  return line == std::string::npos || line + 1 == text_.size() ? text_ : text_.substr(line + 1);
}

}  // namespace headcount::process
