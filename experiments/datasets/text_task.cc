// Part of experiments/datasets/task.h.
// Task text: windows of a file, read by the model's own tokenizer.
#include <filesystem>

#include "experiments/datasets/task.h"
#include "experiments/datasets/text.h"

namespace headcount::datasets {
namespace {

const std::vector<ParamInfo>& params() {
  static const std::vector<ParamInfo> params = {
      key({.name = "path",
           .type = ParamType::kText,
           .required = true,
           .meaning = "The text file, read by the model's own tokenizer.",
           .example = "path = \"story.txt\""}),
      key({.name = "objective",
           .type = ParamType::kText,
           .otherwise = std::string("next_token"),
           .choices = {"next_token", "masked"},
           .meaning = "What is asked of a window: every next token (causal models), or masked "
                      "positions (masked-diffusion models).",
           .example = "objective = \"next_token\""}),
      key({.name = "window",
           .type = ParamType::kInteger,
           .required = true,
           .at_least = 2,
           .at_most = 1'000'000,
           .unit = "tokens",
           .meaning = "Tokens of a row, the beginning-of-text token included.",
           .example = "window = 64"}),
      key({.name = "stride",
           .type = ParamType::kInteger,
           .at_least = 1,
           .at_most = kMostAsked,
           .unit = "tokens",
           .meaning = "From the beginning of one window to the next; windows just do not overlap "
                      "where not given.",
           .example = "stride = 32"}),
      key({.name = "rows",
           .type = ParamType::kInteger,
           .required = true,
           .at_least = 1,
           .at_most = kMostAsked,
           .unit = "rows",
           .meaning = "How many windows.",
           .example = "rows = 16"}),
      key({.name = "offset",
           .type = ParamType::kInteger,
           .otherwise = int64_t{0},
           .at_least = 0,
           .at_most = kMostAsked,
           .unit = "rows",
           .meaning = "How many windows to pass over first: keeps rows for scoring and for "
                      "evaluation apart.",
           .example = "offset = 16"}),
      key({.name = "prompt",
           .type = ParamType::kInteger,
           .otherwise = int64_t{0},
           .at_least = 0,
           .at_most = 1'000'000,
           .unit = "tokens",
           .meaning = "Leading tokens of a window that are only context: never masked, never to "
                      "be predicted.",
           .example = "prompt = 8"}),
      key({.name = "bos",
           .type = ParamType::kBool,
           .otherwise = true,
           .meaning = "Whether a window begins with the model's beginning-of-text token, where "
                      "it has one.",
           .example = "bos = false"}),
  };
  return params;
}

void check(const Fields& values, const Complain& complain) {
  const int64_t window = get<int64_t>(values, "window");
  check_size(get<int64_t>(values, "offset") + get<int64_t>(values, "rows"), window, complain);
  if (const int64_t prompt = get<int64_t>(values, "prompt"); prompt >= window) {
    complain("prompt", "a prompt of " + std::to_string(prompt) +
                           " tokens leaves nothing to ask in a window of " +
                           std::to_string(window));
  }
}

void load(Dataset& dataset, const Source& source) {
  const Fields& values = source.values;
  const models::ModelFiles& model = source.model;
  TextOptions options;
  options.masked = get<std::string>(values, "objective") == "masked";
  options.bos = get<bool>(values, "bos");
  options.window = get<int64_t>(values, "window");
  options.stride = get_or<int64_t>(values, "stride", 0);
  options.prompt = get<int64_t>(values, "prompt");
  const int64_t offset = get<int64_t>(values, "offset"), n_rows = get<int64_t>(values, "rows");
  options.n_rows = offset + n_rows;
  const std::string path = resolve(get<std::string>(values, "path"), source.root);
  dataset.rows = read_text(path, options, model);
  keep_range(dataset.rows, static_cast<size_t>(offset), static_cast<size_t>(n_rows));
  dataset.objective = options.masked ? Objective::kMasked : Objective::kNextToken;
  const int64_t n_text = options.window - (options.bos && model.config.bos_id >= 0 ? 1 : 0);
  dataset.windows = {
      .text = std::filesystem::weakly_canonical(path).string(), .first = {}, .length = n_text};
  for (int64_t i = offset; i < offset + n_rows; ++i)
    dataset.windows.first.push_back(i * (options.stride > 0 ? options.stride : n_text));
}

}  // namespace

const Task& text_task() {
  static const Task task{.name = "text", .params = params(), .check = check, .load = load};
  return task;
}

}  // namespace headcount::datasets
