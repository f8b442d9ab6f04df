// What a database says about its sweeps, with or without a running coordinator: lists, status,
// explanations and tables as JSON text. Functions of the store alone (and of the spec's files where
// a running stage's table is asked for).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "coordinator/sweep_status.h"
#include "experiments/sweep.h"
#include "schemas/table.h"
#include "store/store.h"

namespace headcount::coordinator {

/// ID as users write it (requests.h); throws Error naming what there is when it fits none or
/// several.
store::SweepRow find_sweep(const store::Store& store, const std::string& id);

/// How far a stage is: from the database, or (a running coordinator) from memory.
using CountsOf = std::function<store::StageCounts(const store::StageRow&)>;
CountsOf counts_from(const store::Store& store);

/// {"sweeps": [{"id", "name", "state", "digest", "file", "created_at", "shards", "done",
/// "quarantined"}]}, newest first.
std::string list_json(const store::Store& store, const CountsOf& counts);
inline std::string list_json(const store::Store& store) {
  return list_json(store, counts_from(store));
}

/// What the database knows of it: without `live`.
SweepStatus sweep_status(const store::Store& store, store::SweepId sweep, const CountsOf& counts);
inline SweepStatus sweep_status(const store::Store& store, store::SweepId sweep) {
  return sweep_status(store, sweep, counts_from(store));
}

/// What keeps a sweep from going on, one sentence each: quarantined shards with their evidence,
/// stopped stages, alarms.
std::vector<std::string> explain(const store::Store& store, store::SweepId sweep);

/// What shards and tables are made of: every model's fingerprint, every dataset's rows whole.
Digest files_digest(const experiments::Sweep& sweep);
/// The newest finished sweep of the same spec and the same files as sweep `id`.
std::optional<store::SweepId> equal_sweep(const store::Store& store, store::SweepId id);
/// Keeps it as what the sweep is planned from.
void remember_files(store::Store& store, store::SweepId sweep, const Digest& files);
/// One sentence where a sweep that was prepared again is not made of the files it was planned from;
/// else "", also where nobody kept their digest (sweeps of an older headcount). `files`: its
/// digest; `rows`: the stages as planned.
std::string changed_files(const store::Store& store, store::SweepId id,
                          const experiments::Sweep& sweep, const Digest& files,
                          const std::vector<store::StageRow>& rows);

/// Why a stage of that sweep is planned otherwise than today, one sentence: another version of
/// headcount did it, or (where no digest of its files was kept) they may have been edited.
std::string not_as_planned(const store::Store& store, store::SweepId sweep);
/// That sentence where the planned shards of a stage are not those this program makes of it: its
/// count or the key of its first shard differ; else "". `stage` after apply_records, with scores
/// attached where it reads some.
std::string planned_otherwise(const store::Store& store, const store::StageRow& row,
                              const experiments::Stage& stage);

/// The table of one stage from the results that are there; `stage` as prepared, with scores
/// attached where it reads some. Error where it is planned_otherwise.
Table aggregate(const store::Store& store, const store::StageRow& row,
                const experiments::Stage& stage);

/// What the database says about a prepared sweep's points: the models' tags, a micro-batch halved
/// after running out of memory (a column then), their numerics where a model of the stage has
/// `numerics = "any"` (a column of every point then). `rows` are its stages.
void apply_records(experiments::Sweep& sweep, const std::vector<store::Store::Binding>& bindings,
                   const std::vector<store::StageRow>& rows);

/// The table of a finished stage as it was stored, with a warning where its kind has moved to
/// another numerics version since, and where results behind it were withdrawn.
std::optional<Table> stored_table(const store::Store& store, const store::StageRow& row);

/// The public keys whose results `key revoke NAME --set-aside` takes back: the allowed key of that
/// name, else every one that has borne it.
std::vector<std::string> bearers(const store::Store& store, const std::string& state,
                                 const std::string& name);
bool is_allowed(const std::string& state, const std::string& name);
/// Why such a result is set aside.
std::string withdrawn_because(const std::string& worker);
/// "3 results of worker NAME were set aside ...".
std::string withdrawn_text(int64_t n_results, const std::string& worker);

/// A sweep's spec and files as they are now.
struct ReadAgain {
  experiments::Sweep sweep;
  Digest files;  // files_digest
};
/// Reads them; nullopt: they are not to be read. Throws Error where they cannot be.
using SweepReader = std::function<std::optional<ReadAgain>()>;

/// Some of the stage's shards may have results a table can be made of before all have: those of a
/// hidden kind say nothing.
bool can_be_aggregated(const store::Store& store, const store::StageRow& row);

/// Whether the tables that are asked for are not all of finished stages.
bool needs_files(const store::Store& store, store::SweepId sweep, const std::string& stage);

/// The tables of a sweep, in stage order; `stage` "" means all, else that one (Error naming the
/// stages there are). Finished stages come from the database; one that is under way is aggregated
/// from the results that are there (`read` is asked for its spec's models and datasets then, by
/// default they are read here; without them it is left out); one that has
/// not begun is left out, and so is one whose input has no table; one that is planned_otherwise has
/// no rows and that sentence as its warning, or, where there is no other table, is an Error. Error
/// where the files are not those the sweep was planned from.
std::vector<Table> tables(const store::Store& store, store::SweepId sweep, const std::string& stage,
                          SweepReader read = {});

}  // namespace headcount::coordinator
