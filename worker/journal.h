// Results a worker has computed and the coordinator has not yet acknowledged: an append-only file
// that survives the daemon.
//
// File: records of u8 type ('R' a result, 'A' an acknowledgement), u32 little-endian size, payload,
// the first 8 bytes of the payload's SHA-256. 'R' payload: u32 header size, header and (where there
// is one) frame of the ShardDone as schemas/messages encodes it; 'A' payload: the 32 bytes of the
// shard's key. A record cut short by a crash ends the file: what was whole before it counts.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "schemas/messages.h"

namespace headcount::worker {

class Journal {
 public:
  /// Opens or creates DIRECTORY/journal and reads what is there. Throws Error naming the file.
  /// Written anew once it is larger than `compact_above_bytes` and mostly acknowledged.
  explicit Journal(const std::string& directory, uint64_t compact_above_bytes = 64 << 20);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  /// Appends all of them with one write; `durable`: and waits until the disk has them.
  void add(const std::vector<ShardDone>& results, bool durable);
  /// Forgets acknowledged results; unknown keys are ignored.
  void remove(const std::vector<ShardKey>& keys);
  /// Every result still held, in the order they were added.
  std::vector<ShardDone> all() const;
  size_t size() const { return places_.size(); }
  /// How many bytes at the end were dropped when the file was opened (a torn record), else 0.
  uint64_t dropped_bytes() const { return dropped_; }

 private:
  struct Place {
    uint64_t offset = 0;  // of the payload
    uint32_t size = 0;
    uint64_t number = 0;  // grows with every result
  };
  void read();
  void append(const std::string& bytes, bool durable);
  ShardDone result_at(const Place& place) const;
  std::vector<Place> in_order() const;
  void compact();

  std::string file_;
  uint64_t compact_above_;
  int fd_ = -1;
  uint64_t end_ = 0, live_bytes_ = 0, next_number_ = 0, dropped_ = 0;
  std::unordered_map<ShardKey, Place> places_;
};

}  // namespace headcount::worker
