#include "coordinator/view.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cluster/transport/keys.h"
#include "experiments/trust.h"
#include "schemas/bad_input.h"
#include "schemas/messages.h"

namespace headcount::coordinator {
namespace {

using Json = nlohmann::ordered_json;
using store::StageRow;
using store::Store;
using store::SweepRow;

// Texts come from users and from runners' output: bytes that are no UTF-8 are replaced, never
// fatal.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool all_digits(const std::string& text) {
  return !text.empty() && text.size() < 18 &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

bool all_hex(const std::string& text) {
  return text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string shard_text(int64_t n) { return std::to_string(n) + (n == 1 ? " shard" : " shards"); }

// A sick worker may raise thousands; the table `alarm` has them all.
std::vector<std::string> newest_alarms(const Store& store) {
  constexpr std::ptrdiff_t kShown = 20;
  auto alarms = store.alarms();
  if (std::ssize(alarms) > kShown) alarms.erase(alarms.begin(), alarms.end() - kShown);
  return alarms;
}

// A column of the table that says how the numbers of a point differ from what the spec alone
// determines.
void add_column(experiments::Point& point, const std::string& name, const Field& value) {
  if (point.columns.emplace(name, value).second) point.column_order.push_back(name);
  point.columns[name] = value;
}

std::string results_text(int64_t n) {
  return std::to_string(n) + (n == 1 ? " result" : " results");
}

std::string withdrawn_text(const StageRow& stage) {
  return "the table of stage " + stage.name + " was made of " + results_text(stage.n_withdrawn) +
         " set aside since: `headcount sweep retry " + std::to_string(stage.sweep) +
         "` computes them again";
}

std::string files_meta(store::SweepId id) { return "files of sweep " + std::to_string(id); }

/// What a table looks like of which nothing can be said but why.
Table refused_table(const experiments::Stage& stage, const std::string& why) {
  Table table = stage.kind->aggregate(stage.name, stage.points,
                                      [](size_t, int64_t) { return std::optional<Result>(); });
  table.numerics_version = 0;
  table.rows.clear();
  table.diagnostics.clear();
  table.warnings = {why};
  return table;
}

std::optional<ReadAgain> read_here(const SweepRow& row) {
  auto again = experiments::prepare(row.text, row.file, row.root);
  if (!again.sweep)
    throw Error("the spec of this sweep cannot be read again: " + to_string(again.problems));
  const Digest files = files_digest(*again.sweep);
  return ReadAgain{.sweep = std::move(*again.sweep), .files = files};
}

}  // namespace

SweepRow find_sweep(const Store& store, const std::string& id) {
  const auto sweeps = store.sweeps();
  if (sweeps.empty()) throw Error("there is no sweep yet: submit a spec first");
  if (id == "last" || id.empty()) return sweeps.back();
  if (all_digits(id)) {
    for (const auto& sweep : sweeps) {
      if (std::to_string(sweep.id) == id) return sweep;
    }
  }
  for (auto sweep = sweeps.rbegin(); sweep != sweeps.rend(); ++sweep) {
    if (sweep->name == id) return *sweep;
  }
  std::vector<const SweepRow*> fitting;
  if (id.size() >= 4 && all_hex(id)) {
    for (const auto& sweep : sweeps) {
      if (to_hex(sweep.digest).rfind(id, 0) == 0) fitting.push_back(&sweep);
    }
  }
  if (fitting.empty()) {
    throw Error("there is no sweep \"" + id + "\"; the newest is " +
                std::to_string(sweeps.back().id) + " \"" + sweeps.back().name +
                "\" (see `headcount sweep list`)");
  }
  const bool one_spec = std::all_of(fitting.begin(), fitting.end(), [&](const auto* sweep) {
    return sweep->digest == fitting[0]->digest;
  });
  if (!one_spec)
    throw Error("\"" + id + "\" fits " + std::to_string(fitting.size()) +
                " sweeps: give more digits");
  return *fitting.back();
}

CountsOf counts_from(const Store& store) {
  return [&store](const StageRow& stage) -> store::StageCounts {
    if (stage.state == "finished")
      return {.planned = stage.n_shards,
              .done = stage.n_shards - stage.n_missing,
              .quarantined = stage.n_missing};
    if (stage.state == "cancelled" && stage.n_done)
      return {.planned = store.n_planned(stage.id),
              .done = *stage.n_done,
              .quarantined = stage.n_quarantined.value_or(0)};
    return store.counts(stage.id);
  };
}

std::string list_json(const Store& store, const CountsOf& counts) {
  Json list = Json::array();
  auto sweeps = store.sweeps();
  std::reverse(sweeps.begin(), sweeps.end());
  for (const auto& sweep : sweeps) {
    int64_t shards = 0, done = 0, quarantined = 0;
    for (const auto& stage : store.stages(sweep.id)) {
      const auto n = counts(stage);
      shards += stage.n_shards;
      done += n.done;
      quarantined += n.quarantined;
    }
    list.push_back({{"id", sweep.id},
                    {"name", sweep.name},
                    {"state", sweep.state},
                    {"digest", to_hex(sweep.digest)},
                    {"file", sweep.file},
                    {"created_at", sweep.created_at},
                    {"shards", shards},
                    {"done", done},
                    {"quarantined", quarantined}});
  }
  return dump({{"sweeps", list}});
}

SweepStatus sweep_status(const Store& store, store::SweepId id, const CountsOf& counts) {
  const auto sweep = store.sweep(id);
  if (!sweep) throw Error("there is no sweep " + std::to_string(id));
  SweepStatus status{.id = sweep->id,
                     .name = sweep->name,
                     .state = sweep->state,
                     .digest = to_hex(sweep->digest),
                     .file = sweep->file,
                     .created_at = sweep->created_at,
                     .finished_at = sweep->finished_at,
                     .models = {},
                     .stages = {},
                     .alarms = newest_alarms(store)};
  for (const auto& binding : store.bindings(id))
    status.models.push_back({.model = binding.model, .tag = binding.tag});
  for (const auto& stage : store.stages(id)) {
    const auto n = counts(stage);
    status.stages.push_back({.id = stage.id,
                             .name = stage.name,
                             .kind = stage.kind,
                             .state = stage.state,
                             .reason = stage.reason,
                             .shards = stage.n_shards,
                             .planned = n.planned,
                             .cached = stage.n_cached,
                             .done = n.done,
                             .quarantined = n.quarantined,
                             .withdrawn = stage.n_withdrawn,
                             .micro_batch = stage.micro_batch});
  }
  return status;
}

std::vector<std::string> explain(const Store& store, store::SweepId id) {
  std::vector<std::string> lines;
  const auto sweep = store.sweep(id);
  if (!sweep) throw Error("there is no sweep " + std::to_string(id));
  if (sweep->state == "paused")
    lines.push_back("the sweep is paused: `headcount sweep resume " + std::to_string(id) + "`");
  if (sweep->state == "cancelled")
    lines.push_back("the sweep was cancelled: submit its spec again");
  if (sweep->state == "finished") lines.push_back("the sweep is finished");
  for (const auto& stage : store.stages(id)) {
    if (!stage.reason.empty()) lines.push_back("stage " + stage.name + ": " + stage.reason);
    if (stage.micro_batch > 0) {
      lines.push_back("stage " + stage.name + " computes with a micro-batch of " +
                      std::to_string(stage.micro_batch) + ", what the memory of its devices holds");
    }
    if (stage.n_withdrawn > 0) lines.push_back(withdrawn_text(stage));
    const auto evidence = store.evidence(stage.id);
    if (evidence.empty()) continue;
    lines.push_back(
        "stage " + stage.name + ": " + shard_text(static_cast<int64_t>(evidence.size())) +
        " quarantined (`headcount sweep retry " + std::to_string(id) + "` tries again)");
    for (const auto& [key, text] : evidence)
      lines.push_back("shard " + to_hex(key).substr(0, 12) + ": " + text);
  }
  for (const auto& alarm : newest_alarms(store)) lines.push_back("alarm: " + alarm);
  return lines;
}

Digest files_digest(const experiments::Sweep& sweep) {
  std::string whole;
  for (const auto& model : sweep.models) whole += model->name + " " + model->fingerprint + "\n";
  for (const auto& dataset : sweep.datasets)
    whole += dataset->name + " " + to_hex(dataset->rows_digest) + "\n";
  return sha256(whole);
}

void remember_files(Store& store, store::SweepId sweep, const Digest& files) {
  store.set_meta(files_meta(sweep), to_hex(files));
}

std::optional<store::SweepId> equal_sweep(const Store& store, store::SweepId id) {
  const auto own = store.sweep(id);
  const auto files = store.meta(files_meta(id));
  if (!own || !files) return std::nullopt;
  const auto sweeps = store.sweeps();
  const auto found = std::find_if(sweeps.rbegin(), sweeps.rend(), [&](const auto& sweep) {
    return sweep.id != id && sweep.state == "finished" && sweep.digest == own->digest &&
           store.meta(files_meta(sweep.id)) == files;
  });
  if (found == sweeps.rend()) return std::nullopt;
  return found->id;
}

std::string changed_files(const Store& store, store::SweepId id, const experiments::Sweep& sweep,
                          const Digest& files, const std::vector<StageRow>& rows) {
  const auto planned = store.meta(files_meta(id));
  if (planned && *planned != to_hex(files))
    return "the model or dataset files changed since the sweep was planned: restore them and retry "
           "the sweep, or submit the spec again";
  return rows.size() == sweep.stages.size() ? "" : not_as_planned(store, id);
}

std::string not_as_planned(const Store& store, store::SweepId id) {
  if (store.meta(files_meta(id)))
    return "planned by another version of headcount: submit the spec again";
  return "planned by another version of headcount, or the model or dataset files changed since: "
         "submit the spec again";
}

std::string planned_otherwise(const Store& store, const StageRow& row,
                              const experiments::Stage& stage) {
  const bool same = row.n_shards == experiments::count(stage) &&
                    (store.n_planned(row.id) == 0 ||
                     store.shard_key(row.id, 0) == headcount::key(experiments::shard(stage, 0)));
  return same ? "" : not_as_planned(store, row.sweep);
}

Table aggregate(const Store& store, const StageRow& row, const experiments::Stage& stage) {
  // Results are found by their stored keys: those of another version's shards must not become a
  // table of this one's.
  const std::string why = planned_otherwise(store, row, stage);
  if (!why.empty()) throw Error("stage " + row.name + ": " + why);
  const auto ranges = store.tag_ranges(row.id);
  const auto result_of = [&](size_t point, int64_t shard) -> std::optional<Result> {
    const int64_t index = stage.first_shard.at(point) + shard;
    const auto range =
        std::find_if(ranges.begin(), ranges.end(), [&](const auto& r) { return index < r.end; });
    if (range == ranges.end()) return std::nullopt;  // not planned yet
    return store.result(store.shard_key(row.id, index), range->tag);
  };
  return stage.kind->aggregate(stage.name, stage.points, result_of);
}

void apply_records(experiments::Sweep& sweep, const std::vector<Store::Binding>& bindings,
                   const std::vector<StageRow>& rows) {
  for (const auto& model : sweep.models) {
    for (const auto& binding : bindings) {
      if (binding.model == model->name) model->tag = binding.tag;
    }
  }
  for (auto& stage : sweep.stages) {
    const auto row =
        std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.name == stage.name; });
    const bool any_numerics =  // all rows of a table have the same columns
        std::any_of(stage.points.begin(), stage.points.end(),
                    [](const auto& point) { return point.model->tag == kAnyTag; });
    for (auto& point : stage.points) {
      if (any_numerics) add_column(point, "numerics", point.model->tag);
      if (row == rows.end() || row->micro_batch == 0) continue;
      point.micro_batch = row->micro_batch;
      add_column(point, "micro_batch", row->micro_batch);
    }
  }
}

std::optional<Table> stored_table(const Store& store, const StageRow& row) {
  auto table = store.table(row.id);
  if (!table) return table;
  const auto* kind = experiments::find_kind(row.kind);
  for (const auto& other : store.stages(row.sweep)) {
    const bool matters = other.id == row.id || (other.number < row.number && kind != nullptr &&
                                                kind->reads != experiments::Output::kNone);
    if (matters && other.n_withdrawn > 0) table->warnings.push_back(withdrawn_text(other));
  }
  const std::string outdated = experiments::outdated(*table);
  if (!outdated.empty()) table->warnings.push_back(outdated + ": submit the spec again");
  return table;
}

bool is_allowed(const std::string& state, const std::string& name) {
  const auto keys = transport::list_keys(state);
  return std::any_of(keys.begin(), keys.end(), [&](const auto& key) { return key.name == name; });
}

std::vector<std::string> bearers(const Store& store, const std::string& state,
                                 const std::string& name) {
  for (const auto& key : transport::list_keys(state)) {
    if (key.name == name) return {key.public_key};
  }
  return store.workers_named(name);
}

std::string withdrawn_because(const std::string& worker) {
  return "the key of its worker " + worker + " was revoked with --set-aside";
}

std::string withdrawn_text(int64_t n_results, const std::string& worker) {
  return results_text(n_results) + " of worker " + worker +
         " no longer count (its key was revoked with --set-aside): sweeps under way compute them "
         "again, finished ones say where they used them";
}

bool can_be_aggregated(const Store& store, const StageRow& row) {
  const auto* kind = experiments::find_kind(row.kind);
  return !(kind != nullptr && kind->hidden) && store.n_planned(row.id) > 0;
}

bool needs_files(const Store& store, store::SweepId id, const std::string& stage) {
  const auto rows = store.stages(id);
  return std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
    return (stage.empty() || row.name == stage) && row.state != "finished" &&
           can_be_aggregated(store, row);
  });
}

std::vector<Table> tables(const Store& store, store::SweepId id, const std::string& stage,
                          SweepReader read) {
  const auto sweep = store.sweep(id);
  if (!sweep) throw Error("there is no sweep " + std::to_string(id));
  const auto rows = store.stages(id);
  if (!stage.empty() &&
      std::none_of(rows.begin(), rows.end(), [&](const auto& row) { return row.name == stage; })) {
    std::string names;
    for (const auto& row : rows) names += (names.empty() ? "" : ", ") + row.name;
    throw BadInput("sweep " + std::to_string(id) + " has no stage \"" + stage + "\"; it has " +
                   names);
  }
  if (!read) read = [&] { return read_here(*sweep); };
  std::optional<experiments::Sweep> prepared;
  std::vector<Table> found;
  std::string refusal;  // of the first stage refused
  size_t n_refused = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& row = rows[i];
    auto table = stored_table(store, row);
    const bool wanted = stage.empty() || row.name == stage;
    if (!table && wanted && can_be_aggregated(store, row)) {
      if (!prepared) {
        auto again = read();
        if (!again) continue;
        const auto why = changed_files(store, id, again->sweep, again->files, rows);
        if (!why.empty()) throw Error(why);
        prepared = std::move(again->sweep);
        apply_records(*prepared, store.bindings(id), rows);
      }
      const int input = prepared->stages.at(i).input;
      if (input >= 0) {
        const auto scores = store.table(rows.at(static_cast<size_t>(input)).id);
        if (!scores) continue;
        experiments::attach_scores(*prepared, static_cast<int>(i), *scores);
      }
      const auto why = planned_otherwise(store, row, prepared->stages[i]);
      if (why.empty()) {
        table = aggregate(store, row, prepared->stages[i]);
      } else {
        table = refused_table(prepared->stages[i], why);
        if (n_refused++ == 0) refusal = "stage " + row.name + ": " + why;
      }
    }
    if (table && wanted) found.push_back(std::move(*table));
  }
  if (n_refused > 0 && n_refused == found.size()) throw Error(refusal);
  return found;
}

}  // namespace headcount::coordinator
