// Which files a spec may name. A spec comes over the network and is read with the rights of the
// coordinator's user: what it names is followed to its end, links and all, before it is opened, and
// what is opened is that end.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace headcount::experiments {

/// What one submitter's specs may read; by default everything.
struct AllowedPaths {
  std::string state = {};  // a directory no path may lead into; empty: none
  std::optional<std::vector<std::string>> within = {};  // the only directories paths may lead into
};

/// Where `path` leads: absolute, every link followed, be there something or not. To be opened in
/// its place. Throws Error where that is not allowed, in words that do not depend on whether
/// anything is there.
std::string allowed_file(const AllowedPaths& allowed, const std::string& path);

/// The same of a model's directory, none of whose entries may lead elsewhere either.
std::string allowed_directory(const AllowedPaths& allowed, const std::string& path);

}  // namespace headcount::experiments
