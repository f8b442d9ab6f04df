// The version of this program: coordinator, worker and runner of one cluster must be of the same.
#pragma once

namespace headcount {

inline constexpr const char* kProgramVersion = "0.1.0";

}  // namespace headcount
