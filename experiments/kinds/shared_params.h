// Parameters that several kinds take, each once: only what a kind makes of it is the kind's own.
#pragma once

#include <string_view>

#include "schemas/params.h"

namespace headcount::experiments {

ParamInfo mask_probs_param(std::string_view meaning, std::string_view example);
ParamInfo mask_samples_param(std::string_view meaning);
ParamInfo choice_normalize_param();
/// How sets of heads are drawn: scope_of (experiments/kinds/prune.h) reads it.
ParamInfo scope_param(std::string_view meaning, std::string_view example);

}  // namespace headcount::experiments
