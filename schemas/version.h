// The version of this build: daemons, runners and clients of different versions refuse each other
// by name.
#pragma once

namespace headcount {

/// The project's version in CMakeLists.txt. Defined in one object file, so that it stands in a
/// program once.
extern const char* const kVersion;

}  // namespace headcount
