// Datasets: a task and its keys become rows of token ids. Tasks: addition (synthetic), text
// (windows of a file), tokens (JSONL); one more is a line in tasks.def and a file (task.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/config.h"
#include "schemas/params.h"
#include "schemas/row.h"
#include "schemas/sha256.h"
#include "schemas/spec.h"

namespace headcount::datasets {

/// How rows ask their question; what a stage's objective must fit.
enum class Objective { kMasked, kNextToken, kGivenLabels, kChoices };

/// Where the rows of a text come from: the file, and for each row the place of its first token in
/// it and how many follow each other.
struct Windows {
  std::string text;
  std::vector<int64_t> first;
  int64_t length = 0;
};

/// A dataset read for one model.
struct Dataset {
  std::string name;
  std::string task;
  std::vector<Row> rows;
  Objective objective = Objective::kMasked;  // kChoices: rows have choices and nothing else
  bool has_choices = false;                  // addition rows have a masked span and choices
  Windows windows;                           // of task "text"
  Digest rows_digest;                        // key_of_rows(rows)
};

/// What a dataset may hold. A row takes up to about a kilobyte of the coordinator's memory, a token
/// eight bytes.
constexpr int64_t kMaxRows = int64_t{1} << 23;
constexpr int64_t kMaxTokens = int64_t{1} << 28;  // those of choices included
/// Why so many rows of so many tokens each are too many; "" where they are not.
std::string too_large(int64_t n_rows, int64_t n_tokens);

/// The tasks' own keys (all but `task`): names, types, defaults; docs/spec.md is tested against it.
/// None is an axis. Empty span: unknown task.
std::span<const ParamInfo> task_params(std::string_view task);
std::vector<std::string> task_names();

/// Checks the keys of one dataset without reading files. `spec.task` must be one of task_names();
/// `index` is its place among the spec's datasets, which key paths do not show: they are
/// "datasets.NAME.key".
void check(const DatasetSpec& spec, size_t index, const std::string& file,
           std::vector<Problem>& problems);

/// Reads it. Relative paths start at `root`. `seed` is the spec's: synthetic tasks draw from it.
/// Throws Error naming file and line for anything unreadable, malformed, out of the model's
/// vocabulary, longer than its max_positions or too_large; a row with nothing to supervise is
/// refused, and so is a model the task cannot be asked of, and an unknown task. Every row has its
/// id.
Dataset load(const DatasetSpec& spec, uint64_t seed, const models::ModelFiles& model,
             const std::string& root);

/// Row ids: the first 8 bytes (little endian) of SHA-256 over the row's token content and its
/// occurrence number, from 0, among the rows before it with the same tokens. Content: u64 count of
/// ids, each id as i32, then the occurrence as u64; all little endian. Labels and choices are no
/// part of it, so that two datasets asking different things of the same tokens are seen to overlap.
void assign_ids(std::vector<Row>& rows);

/// A hash of the row's tokens alone, equal for equal tokens wherever they stand in whatever file.
/// For comparing rows within this process: it differs between machines and is never stored.
uint64_t content_hash(const Row& row);

}  // namespace headcount::datasets
