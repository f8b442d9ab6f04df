#include "experiments/kinds/shared_params.h"

#include <string>

namespace headcount::experiments {

ParamInfo mask_probs_param(std::string_view meaning, std::string_view example) {
  return {.name = "mask_probs",
          .type = ParamType::kNumbers,
          .at_least = 0,
          .at_most = 1,
          .above_least = true,
          .meaning = meaning,
          .example = example};
}

ParamInfo mask_samples_param(std::string_view meaning) {
  return {.name = "mask_samples",
          .type = ParamType::kInteger,
          .at_least = 1,
          .at_most = 4096,
          .unit = "draws",
          .meaning = meaning,
          .example = "2"};
}

ParamInfo choice_normalize_param() {
  return {.name = "choice_normalize",
          .type = ParamType::kText,
          .otherwise = Field(std::string("sum")),
          .choices = {"sum", "mean"},
          .meaning = "The score of a choice: sum or mean of its log-probabilities.",
          .example = "\"mean\""};
}

ParamInfo scope_param(std::string_view meaning, std::string_view example) {
  return {.name = "scope",
          .type = ParamType::kText,
          .otherwise = Field(std::string("global")),
          .choices = {"global", "layer", "layer_matched"},
          .meaning = meaning,
          .example = example};
}

}  // namespace headcount::experiments
