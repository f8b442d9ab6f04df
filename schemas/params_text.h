// Words about parameters that params.cc and params_text.cc share.
#pragma once

#include <string>

#include "schemas/params.h"

namespace headcount {

/// Whether values of that type are lists by nature.
bool is_list(ParamType type);

/// A bound as a user would write it: 4096 rather than 4096.0.
std::string bound(double value);

}  // namespace headcount
