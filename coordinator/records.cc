#include "coordinator/records.h"

namespace headcount::coordinator {

std::vector<Place> StoreRecords::places(const ShardKey& key) const {
  std::vector<Place> places;
  for (const auto& [stage, index] : store_.places(key))
    places.push_back({.stage = stage, .index = index});
  return places;
}

std::vector<EndedAttempt> StoreRecords::ended(const ShardKey& key) const {
  std::vector<EndedAttempt> ended;
  for (auto& row : store_.ended_attempts(key)) {
    ended.push_back({.attempt = row.attempt,
                     .worker = std::move(row.worker),
                     .tag = std::move(row.tag),
                     .outcome = outcome_from_string(row.outcome),
                     .message = std::move(row.message),
                     .suspect = row.suspect});
  }
  return ended;
}

namespace {

struct Apply {
  store::Store& store;
  store::Recorded* recorded;

  bool operator()(const RecordGrant& action) const {
    store.add_attempt(action.key, action.attempt, action.worker, action.tag);
    return true;
  }
  bool operator()(const RecordResult& action) const {
    const auto& done = action.done;
    const auto what = store.record({.key = done.key,
                                    .tag = done.tag,
                                    .hash = done.hash,
                                    .worker = action.worker,
                                    .device = done.device,
                                    .seconds = done.seconds,
                                    .attempt = done.attempt},
                                   done.result);
    if (recorded != nullptr) *recorded = what;
    return true;
  }
  bool operator()(const EndAttempt& action) const {
    store.end_attempt({.key = action.key,
                       .attempt = action.attempt,
                       .outcome = std::string(to_string(action.outcome)),
                       .message = action.message,
                       .device = action.device,
                       .seconds = action.seconds,
                       .suspect = action.suspect});
    return true;
  }
  bool operator()(const Quarantine& action) const {
    store.quarantine(action.key, action.evidence);
    return true;
  }
  bool operator()(const Forgive& action) const {
    store.release_quarantine(action.key);
    return true;
  }
  bool operator()(const Alarm& action) const {
    store.alarm(action.message);
    return true;
  }
  bool operator()(const Send&) const { return false; }
  bool operator()(const SendGrant&) const { return false; }
  bool operator()(const StageComplete&) const { return false; }
  bool operator()(const OutOfMemory&) const { return false; }
};

}  // namespace

bool apply(store::Store& store, const Action& action, store::Recorded* recorded) {
  return std::visit(Apply{store, recorded}, action);
}

}  // namespace headcount::coordinator
