// Finished results until the coordinator has acknowledged them: in the journal, or, while the disk
// takes none, in memory. A worker that cannot write starts nothing new, so memory holds at most
// what its runners had under way.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "schemas/messages.h"
#include "worker/journal.h"

namespace headcount::worker {

class Results {
 public:
  /// Throws Error as Journal does.
  explicit Results(const std::string& directory) : journal_(directory) {}

  void add(std::vector<ShardDone> results);
  void remove(const std::vector<ShardKey>& keys);
  /// While there is a problem: writes what is in memory alone, and looks for room for more.
  void try_again();
  /// Why the disk takes nothing, in one sentence; empty: it does.
  const std::string& problem() const { return problem_; }

  const Journal& journal() const { return journal_; }

 private:
  Journal journal_;
  std::unordered_map<ShardKey, ShardDone> unwritten_;
  std::string problem_;
};

}  // namespace headcount::worker
