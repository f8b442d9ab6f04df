// Part of coordinator/loop.h.
// What becomes of results and tables that no longer count: stages are opened again, what is damaged
// or withdrawn is computed once more.
#include <algorithm>
#include <set>

#include "coordinator/loop.h"
#include "schemas/try_again.h"

namespace headcount::coordinator {

using Phase = LiveStage::Phase;

// Those stages, and what reads their tables, go on from the results that count; a sweep that was
// over runs again. A cancelled one stays so: its tables are made of what is there when asked for.
// False: there was none.
bool Loop::open_again(store::SweepId id, const Which& which) {
  LiveSweep* sweep = live_sweep(id);
  const auto sweep_row = store_.sweep(id);
  std::set<int> opened;
  for (const auto& row : store_.stages(id)) {
    const auto* kind = experiments::find_kind(row.kind);
    // Without its plan, whatever reads a stage may read a reopened stage's.
    const bool reads =
        sweep != nullptr
            ? opened.contains(sweep->plan.stages[static_cast<size_t>(row.number)].input)
            : !opened.empty() && kind != nullptr && kind->reads != experiments::Output::kNone;
    if (!reads && !which(row)) continue;
    opened.insert(row.number);
    if (sweep_row->state == "cancelled") {
      store_.clear_table(row.id);
      continue;
    }
    RetryShards forgiven;
    for (const auto& [key, text] : store_.evidence(row.id)) forgiven.keys.push_back(key);
    step(std::move(forgiven));
    reopen(sweep, row, reads);
  }
  const bool is_over = sweep_row->state == "finished" || sweep_row->state == "stopped";
  if (opened.empty() || !is_over || unread_.contains(id)) return !opened.empty();
  store_.set_sweep_state(id, "running");
  read_again(*sweep_row);  // whole again from the database
  return true;
}

// `reads`: it reads a reopened stage's table, and its shards may change with that.
//
// A stage that lost results has the same shards as before, so its keys stay recorded (`whole`): it
// is opened again from them, those with a result count as done, and only what is missing is
// granted. A table that changes may change what its readers compute, down to their keys (the
// sorted list of pruned heads): their shards are forgotten, and planned anew when the table is
// there again. So are those of a stage whose planning was not finished. Either way the old table
// goes: neither people nor later stages may read it once its results do not count. The scheduler
// gives the stage up first, as it holds done bits of the old shards; what it had lent goes on for
// other stages that want it, or is revoked. All of it is in one transaction with what caused it:
// after a crash the stage is as it was, or open again.
void Loop::reopen(LiveSweep* sweep, const store::StageRow& row, bool reads) {
  const bool whole = !reads && row.n_shards > 0 && store_.n_planned(row.id) == row.n_shards;
  if (sweep != nullptr) {
    LiveStage& stage = sweep->stages[static_cast<size_t>(row.number)];
    if (stage.phase == Phase::kOpen) step(StageClosed{stage.id});
    stage.phase = whole ? Phase::kPlanning : Phase::kWaiting;
    stage.reopens = whole;
    stage.n_planned = whole ? stage.n_shards : 0;
    stage.counts = {};
    sweep->bound = false;  // what fitted no device may fit one of today's
  }
  if (!whole) store_.clear_shards(row.id);
  store_.clear_table(row.id);
  store_.set_stage_state(row.id, whole ? "open" : "waiting", "");
  store_.set_stage_missing(row.id, 0);
}

bool Loop::has_damaged_table(const store::StageRow& row) {
  try {
    store_.table(row.id);
    return false;
  } catch (const store::Damaged& error) {
    alarm(std::string(error.what()) + ": it is made again");
    return true;
  }
}

// Something stored for the sweep is damaged: all that is, is set aside. Stages under way go on with
// those shards; where the scheduler has given a stage back, or its table is gone, it is opened
// again.
void Loop::mend(store::SweepId id) {
  const auto rows = store_.stages(id);
  Withdrawn gone;
  std::vector<std::pair<StageId, std::string>> hopeless;
  for (const auto& row : rows) {
    try {
      for (const auto& damaged : store_.damaged(row.id)) {
        alarm(damaged.what + ": it is set aside, and computed again where it is needed");
        store_.set_aside(damaged.key, damaged.tag, damaged.what);
        gone.keys.push_back(damaged.key);
      }
    } catch (const TryAgain&) {
      throw;
    } catch (const Error& error) {  // neither read nor set aside
      alarm(error.what());
      hopeless.emplace_back(row.id, error.what());
    }
  }
  step(std::move(gone));
  for (const auto& [stage_id, why] : hopeless) {
    const auto [sweep, stage] = live_stage(stage_id);
    if (stage == nullptr || stage->phase == Phase::kEnded) continue;
    if (stage->phase == Phase::kOpen) step(StageClosed{stage_id});
    stop_stage(*sweep, *stage, why);
  }
  open_again(id, [this](const auto& row) {
    const auto [sweep, stage] = live_stage(row.id);
    const bool given_back =
        stage != nullptr && stage->phase == Phase::kOpen && !scheduler_.stage(row.id);
    return given_back || has_damaged_table(row);
  });
}

// What to say of damage that stood in the way of an answer, and that it is mended where it can be.
std::string Loop::mended(store::SweepId id, const store::Damaged& damage) {
  if (!waits_.empty()) return damage.what();
  mend(id);
  return std::string(damage.what()) +
         ": it is set aside and made again, ask once more when the sweep is finished";
}

// What those public keys delivered no longer counts: sweeps under way compute it again, finished
// ones say so until they are tried again.
int64_t Loop::withdraw(const std::string& name, const std::vector<std::string>& workers) {
  Withdrawn gone;
  for (const auto& worker : workers) {
    const auto keys = store_.withdraw(worker, withdrawn_because(name));
    gone.keys.insert(gone.keys.end(), keys.begin(), keys.end());
  }
  const auto n = std::ssize(gone.keys);
  if (n == 0) return 0;
  alarm(withdrawn_text(n, name));
  step(std::move(gone));
  for (const auto& sweep : store_.sweeps()) {
    if (sweep.state == "running" || sweep.state == "paused")
      open_again(sweep.id, [](const auto& row) { return row.n_withdrawn > 0; });
  }
  return n;
}

void Loop::alarm(const std::string& text) {
  store_.alarm(text);
  log_.line("alarm: " + text);
}

}  // namespace headcount::coordinator
