// Part of experiments/datasets/task.h.
// Task tokens: rows of a JSONL file as they are.
#include "experiments/datasets/task.h"
#include "experiments/datasets/tokens.h"
#include "schemas/error.h"

namespace headcount::datasets {
namespace {

const std::vector<ParamInfo>& params() {
  static const std::vector<ParamInfo> params = {
      key({.name = "path",
           .type = ParamType::kText,
           .required = true,
           .meaning = "The JSONL file: {\"ids\", \"labels\"} or {\"ids\", \"choices\", \"label\"} "
                      "a line, all lines alike.",
           .example = "path = \"rows.jsonl\""}),
      key({.name = "rows",
           .type = ParamType::kInteger,
           .at_least = 1,
           .at_most = kMostAsked,
           .unit = "rows",
           .meaning = "How many rows; all of them where not given.",
           .example = "rows = 100"}),
      key({.name = "offset",
           .type = ParamType::kInteger,
           .otherwise = int64_t{0},
           .at_least = 0,
           .at_most = kMostAsked,
           .unit = "rows",
           .meaning = "How many rows to pass over first.",
           .example = "offset = 100"}),
  };
  return params;
}

/// How many rows there are shows in the file.
void check(const Fields&, const Complain&) {}

void load(Dataset& dataset, const Source& source) {
  const Fields& values = source.values;
  const std::string path = resolve(get<std::string>(values, "path"), source.root);
  dataset.rows = read_tokens(path, source.model.config);
  const auto n_read = static_cast<int64_t>(dataset.rows.size());
  const int64_t offset = get<int64_t>(values, "offset");
  const int64_t n_rows = get_or<int64_t>(values, "rows", n_read - offset);
  if (n_rows < 1 || n_rows > n_read - offset)
    throw Error(
        path + " has " + std::to_string(n_read) + " rows; offset " + std::to_string(offset) +
        (n_rows < 1 ? " leaves none" : " and rows " + std::to_string(n_rows) + " ask for more"));
  keep_range(dataset.rows, static_cast<size_t>(offset), static_cast<size_t>(n_rows));
  dataset.has_choices = !dataset.rows.front().choices.empty();
  dataset.objective = dataset.has_choices ? Objective::kChoices : Objective::kGivenLabels;
}

}  // namespace

const Task& tokens_task() {
  static const Task task{.name = "tokens", .params = params(), .check = check, .load = load};
  return task;
}

}  // namespace headcount::datasets
