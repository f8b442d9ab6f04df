// Datasets: a task and its keys become rows of token ids. Tasks: addition (synthetic), text
// (windows of a file), tokens (JSONL).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/files/config.h"
#include "schemas/params.h"
#include "schemas/row.h"
#include "schemas/spec.h"

namespace headcount::datasets {

/// How rows ask their question; what a stage's objective must fit.
enum class Objective { kMasked, kNextToken, kGivenLabels, kChoices };

/// A dataset read for one model.
struct Dataset {
  std::string name;
  std::string task;
  std::vector<Row> rows;
  Objective objective = Objective::kMasked;  // kChoices: rows have choices and nothing else
  bool has_choices = false;                  // addition rows have a masked span and choices
};

/// The tasks' own keys: names, types, defaults (docs/spec.md is tested against it). Empty span:
/// unknown task.
std::span<const ParamInfo> task_params(std::string_view task);
std::vector<std::string> task_names();

/// Checks the keys of one dataset without reading files.
void check(const DatasetSpec& spec, size_t index, const std::string& file,
           std::vector<Problem>& problems);

/// Reads it. Relative paths start at `root`. Throws Error naming file and line for anything
/// unreadable, malformed, out of the model's vocabulary or longer than its max_positions; a row
/// with nothing to supervise is refused.
Dataset load(const DatasetSpec& spec, uint64_t seed, const models::ModelFiles& model,
             const std::string& root);

/// First 8 bytes (little endian) of SHA-256 over the row's token content and its occurrence number
/// among equal rows. Gives every row of `rows` its id.
void assign_ids(std::vector<Row>& rows);

}  // namespace headcount::datasets
