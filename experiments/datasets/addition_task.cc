// Part of experiments/datasets/task.h.
// Task addition: problems of one of three disjoint splits, for the built-in models.
#include "experiments/datasets/addition.h"
#include "experiments/datasets/task.h"
#include "schemas/error.h"

namespace headcount::datasets {
namespace {

constexpr int kRowSize = addition::kPromptSize + addition::kAnswerSize;
constexpr int64_t kTokens = kRowSize + 10;  // with the choices

const std::vector<ParamInfo>& params() {
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

void check(const Fields& values, const Complain& complain) {
  const std::string split = get<std::string>(values, "split");
  const auto size = static_cast<int64_t>(
      addition::size(split == "train" ? addition::Split::kTrain : addition::Split::kTest));
  const int64_t n_rows = get<int64_t>(values, "rows");
  const int64_t asked = get<int64_t>(values, "offset") + n_rows;
  if (asked > size) {
    complain("rows", "split \"" + split + "\" has " + std::to_string(size) +
                         " problems; offset and rows ask for " + std::to_string(asked));
  } else {
    check_size(n_rows, kTokens, complain);
  }
}

addition::Split split_named(const std::string& name) {
  if (name == "train") return addition::Split::kTrain;
  return name == "validation" ? addition::Split::kValidation : addition::Split::kTest;
}

void require_addition_model(const models::ModelFiles& model) {
  const models::Config& config = model.config;
  if (config.vocab_size != addition::kVocabSize || config.mask_id != addition::kMask)
    throw Error("task addition needs a masked-diffusion model with the addition vocabulary (" +
                std::to_string(addition::kVocabSize) + " tokens, mask " +
                std::to_string(addition::kMask) + ") such as builtin:addition; " + model.directory +
                " has " + std::to_string(config.vocab_size) + " tokens and " +
                (config.masked() ? "mask " + std::to_string(config.mask_id) : "no mask token"));
  if (config.max_positions < kRowSize)
    throw Error("task addition needs " + std::to_string(kRowSize) + " positions; " +
                model.directory + " has " + std::to_string(config.max_positions));
}

void load(Dataset& dataset, const Source& source) {
  require_addition_model(source.model);
  const Fields& values = source.values;
  const auto seed =
      values.contains("seed") ? static_cast<uint64_t>(get<int64_t>(values, "seed")) : source.seed;
  const addition::Stream problems(split_named(get<std::string>(values, "split")), seed);
  const auto offset = static_cast<uint64_t>(get<int64_t>(values, "offset"));
  const auto n_rows = static_cast<uint64_t>(get<int64_t>(values, "rows"));
  dataset.rows.reserve(n_rows);
  for (uint64_t i = offset; i < offset + n_rows; ++i)
    dataset.rows.push_back(addition::row(problems(i), seed));
  assign_ids(dataset.rows);  // no problem comes twice: where they begin does not matter
  dataset.objective = Objective::kMasked;
  dataset.has_choices = true;
}

}  // namespace

const Task& addition_task() {
  static const Task task{.name = "addition", .params = params(), .check = check, .load = load};
  return task;
}

}  // namespace headcount::datasets
