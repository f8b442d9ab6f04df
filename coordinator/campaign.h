// The sweeps under way, as the loop holds them: their prepared specs, how far each stage is, and
// how fast.
#pragma once

#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "experiments/sweep.h"
#include "schemas/shard.h"
#include "store/store.h"

namespace headcount::coordinator {

/// Counts per second over about the last half minute.
class Rate {
 public:
  /// `count` so far, at `now`; told about once a second.
  void sample(Millis now, int64_t count);
  /// 0 until something was counted.
  double per_second() const;

 private:
  std::deque<std::pair<Millis, int64_t>> samples_;
};

struct LiveStage {
  enum class Phase { kWaiting, kPlanning, kOpen, kEnded };
  StageId id = 0;
  size_t number = 0;
  std::string name;
  Phase phase = Phase::kWaiting;
  bool reopens = false;  // it was open before a restart or retry: planned whole, counted already
  int64_t n_shards = 0;
  int64_t n_planned = 0;
  store::StageCounts counts;  // as of its last opening or end; an open stage's are the scheduler's
  Rate rate;
};

struct LiveSweep {
  store::SweepId id = 0;
  std::string name;
  bool paused = false;
  int64_t priority = 0;
  bool bound = false;   // its models have their tags, on disk
  bool sought = false;  // on record, whole, as of an equal sweep
  experiments::Sweep plan;
  std::vector<LiveStage> stages;
};

/// What is recorded of the stages of a sweep that begins.
std::vector<store::StageRow> stage_rows(const experiments::Sweep& plan);

/// Whether the stage's shards can be made: it reads no scores, or has them.
bool has_its_scores(const LiveSweep& sweep, const LiveStage& stage);
/// Shard i of a stage, the model's path its grant names, and the tag it counts under.
Shard shard_of(const LiveSweep& sweep, const LiveStage& stage, int64_t i);
std::string model_path_of(const LiveSweep& sweep, const LiveStage& stage, int64_t i);
std::string tag_of(const LiveSweep& sweep, const LiveStage& stage, int64_t i);

/// Tags of GPUs start so: worker/runner/tag.h.
bool is_gpu(const std::string& tag);
/// The one that can compute most: GPUs before CPUs, those by runners x nominal memory, these by
/// runners; of equal ones the one that was there first. `tags` is not empty.
const TagView& of_most_capacity(std::span<const TagView> tags);

}  // namespace headcount::coordinator
