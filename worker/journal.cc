#include "worker/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "schemas/error.h"
#include "schemas/new_file.h"
#include "schemas/try_again.h"
#include "worker/journal_format.h"

namespace headcount::worker {
namespace {

[[noreturn]] void cannot_write(const std::string& file) {
  throw TryAgain("cannot write " + file + ": " + strerror(errno));
}

void write_at(int fd, uint64_t offset, std::string_view bytes, const std::string& file) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) cannot_write(file);
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

std::string read_at(int fd, uint64_t offset, uint64_t size, const std::string& file) {
  std::string bytes(size, '\0');
  for (size_t done = 0; done < size;) {
    const ssize_t n =
        ::pread(fd, bytes.data() + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      throw Error("cannot read " + file + ": " + (n < 0 ? strerror(errno) : "it became shorter"));
    }
    done += static_cast<size_t>(n);
  }
  return bytes;
}

}  // namespace

Journal::Journal(const std::string& directory, uint64_t compact_above_bytes)
    : file_(directory + "/journal"), compact_above_(compact_above_bytes) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) throw Error("cannot create " + directory + ": " + failed.message());
  fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) throw Error("cannot open " + file_ + ": " + strerror(errno));
  try {
    sync_folder_of(file_);
    read();
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

Journal::~Journal() { ::close(fd_); }

void Journal::read() {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) throw Error("cannot read " + file_ + ": " + strerror(errno));
  const std::string bytes = read_at(fd_, 0, static_cast<uint64_t>(status.st_size), file_);
  const JournalContent content = read_journal(bytes);
  damage_.dropped_bytes = bytes.size() - content.torn_at;
  if (content.format == JournalFormat::kCurrent && content.unreadable.empty()) {
    end_ = content.torn_at;
    for (const auto& kept : content.kept) {
      places_[kept.key] = {kept.place.offset, kept.place.size, next_number_++};
      live_bytes_ += kept.place.size;
    }
    if (::ftruncate(fd_, static_cast<off_t>(end_)) != 0)
      throw Error("cannot cut off what is torn of " + file_ + ": " + strerror(errno));
    return;
  }
  std::string unreadable;
  for (const auto& range : content.unreadable) {
    unreadable.append(bytes, range.begin, range.end - range.begin);
  }
  if (!unreadable.empty()) set_aside(unreadable);
  std::vector<ShardDone> results;
  for (const auto& kept : content.kept) {
    results.push_back(result_of(std::string_view(bytes).substr(kept.place.offset, kept.place.size),
                                content.format));
  }
  write_anew(results);
}

void Journal::set_aside(const std::string& bytes) {
  for (int n = 1;; ++n) {
    const std::string beside = file_ + ".unreadable-" + std::to_string(n);
    if (std::filesystem::exists(beside)) continue;
    write_file(beside, bytes, Readers::kOwner);
    damage_.unreadable_bytes = bytes.size();
    damage_.set_aside = beside;
    return;
  }
}

void Journal::append(const std::string& bytes, bool durable) {
  HC_CHECK(end_ == 0 || end_ >= kJournalHeader.size());
  const std::string whole = (end_ == 0 ? std::string(kJournalHeader) : "") + bytes;
  try {
    write_at(fd_, end_, whole, file_);
    if (durable && ::fdatasync(fd_) != 0) cannot_write(file_);
  } catch (const Error&) {
    (void)!::ftruncate(fd_, static_cast<off_t>(end_));
    throw;
  }
  end_ += whole.size();
}

void Journal::add(const std::vector<ShardDone>& results) {
  if (results.empty()) return;
  std::string bytes;
  std::vector<Place> added;
  const uint64_t start = end_ == 0 ? kJournalHeader.size() : end_;
  for (const ShardDone& result : results) {
    const auto [offset, size] = put_result(bytes, result);
    added.push_back({start + offset, size, next_number_++});
  }
  append(bytes, true);
  for (size_t i = 0; i < results.size(); ++i) {
    Place& place = places_[results[i].key];
    live_bytes_ += added[i].size - place.size;
    place = added[i];
  }
}

void Journal::remove(const std::vector<ShardKey>& keys) {
  std::string bytes;
  for (const ShardKey& key : keys) {
    const auto found = places_.find(key);
    if (found == places_.end()) continue;
    HC_CHECK(live_bytes_ >= found->second.size);
    live_bytes_ -= found->second.size;
    places_.erase(found);
    put_acknowledgement(bytes, key);
  }
  if (bytes.empty()) return;
  if (places_.empty() && ::ftruncate(fd_, 0) == 0) {
    end_ = 0;
    return;
  }
  try {
    append(bytes, false);
    if (end_ > compact_above_ && live_bytes_ < end_ / 2) write_anew(all());
  } catch (const Error&) {
    compact_above_ = std::max(compact_above_, 2 * end_);  // not at once again
  }
}

void Journal::try_room(uint64_t bytes) {
  try {
    write_at(fd_, end_, std::string(bytes, '\0'), file_);
    if (::fdatasync(fd_) != 0) cannot_write(file_);
  } catch (const Error&) {
    (void)!::ftruncate(fd_, static_cast<off_t>(end_));
    throw;
  }
  if (::ftruncate(fd_, static_cast<off_t>(end_)) != 0) cannot_write(file_);
}

std::vector<Journal::Place> Journal::in_order() const {
  std::vector<Place> places;
  places.reserve(places_.size());
  for (const auto& [key, place] : places_) places.push_back(place);
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.number < b.number; });
  return places;
}

std::vector<ShardDone> Journal::all() const {
  std::vector<ShardDone> results;
  for (const Place& place : in_order()) {
    results.push_back(
        result_of(read_at(fd_, place.offset, place.size, file_), JournalFormat::kCurrent));
  }
  return results;
}

/// In a file beside, which then takes this one's name: until it has, nothing here has changed.
void Journal::write_anew(const std::vector<ShardDone>& results) {
  HC_CHECK(results.size() >= places_.size());  // nothing that is kept is lost
  std::string bytes(kJournalHeader);
  std::vector<Place> written;
  for (const ShardDone& result : results) {
    const auto [offset, size] = put_result(bytes, result);
    written.push_back({offset, size, next_number_++});
  }
  NewFile fresh(file_, Readers::kOwner);
  fresh.write(bytes);
  const int fd = ::open(fresh.beside().c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) cannot_write(file_);
  try {
    fresh.take_name();
  } catch (...) {
    ::close(fd);
    throw;
  }
  ::close(std::exchange(fd_, fd));
  end_ = bytes.size();
  live_bytes_ = 0;
  places_.clear();
  for (size_t i = 0; i < results.size(); ++i) {
    places_[results[i].key] = written[i];
    live_bytes_ += written[i].size;
  }
  sync_folder_of(file_);
}

}  // namespace headcount::worker
