#include "worker/results.h"

#include <utility>

#include "schemas/try_again.h"

namespace headcount::worker {
namespace {

// So much must fit before work is taken again: not only the one result that just found its place.
constexpr uint64_t kRoomBytes = 1 << 20;

}  // namespace

void Results::add(std::vector<ShardDone> results) {
  try {
    if (problem_.empty()) {
      journal_.add(results);
      return;
    }
  } catch (const TryAgain& error) {
    problem_ = error.what();
  }
  for (ShardDone& result : results) {
    const ShardKey key = result.key;
    unwritten_[key] = std::move(result);
  }
}

void Results::remove(const std::vector<ShardKey>& keys) {
  for (const ShardKey& key : keys) unwritten_.erase(key);
  journal_.remove(keys);
}

void Results::try_again() {
  if (problem_.empty()) return;
  try {
    std::vector<ShardDone> results;
    for (const auto& [key, result] : unwritten_) results.push_back(result);
    journal_.add(results);
    unwritten_.clear();
    journal_.try_room(kRoomBytes);
    problem_.clear();
  } catch (const TryAgain& error) {
    problem_ = error.what();
  }
}

}  // namespace headcount::worker
