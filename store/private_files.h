// A state directory belongs to its user alone: every weight, result and key file of its cluster is
// in it or can be had by it.
#pragma once

#include <string>
#include <vector>

namespace headcount::store {

/// Takes away what others may do with the directory of a database and with the files in it that
/// Headcount writes: 0700, 0600. One sentence for each that was open. Directories of somebody else,
/// and shared ones (/tmp), are left as they are.
std::vector<std::string> make_private(const std::string& directory);

}  // namespace headcount::store
