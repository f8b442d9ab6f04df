#include "worker/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <variant>

#include "schemas/error.h"

namespace headcount::worker {
namespace {

constexpr size_t kHeadBytes = 5;  // type and size
constexpr size_t kSumBytes = 8;

void put_u32(std::string& out, size_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<char>(value >> shift & 255));
  }
}

uint32_t u32_at(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

std::string checksum(std::string_view payload) {
  return std::string(as_bytes(sha256(payload)).substr(0, kSumBytes));
}

void put_record(std::string& out, char type, std::string_view payload) {
  out.push_back(type);
  put_u32(out, payload.size());
  out.append(payload);
  out.append(checksum(payload));
}

std::string payload_of(const ShardDone& result) {
  const Packet packet = encode(std::vector<Message>{result});
  std::string payload;
  put_u32(payload, packet.header.size());
  payload += packet.header;
  for (const std::string& frame : packet.frames) payload += frame;  // none or one
  return payload;
}

ShardDone result_of(std::string_view payload) {
  if (payload.size() < 4 || u32_at(payload) > payload.size() - 4) {
    throw Error("a record without a result");
  }
  const std::string_view header = payload.substr(4, u32_at(payload));
  std::vector<std::string> frames;
  if (payload.size() > 4 + header.size()) frames.emplace_back(payload.substr(4 + header.size()));
  std::vector<Message> messages = decode(header, std::move(frames));
  if (messages.size() != 1 || !std::holds_alternative<ShardDone>(messages[0])) {
    throw Error("a record without a result");
  }
  return std::get<ShardDone>(std::move(messages[0]));
}

}  // namespace

Journal::Journal(const std::string& directory, uint64_t compact_above_bytes)
    : file_(directory + "/journal"), compact_above_(compact_above_bytes) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) throw Error("cannot create " + directory + ": " + failed.message());
  fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) throw Error("cannot open " + file_ + ": " + strerror(errno));
  read();
}

Journal::~Journal() {
  if (fd_ >= 0) ::close(fd_);
}

void Journal::read() {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) throw Error("cannot read " + file_ + ": " + strerror(errno));
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  if (::pread(fd_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw Error("cannot read " + file_ + ": " + strerror(errno));
  }
  size_t at = 0;
  while (bytes.size() - at >= kHeadBytes + kSumBytes) {
    const std::string_view rest = std::string_view(bytes).substr(at);
    const size_t size = u32_at(rest.substr(1));
    if (rest.size() < kHeadBytes + size + kSumBytes) break;
    const std::string_view payload = rest.substr(kHeadBytes, size);
    if (rest.substr(kHeadBytes + size, kSumBytes) != checksum(payload)) break;
    if (rest[0] == 'R') {
      const Place place = {at + kHeadBytes, static_cast<uint32_t>(size), next_number_++};
      places_[result_of(payload).key] = place;
    } else if (rest[0] == 'A') {
      places_.erase(digest_from_bytes(payload));
    } else {
      break;
    }
    at += kHeadBytes + size + kSumBytes;
  }
  end_ = at;
  dropped_ = bytes.size() - at;
  for (const auto& [key, place] : places_) live_bytes_ += place.size;
  if (dropped_ > 0 && ::ftruncate(fd_, static_cast<off_t>(end_)) != 0) {
    throw Error("cannot repair " + file_ + ": " + strerror(errno));
  }
}

void Journal::append(const std::string& bytes, bool durable) {
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t n = ::pwrite(fd_, bytes.data() + written, bytes.size() - written,
                               static_cast<off_t>(end_ + written));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      (void)!::ftruncate(fd_, static_cast<off_t>(end_));
      throw Error("cannot write " + file_ + ": " + strerror(error));
    }
    written += static_cast<size_t>(n);
  }
  if (durable && ::fdatasync(fd_) != 0) {
    throw Error("cannot write " + file_ + ": " + strerror(errno));
  }
  end_ += bytes.size();
}

void Journal::add(const std::vector<ShardDone>& results, bool durable) {
  std::string bytes;
  std::vector<std::pair<ShardKey, Place>> added;
  for (const ShardDone& result : results) {
    const std::string payload = payload_of(result);
    added.emplace_back(result.key, Place{end_ + bytes.size() + kHeadBytes,
                                         static_cast<uint32_t>(payload.size()), next_number_++});
    put_record(bytes, 'R', payload);
  }
  if (bytes.empty()) return;
  append(bytes, durable);
  for (const auto& [key, place] : added) {
    live_bytes_ += place.size;
    if (const auto old = places_.find(key); old != places_.end()) live_bytes_ -= old->second.size;
    places_[key] = place;
  }
}

void Journal::remove(const std::vector<ShardKey>& keys) {
  std::string bytes;
  for (const ShardKey& key : keys) {
    const auto found = places_.find(key);
    if (found == places_.end()) continue;
    live_bytes_ -= found->second.size;
    places_.erase(found);
    put_record(bytes, 'A', as_bytes(key));
  }
  if (bytes.empty()) return;
  if (places_.empty()) {
    if (::ftruncate(fd_, 0) != 0) throw Error("cannot write " + file_ + ": " + strerror(errno));
    end_ = 0;
    return;
  }
  append(bytes, false);  // an acknowledgement lost to a crash only costs a resend
  if (end_ > compact_above_ && live_bytes_ < end_ / 2) compact();
}

std::vector<Journal::Place> Journal::in_order() const {
  std::vector<Place> places;
  places.reserve(places_.size());
  for (const auto& [key, place] : places_) places.push_back(place);
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.number < b.number; });
  return places;
}

ShardDone Journal::result_at(const Place& place) const {
  std::string payload(place.size, '\0');
  if (::pread(fd_, payload.data(), payload.size(), static_cast<off_t>(place.offset)) !=
      static_cast<ssize_t>(payload.size())) {
    throw Error("cannot read " + file_ + ": " + strerror(errno));
  }
  return result_of(payload);
}

std::vector<ShardDone> Journal::all() const {
  std::vector<ShardDone> results;
  for (const Place& place : in_order()) results.push_back(result_at(place));
  return results;
}

void Journal::compact() {
  const std::string beside = file_ + ".new";
  const int fd = ::open(beside.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) throw Error("cannot write " + beside + ": " + strerror(errno));
  const std::vector<ShardDone> results = all();
  ::close(std::exchange(fd_, fd));
  end_ = live_bytes_ = 0;
  places_.clear();
  add(results, true);
  if (::rename(beside.c_str(), file_.c_str()) != 0) {
    throw Error("cannot write " + file_ + ": " + strerror(errno));
  }
}

}  // namespace headcount::worker
