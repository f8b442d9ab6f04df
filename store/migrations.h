// The database's tables and views as numbered steps; user_version counts those applied. Internal to
// store/.
#pragma once

#include <span>

#include "store/sqlite.h"

namespace headcount::store {

constexpr int64_t kApplicationId = 0x48644374;  // "HdCt" in the file's header
/// Step i (from 0) brings a database of version i to version i + 1.
std::span<const char* const> migrations();

/// Applies what is missing, each step in one transaction. Throws Error for a database of a newer
/// program or of another one.
void migrate(Connection& connection);
/// The same checks for a reader, which changes nothing.
void check_version(Connection& connection);

}  // namespace headcount::store
