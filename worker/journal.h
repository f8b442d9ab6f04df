// Results a worker has computed and the coordinator has not yet acknowledged: an append-only file
// that survives the daemon (its bytes: journal_format.h).
//
// When it is opened, a record cut short by a crash is dropped; whatever else cannot be read is set
// aside in DIRECTORY/journal.unreadable-N, N from 1, and what is whole before and behind it counts.
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

  /// Appends all of them with one write and waits until the disk has them. Throws TryAgain where
  /// the disk does not take them: then none of them is added.
  void add(const std::vector<ShardDone>& results);
  /// Forgets acknowledged results; unknown keys are ignored. Need not reach the disk: a result that
  /// is found again later is sent again.
  void remove(const std::vector<ShardKey>& keys);
  /// Throws TryAgain unless the disk takes `bytes` more.
  void try_room(uint64_t bytes);
  /// Every result still held, in the order they were added.
  std::vector<ShardDone> all() const;
  size_t size() const { return places_.size(); }

  /// What was wrong with the file when it was opened.
  struct Damage {
    uint64_t dropped_bytes = 0;     // of a torn record
    uint64_t unreadable_bytes = 0;  // set aside in `set_aside`
    std::string set_aside;          // that file; empty: none
  };
  const Damage& damage() const { return damage_; }

 private:
  struct Place {
    uint64_t offset = 0;  // of the payload
    uint64_t size = 0;
    uint64_t number = 0;  // grows with every result
  };
  void read();
  void set_aside(const std::string& bytes);
  void append(const std::string& bytes, bool durable);
  void write_anew(const std::vector<ShardDone>& results);
  std::vector<Place> in_order() const;

  std::string file_;
  uint64_t compact_above_;
  int fd_ = -1;
  uint64_t end_ = 0, live_bytes_ = 0, next_number_ = 0;
  Damage damage_;
  std::unordered_map<ShardKey, Place> places_;
};

}  // namespace headcount::worker
