// Part of experiments/datasets/dataset.h.
// The keys of every task as data, and what their values get wrong together.
#include "experiments/datasets/addition.h"
#include "experiments/datasets/dataset.h"
#include "schemas/error.h"

namespace headcount::datasets {

namespace {

constexpr double kMostAsked = 100'000'000;
constexpr int64_t kAdditionTokens =
    addition::kPromptSize + addition::kAnswerSize + 10;  // with the choices
constexpr std::string_view kElsewhere[] = {"task"};      // checked with the spec's outer shape

ParamInfo key(ParamInfo info) {
  info.axis = false;
  return info;
}

const std::vector<ParamInfo>& addition_params() {
  static const std::vector<ParamInfo> params = {
      key({.name = "split",
           .type = ParamType::kText,
           .required = true,
           .choices = {"train", "validation", "test"},
           .meaning = "Which of three fixed, disjoint sets of problems; the built-in models "
                      "learnt from train only.",
           .example = "split = \"test\""}),
      key({.name = "rows",
           .type = ParamType::kInteger,
           .required = true,
           .at_least = 1,
           .at_most = kMostAsked,
           .unit = "rows",
           .meaning = "How many problems, all different; more rows keep the first ones.",
           .example = "rows = 512"}),
      key({.name = "offset",
           .type = ParamType::kInteger,
           .otherwise = int64_t{0},
           .at_least = 0,
           .at_most = kMostAsked,
           .unit = "rows",
           .meaning = "How many problems of the split to pass over first.",
           .example = "offset = 512"}),
      key({.name = "seed",
           .type = ParamType::kInteger,
           .at_least = 0,
           .meaning = "Orders the problems of the split; the spec's seed where not given.",
           .example = "seed = 7"}),
  };
  return params;
}

const std::vector<ParamInfo>& text_params() {
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

const std::vector<ParamInfo>& tokens_params() {
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

/// Adds a problem at `name` where it is written, else at the table.
void complain(const DatasetSpec& spec, const char* name, const std::string& file,
              const std::string& message, std::vector<Problem>& problems) {
  const Value::Member* member = find_member(spec.keys, name);
  problems.push_back({.file = file,
                      .at = member ? member->at : spec.at,
                      .key = "datasets." + spec.name + "." + name,
                      .message = message});
}

}  // namespace

std::span<const ParamInfo> task_params(std::string_view task) {
  if (task == "addition") return addition_params();
  if (task == "text") return text_params();
  if (task == "tokens") return tokens_params();
  return {};
}

std::vector<std::string> task_names() { return {"addition", "text", "tokens"}; }

void check(const DatasetSpec& spec, size_t, const std::string& file,
           std::vector<Problem>& problems) {
  const size_t n_before = problems.size();
  const std::vector<Choice> choices = read_params(spec.keys, task_params(spec.task), kElsewhere,
                                                  "datasets." + spec.name, file, spec.at, problems);
  if (problems.size() != n_before) return;
  const Fields& values = choices.front().values;
  const auto refuse_too_large = [&](int64_t n_rows, int64_t n_tokens) {
    const std::string why = too_large(n_rows, n_tokens);
    if (!why.empty()) complain(spec, "rows", file, why, problems);
  };
  if (spec.task == "addition") {
    const std::string split = get<std::string>(values, "split");
    const auto size = static_cast<int64_t>(
        addition::size(split == "train" ? addition::Split::kTrain : addition::Split::kTest));
    const int64_t asked = get<int64_t>(values, "offset") + get<int64_t>(values, "rows");
    if (asked > size)
      complain(spec, "rows", file,
               "split \"" + split + "\" has " + std::to_string(size) +
                   " problems; offset and rows ask for " + std::to_string(asked),
               problems);
    else
      refuse_too_large(get<int64_t>(values, "rows"), kAdditionTokens);
  } else if (spec.task == "text") {
    const int64_t window = get<int64_t>(values, "window");
    refuse_too_large(get<int64_t>(values, "offset") + get<int64_t>(values, "rows"), window);
    if (const int64_t prompt = get<int64_t>(values, "prompt"); prompt >= window)
      complain(spec, "prompt", file,
               "a prompt of " + std::to_string(prompt) +
                   " tokens leaves nothing to ask in a "
                   "window of " +
                   std::to_string(window),
               problems);
  }
}

}  // namespace headcount::datasets
