// The Store as the scheduler reads and writes it.
#pragma once

#include "coordinator/scheduler/scheduler.h"
#include "store/store.h"

namespace headcount::coordinator {

/// Reads of the scheduler, answered by the store. Outlived by it.
class StoreRecords : public Records {
 public:
  explicit StoreRecords(const store::Store& store) : store_(store) {}
  ShardKey key(StageId stage, int64_t index) const override {
    return store_.shard_key(stage, index);
  }
  std::vector<Place> places(const ShardKey& key) const override;
  std::optional<Digest> recorded(const ShardKey& key, const std::string& tag) const override {
    return store_.recorded(key, tag);
  }
  std::vector<int64_t> attempts(const ShardKey& key, const WorkerKey& worker,
                                const std::string& tag) const override {
    return store_.attempts(key, worker, tag);
  }
  int64_t last_attempt(const ShardKey& key) const override { return store_.last_attempt(key); }
  std::vector<EndedAttempt> ended(const ShardKey& key) const override;

 private:
  const store::Store& store_;
};

/// Applies a record (is_record) inside the caller's transaction; false: the action is none.
/// `recorded`, where given, says what became of a result.
bool apply(store::Store& store, const Action& action, store::Recorded* recorded = nullptr);

}  // namespace headcount::coordinator
