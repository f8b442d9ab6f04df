// Params of evaluate to and from the fields of a shard: one place that knows which member is
// present when.
#include <algorithm>
#include <array>
#include <utility>

#include "experiments/kinds/evaluate/evaluate.h"
#include "schemas/error.h"

namespace headcount::experiments::evaluate {
namespace {

constexpr std::array<std::pair<Question, const char*>, 4> kQuestions = {{
    {Question::kMaskedCe, "masked_ce"},
    {Question::kNextToken, "next_token"},
    {Question::kExactMatch, "exact_match"},
    {Question::kChoices, "choices"},
}};

[[noreturn]] void refuse(const std::string& what) { throw Error("an evaluate shard with " + what); }

Question question_of(const std::string& name) {
  for (const auto& [question, text] : kQuestions) {
    if (name == text) return question;
  }
  refuse("unknown metric \"" + name + "\"");
}

void check(const Params& params) {
  if (params.n_layers < 1 || params.n_heads < 1) refuse("no layers or heads");
  for (size_t i = 0; i < params.pruned.size(); ++i) {
    const int64_t head = params.pruned[i];
    if (head < 0 || head >= params.n_layers * params.n_heads)
      refuse("a pruned head outside the model");
    if (i > 0 && params.pruned[i - 1] >= head) refuse("pruned heads out of order");
  }
  if (params.mask_prob && !(*params.mask_prob > 0 && *params.mask_prob <= 1))
    refuse("a mask_prob outside (0, 1]");
  if (params.draw < 0) refuse("a negative draw");
  if (params.mc_samples < 0 || params.mc_samples > kMostMcSamples)
    refuse("mc_samples outside 0 to " + std::to_string(kMostMcSamples));
}

}  // namespace

Fields to_fields(const Params& params) {
  Fields fields = {{"n_layers", params.n_layers}, {"n_heads", params.n_heads}};
  for (const auto& [question, text] : kQuestions) {
    if (question == params.question) fields["metric"] = std::string(text);
  }
  if (!params.pruned.empty()) fields["pruned"] = params.pruned;
  if (params.question == Question::kMaskedCe) {
    HC_CHECK(params.mask_prob.has_value());
    fields["mask_prob"] = *params.mask_prob;
    fields["draw"] = params.draw;
  }
  if (params.mask_id >= 0 && params.question != Question::kNextToken)
    fields["mask_id"] = params.mask_id;
  if (params.mc_samples > 0 && params.question == Question::kChoices && params.mask_id >= 0)
    fields["mc_samples"] = params.mc_samples;
  return fields;
}

Params params_of(const Shard& shard) {
  const Fields& fields = shard.params;
  Params params{.n_layers = get<int64_t>(fields, "n_layers"),
                .n_heads = get<int64_t>(fields, "n_heads"),
                .question = question_of(get<std::string>(fields, "metric"))};
  if (fields.count("pruned") > 0) params.pruned = get<std::vector<int64_t>>(fields, "pruned");
  if (params.question == Question::kMaskedCe) {
    params.mask_prob = get<double>(fields, "mask_prob");
    params.draw = get<int64_t>(fields, "draw");
  }
  params.mask_id = get_or<int64_t>(fields, "mask_id", -1);
  params.mc_samples = get_or<int64_t>(fields, "mc_samples", 0);
  check(params);
  for (const auto& [name, value] : fields) {
    if (to_fields(params).count(name) == 0) refuse("the unused parameter \"" + name + "\"");
  }
  return params;
}

}  // namespace headcount::experiments::evaluate
