// From a sweep to what is printed: submitting a spec, getting its tables, showing how it ended.
#pragma once

#include <string>
#include <vector>

#include "cli/connection.h"
#include "cli/progress.h"
#include "schemas/table.h"

namespace headcount::cli {

/// The answer of sweep.submit.
struct Submitted {
  std::string id, name;
  int64_t shards = 0, cached = 0;
  bool continued = false;
  std::string json;
};
/// Gives `text` to the coordinator. What it finds wrong with the spec is BadInput. `root` "": the
/// coordinator's own; `go_on`: continue an unfinished sweep of the same digest. While large files
/// are read it says so on stderr.
Submitted submit_spec(const Common& common, Connection& connection, const std::string& text,
                      const std::string& file, const std::string& root, bool go_on);
/// "sweep 3 \"addition-heads\": 120 shards, 40 of them on record already".
std::string to_string(const Submitted& submitted);

/// The tables of a sweep (`stage` "": all): from the database of --state, or, of a coordinator
/// elsewhere, over the wire.
std::vector<Table> tables_of(const Common& common, const std::string& id, const std::string& stage);

/// to_json(tables) read back. Throws Error for anything else.
std::vector<Table> tables_from_json(const std::string& json);

/// The tables' warnings on stderr, for formats that have no place for them.
void warn_aside(const std::vector<Table>& tables);

/// Prints the tables in --format and returns the exit status: kOk for a finished sweep without a
/// missing shard, else kFailed with the reasons on stderr.
int show_outcome(const Common& common, const Waited& waited, const std::string& id);

}  // namespace headcount::cli
