// Part of coordinator/loop.h.
// The life of sweeps and stages: bound to tags, planned in slices, opened, completed, planned
// again after running out of memory.
#include <algorithm>
#include <iterator>
#include <set>

#include "coordinator/loop.h"
#include "experiments/trust.h"
#include "schemas/error.h"
#include "schemas/try_again.h"

namespace headcount::coordinator {
namespace {

using Clock = std::chrono::steady_clock;
using Phase = LiveStage::Phase;

constexpr auto kSliceTime = std::chrono::milliseconds(20);  // of planning in one turn
constexpr size_t kSliceShards = 512;                        // between looks at the clock

std::string shards_text(int64_t n) { return std::to_string(n) + (n == 1 ? " shard" : " shards"); }

/// Where the nominal memory of a tag's devices is remembered, for when none is connected.
std::string memory_meta(const std::string& tag) { return "memory of " + tag; }

}  // namespace

LiveSweep* Loop::live_sweep(store::SweepId id) {
  const auto found = live_.find(id);
  return found == live_.end() ? nullptr : &found->second;
}

std::pair<LiveSweep*, LiveStage*> Loop::live_stage(StageId id) {
  const auto found = sweep_of_.find(id);
  if (found == sweep_of_.end()) return {nullptr, nullptr};
  LiveSweep& sweep = live_.at(found->second);
  for (auto& stage : sweep.stages) {
    if (stage.id == id) return {&sweep, &stage};
  }
  return {nullptr, nullptr};
}

store::StageCounts Loop::counts(const store::StageRow& row) const {
  const auto found = sweep_of_.find(row.id);
  if (found == sweep_of_.end()) return counts_from(store_)(row);
  for (const auto& stage : live_.at(found->second).stages) {
    if (stage.id == row.id) return counts(stage);
  }
  return {};
}

store::StageCounts Loop::counts(const LiveStage& stage) const {
  store::StageCounts n = stage.counts;
  n.planned = stage.n_planned;
  const auto view = stage.phase == Phase::kOpen ? scheduler_.stage(stage.id) : std::nullopt;
  if (view) {
    n.done = view->n_done;
    n.quarantined = view->n_quarantined;
  }
  return n;
}

void Loop::admit(store::SweepId id, experiments::Sweep plan) {
  const auto row = store_.sweep(id);
  const auto rows = store_.stages(id);
  LiveSweep& sweep = live_[id];
  sweep.id = id;
  sweep.name = row->name;
  sweep.paused = row->state == "paused";
  sweep.priority = row->priority;
  sweep.plan = std::move(plan);
  const auto bindings = store_.bindings(id);
  const auto is_bound = [&](const auto& model) {
    return std::any_of(bindings.begin(), bindings.end(),
                       [&](const auto& binding) { return binding.model == model->name; });
  };
  sweep.bound = std::all_of(sweep.plan.models.begin(), sweep.plan.models.end(), is_bound);
  apply_records(sweep.plan, bindings, rows);
  for (const auto& stage : rows) {
    LiveStage live{.id = stage.id,
                   .number = static_cast<size_t>(stage.number),
                   .name = stage.name,
                   .phase = Phase::kWaiting,
                   .n_shards = stage.n_shards,
                   .n_planned = 0,
                   .counts = {},
                   .rate = {}};
    if (stage.state == "waiting") {
      live.n_planned = store_.n_planned(stage.id);
    } else if (stage.state == "open") {
      live.phase = Phase::kPlanning;  // opens in the first slice
      live.reopens = true;
      live.n_planned = stage.n_shards;
    } else {
      live.phase = Phase::kEnded;
      live.n_planned = stage.n_shards;
      live.counts = counts_from(store_)(stage);
    }
    // Scores come from the finished table of the input, whatever the state of the stage that reads
    // them.
    const int input = sweep.plan.stages[live.number].input;
    if (input >= 0) {
      if (const auto table = store_.table(rows[static_cast<size_t>(input)].id))
        experiments::attach_scores(sweep.plan, stage.number, *table);
    }
    sweep_of_[stage.id] = id;
    sweep.stages.push_back(std::move(live));
  }
  for (auto& stage : sweep.stages) {
    if (stage.phase == Phase::kEnded || !has_its_scores(sweep, stage)) continue;
    const auto why = planned_otherwise(store_, rows[stage.number], sweep.plan.stages[stage.number]);
    if (!why.empty()) stop_stage(sweep, stage, why);
  }
  for (auto& stage : sweep.stages) {  // what was open before a restart
    if (stage.phase == Phase::kPlanning && stage.n_planned == stage.n_shards) open(sweep, stage);
  }
  end_if_over(sweep);
}

void Loop::advance() {
  const auto until = Clock::now() + kSliceTime;
  std::vector<store::SweepId> ids;
  for (const auto& [id, sweep] : live_) ids.push_back(id);
  for (const auto id : ids) {
    LiveSweep& sweep = live_.at(id);
    if (sweep.paused || !(sweep.bound || bind(sweep))) continue;
    try {
      advance(sweep, until);
    } catch (const store::Damaged&) {
      mend(id);
    }
  }
}

bool Loop::is_whole(const store::StageRow& stage) const {
  try {
    const auto table = store_.table(stage.id);
    return table && experiments::outdated(*table).empty() &&
           store_.counts(stage.id).done == stage.n_shards;
  } catch (const store::Damaged&) {
    return false;
  }
}

// As an equal sweep was whose results are all on record: nobody need be connected for it.
bool Loop::bind_as_before(LiveSweep& sweep) {
  const bool untouched =
      std::all_of(sweep.stages.begin(), sweep.stages.end(),
                  [](const auto& stage) { return stage.phase == Phase::kWaiting; });
  const auto before = untouched ? equal_sweep(store_, sweep.id) : std::nullopt;
  if (!before) return false;
  const auto rows = store_.stages(*before);
  if (rows.size() != sweep.stages.size() ||
      !std::all_of(rows.begin(), rows.end(), [this](const auto& row) { return is_whole(row); }))
    return false;
  for (const auto& [model, tag] : store_.bindings(*before)) store_.bind_model(sweep.id, model, tag);
  for (const LiveStage& stage : sweep.stages) {
    if (rows[stage.number].micro_batch > 0)
      store_.set_stage_micro_batch(stage.id, rows[stage.number].micro_batch);
  }
  apply_records(sweep.plan, store_.bindings(sweep.id), store_.stages(sweep.id));
  sweep.bound = true;
  return true;
}

// A sweep counts under one tag a model, chosen on disk before its first grant and never changed;
// the memory of that tag's devices then decides the micro-batch of every stage that is not planned
// yet. A stage no micro-batch of which fits is stopped, and its models may be bound anew when it is
// tried again.
bool Loop::bind(LiveSweep& sweep) {
  if (sweep.plan.spec.models.empty()) return sweep.bound = true;  // nothing to load (noop)
  if (!std::exchange(sweep.sought, true) && bind_as_before(sweep)) return true;
  const std::vector<TagView> connected = scheduler_.tags();
  std::map<std::string, std::string> tags;  // by model
  for (const auto& [model, tag] : store_.bindings(sweep.id)) tags[model] = tag;
  std::vector<const ModelSpec*> unbound;
  for (const ModelSpec& model : sweep.plan.spec.models) {
    const bool used = std::any_of(sweep.plan.models.begin(), sweep.plan.models.end(),
                                  [&](const auto& one) { return one->name == model.name; });
    if (used && !tags.contains(model.name)) unbound.push_back(&model);
  }
  // Whoever waits is asked at every turn: no device is tried before all have stopped waiting.
  for (const ModelSpec* model : unbound) {
    if (waits(*model, connected)) return false;
  }
  for (const ModelSpec* model : unbound) tags[model->name] = tag_for(sweep.plan, *model, connected);
  for (const TagView& one : connected) {
    if (one.memory_bytes > 0)
      store_.set_meta(memory_meta(one.tag), std::to_string(one.memory_bytes));
  }
  std::set<std::string> refused;
  const auto rows = store_.stages(sweep.id);
  for (LiveStage& stage : sweep.stages) {
    if (stage.phase != Phase::kWaiting || rows[stage.number].micro_batch > 0) continue;
    const experiments::Stage& plan = sweep.plan.stages[stage.number];
    const auto fit = experiments::fit(plan, [&](const experiments::ModelInfo& model) {
      return memory_of(tags.at(model.name), connected);
    });
    if (!fit.refusal.empty()) {
      for (const auto& point : plan.points) refused.insert(point.model->name);
      stop_stage(sweep, stage, fit.refusal);
    } else if (fit.micro_batch > 0) {
      store_.set_stage_micro_batch(stage.id, fit.micro_batch);
    }
  }
  for (const auto& [model, tag] : tags) {
    if (!refused.contains(model)) store_.bind_model(sweep.id, model, tag);
  }
  apply_records(sweep.plan, store_.bindings(sweep.id), store_.stages(sweep.id));
  sweep.bound = true;
  return true;
}

// For any worker where the spec names no tag; for a GPU it names until its memory is known, which
// decides what is computed.
bool Loop::waits(const ModelSpec& model, const std::vector<TagView>& connected) const {
  if (model.numerics.empty()) return connected.empty();
  const experiments::DeviceMemory memory = memory_of(model.numerics, connected);
  return memory.gpu && memory.bytes == 0;
}

// The tag the spec names, else the connected one of most capacity whose devices hold the model.
std::string Loop::tag_for(const experiments::Sweep& plan, const ModelSpec& model,
                          const std::vector<TagView>& connected) const {
  if (!model.numerics.empty()) return model.numerics;
  const auto holds = [&](const TagView& one) {
    const auto refuses = [&](const experiments::Stage& stage) {
      const auto fit = experiments::fit(stage, [&](const experiments::ModelInfo& other) {
        return other.name == model.name ? memory_of(one.tag, connected)
                                        : experiments::DeviceMemory{};
      });
      return !fit.refusal.empty();
    };
    return std::none_of(plan.stages.begin(), plan.stages.end(), refuses);
  };
  std::vector<TagView> able;
  std::copy_if(connected.begin(), connected.end(), std::back_inserter(able), holds);
  return of_most_capacity(able.empty() ? connected : able).tag;
}

// Of "any": the smallest connected device's, which all can hold.
experiments::DeviceMemory Loop::memory_of(const std::string& tag,
                                          const std::vector<TagView>& connected) const {
  experiments::DeviceMemory memory{.bytes = 0, .gpu = is_gpu(tag)};
  for (const TagView& one : connected) {
    if (one.memory_bytes == 0 || (tag != kAnyTag && tag != one.tag)) continue;
    const auto bytes = static_cast<uint64_t>(one.memory_bytes);
    memory.bytes = memory.bytes == 0 ? bytes : std::min(memory.bytes, bytes);
    memory.gpu = memory.gpu || is_gpu(one.tag);
  }
  const auto known = memory.bytes == 0 ? store_.meta(memory_meta(tag)) : std::nullopt;
  if (known) memory.bytes = std::stoull(*known);
  return memory;
}

void Loop::advance(LiveSweep& sweep, Clock::time_point until) {
  for (auto& stage : sweep.stages) {
    if (stage.phase == Phase::kWaiting) begin(sweep, stage);
    if (stage.phase == Phase::kPlanning) plan_slice(sweep, stage, until);
  }
  end_if_over(sweep);
}

// A stage can be planned when the table it reads exists.
void Loop::begin(LiveSweep& sweep, LiveStage& stage) {
  const int input = sweep.plan.stages[stage.number].input;
  if (input >= 0) {
    const LiveStage& source = sweep.stages[static_cast<size_t>(input)];
    if (source.phase != Phase::kEnded) return;
    const auto row = store_.stages(sweep.id).at(static_cast<size_t>(input));
    const auto table = row.state == "finished" ? store_.table(source.id) : std::nullopt;
    if (!table) {
      stop_stage(sweep, stage, "stage " + source.name + ", which it reads, has no table");
      return;
    }
    const int64_t n_missing = row.n_missing;
    if (n_missing > 0 && !sweep.plan.stages[stage.number].allow_missing) {
      stop_stage(sweep, stage,
                 "stage " + source.name + ", which it reads, misses " + shards_text(n_missing) +
                     " of " + std::to_string(source.n_shards) + ": `headcount sweep retry " +
                     std::to_string(sweep.id) + "`, or allow_missing = true in the spec");
      return;
    }
    experiments::attach_scores(sweep.plan, static_cast<int>(stage.number), *table);
  }
  stage.phase = Phase::kPlanning;
}

void Loop::plan_slice(LiveSweep& sweep, LiveStage& stage, Clock::time_point until) {
  while (stage.n_planned < stage.n_shards && Clock::now() < until) {
    // A run of one tag at a time, as the store wants it.
    std::vector<ShardKey> keys;
    const int64_t first = stage.n_planned;
    const std::string tag = tag_of(sweep, stage, first);
    while (stage.n_planned < stage.n_shards && keys.size() < kSliceShards &&
           (keys.empty() || Clock::now() < until) && tag_of(sweep, stage, stage.n_planned) == tag) {
      keys.push_back(headcount::key(shard_of(sweep, stage, stage.n_planned++)));
    }
    store_.add_shards(stage.id, first, keys, tag);
  }
  if (stage.n_planned < stage.n_shards) return;
  if (!stage.reopens) {
    store_.set_stage_cached(stage.id, static_cast<int64_t>(store_.done(stage.id).size()));
    set_stage(stage, "open", "");
  }
  open(sweep, stage);
}

void Loop::open(LiveSweep& sweep, LiveStage& stage) {
  StageOpened event{.stage = stage.id,
                    .sweep = sweep.id,
                    .priority = sweep.priority,
                    .n_shards = stage.n_shards,
                    .ranges = {},
                    .done = store_.done(stage.id),
                    .quarantined = {},
                    .attempts = {},
                    .paused = sweep.paused};
  for (auto& range : store_.tag_ranges(stage.id))
    event.ranges.push_back({.first = range.first, .end = range.end, .tag = std::move(range.tag)});
  event.attempts = awaited_of(event);
  RetryShards forgiven;
  for (const int64_t index : store_.quarantined(stage.id)) {
    if (std::binary_search(event.done.begin(), event.done.end(), index)) continue;
    if (stage.reopens) {
      event.quarantined.push_back(index);
    } else {  // what failed for an earlier sweep is tried again for a new one
      forgiven.keys.push_back(store_.shard_key(stage.id, index));
    }
  }
  if (!forgiven.keys.empty()) step(std::move(forgiven));
  stage.counts = {.planned = stage.n_shards,
                  .done = static_cast<int64_t>(event.done.size()),
                  .quarantined = static_cast<int64_t>(event.quarantined.size())};
  stage.phase = Phase::kOpen;
  step(std::move(event));
}

void Loop::set_stage(LiveStage& stage, const std::string& state, const std::string& reason) {
  store_.set_stage_state(stage.id, state, reason);
  if (state != "waiting" && state != "open") stage.phase = Phase::kEnded;
}

void Loop::stop_stage(LiveSweep& sweep, LiveStage& stage, const std::string& reason) {
  log_.line("sweep " + std::to_string(sweep.id) + " stage " + stage.name + " stops: " + reason);
  set_stage(stage, "stopped", reason);
}

void Loop::complete(const StageComplete& notice) {
  const auto [sweep, stage] = live_stage(notice.stage);
  if (stage == nullptr || stage->phase != Phase::kOpen) return;
  stage->counts = {.planned = stage->n_shards,
                   .done = stage->n_shards - notice.n_missing,
                   .quarantined = notice.n_missing};
  // A result may have been set aside since the scheduler counted it; those of a hidden kind say
  // nothing.
  const bool hidden = sweep->plan.stages[stage->number].kind->hidden;
  if (!hidden && store_.counts(stage->id).done < stage->counts.done) {
    open_again(sweep->id, [&](const auto& row) { return row.id == notice.stage; });
    return;
  }
  const auto rows = store_.stages(sweep->id);
  try {
    store_.put_table(stage->id,
                     aggregate(store_, rows[stage->number], sweep->plan.stages[stage->number]));
  } catch (const store::Damaged&) {
    mend(sweep->id);
    return;
  } catch (const TryAgain&) {
    throw;
  } catch (const Error& error) {
    stop_stage(*sweep, *stage, std::string("its table cannot be made: ") + error.what());
    end_if_over(*sweep);
    return;
  }
  store_.set_stage_missing(stage->id, notice.n_missing);
  set_stage(*stage, "finished", "");
  log_.line("sweep " + std::to_string(sweep->id) + " stage " + stage->name + " is finished" +
            (notice.n_missing > 0 ? ", " + shards_text(notice.n_missing) + " missing" : ""));
  end_if_over(*sweep);
}

void Loop::end_if_over(LiveSweep& sweep) {
  const bool over = std::all_of(sweep.stages.begin(), sweep.stages.end(),
                                [](const auto& stage) { return stage.phase == Phase::kEnded; });
  if (!over) return;
  bool stopped = false;
  const auto rows = store_.stages(sweep.id);
  for (const auto& row : rows) {
    stopped = stopped || row.state == "stopped";
  }
  const store::SweepId id = sweep.id;
  spans_[id].end = now();
  store_.set_sweep_state(id, stopped ? "stopped" : "finished");
  log_.line("sweep " + std::to_string(id) + (stopped ? " stopped" : " is finished"));
  for (const auto& row : rows) sweep_of_.erase(row.id);
  live_.erase(id);
}

// Law 5: the stage is planned again with half the micro-batch; results under the old one no
// longer count for it.
void Loop::out_of_memory(const OutOfMemory& notice) {
  const auto [sweep, stage] = live_stage(notice.stage);
  if (stage == nullptr || stage->phase != Phase::kOpen) return;
  const Shard shard = shard_of(*sweep, *stage, notice.index);
  if (headcount::key(shard) != notice.key || shard.micro_batch < 2)
    return;  // planned again since, or nothing to halve
  const int64_t micro_batch = shard.micro_batch / 2;
  log_.line("sweep " + std::to_string(sweep->id) + " stage " + stage->name +
            " ran out of memory: micro-batch " + std::to_string(micro_batch));
  step(StageClosed{stage->id});
  store_.set_stage_micro_batch(stage->id, micro_batch);
  set_stage(*stage, "waiting", "");
  apply_records(sweep->plan, store_.bindings(sweep->id), store_.stages(sweep->id));
  stage->n_planned = 0;
  stage->counts = {};
  stage->phase = Phase::kPlanning;
  stage->reopens = false;
}

}  // namespace headcount::coordinator
