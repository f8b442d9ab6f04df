// What a database says about its sweeps, with or without a running coordinator: lists, status,
// explanations and tables as JSON text. Functions of the store alone (and of the spec's files where
// a running stage's table is asked for).
#pragma once

#include <string>
#include <vector>

#include "schemas/table.h"
#include "store/store.h"

namespace headcount::coordinator {

/// ID as users write it (requests.h); throws Error naming what there is when it fits none or
/// several.
store::SweepRow find_sweep(const store::Store& store, const std::string& id);

/// {"sweeps": [{"id", "name", "state", "digest", "file", "created_at", "shards", "done",
/// "quarantined"}]}, newest first.
std::string list_json(const store::Store& store);

/// {"id", "name", "state", "digest", "created_at", "models": [{"model", "tag", "micro_batch"}],
/// "stages": [{"name", "kind", "state", "reason", "shards", "planned", "done", "quarantined",
/// "rows"}], "alarms": [..]}. The coordinator adds per stage "rate" (shards/s) and "time_left_s"
/// (null: unknown) and "workers" as in worker.list.
std::string status_json(const store::Store& store, store::SweepId sweep);

/// What keeps a sweep from going on, one sentence each: quarantined shards with their evidence,
/// stopped stages, alarms.
std::vector<std::string> explain(const store::Store& store, store::SweepId sweep);

/// The tables of a sweep, in stage order; `stage` "" means all, else that one (Error naming the
/// stages there are). Finished stages come from the database; a stage that is under way is
/// aggregated from the results that are there (its spec's models and datasets are read for that).
std::vector<Table> tables(const store::Store& store, store::SweepId sweep,
                          const std::string& stage);

}  // namespace headcount::coordinator
