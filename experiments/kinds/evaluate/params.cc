// Params of evaluate to and from the fields of a shard.
#include <algorithm>
#include <array>
#include <utility>

#include "experiments/kinds/evaluate/evaluate.h"
#include "experiments/kinds/field_list.h"
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

/// What a shard carries of Params, and when.
template <class List, class P>
void list(List& to, P& params) {
  to("n_layers", params.n_layers);
  to("n_heads", params.n_heads);
  to.unless({}, "pruned", params.pruned);
  to.word("metric", params.question, kQuestions);
  if (params.question == Question::kMaskedCe) {
    if (!to("mask_prob", params.mask_prob)) refuse("no mask_prob");
    to("draw", params.draw);
  }
  if (params.question != Question::kNextToken) to.unless(int64_t{-1}, "mask_id", params.mask_id);
  if (params.question == Question::kChoices && params.mask_id >= 0)
    to.unless(int64_t{0}, "mc_samples", params.mc_samples);
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
  if (params.draw < 0 || params.mask_id < -1) refuse("a negative draw or mask_id");
  if (params.mc_samples < 0 || params.mc_samples > kMostMcSamples)
    refuse("mc_samples outside 0 to " + std::to_string(kMostMcSamples));
}

}  // namespace

Fields to_fields(const Params& params) {
  FieldWriter to;
  list(to, params);
  return to.fields();
}

Params params_of(const Shard& shard) {
  Params params;
  FieldReader from(shard.params, "an evaluate shard");
  list(from, params);
  from.end();
  check(params);
  return params;
}

}  // namespace headcount::experiments::evaluate
