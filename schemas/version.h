// The version of this build: daemons, runners and clients of different versions refuse each other
// by name.
#pragma once

namespace headcount {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace headcount
