// fingerprint() of models/files/config.h as somebody waits for it: sixteen gigabytes take a while.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "models/files/config.h"

namespace headcount::models {

/// Told before every few megabytes that are read; may throw to give up.
using HashProgress = std::function<void(uint64_t n_bytes_done, uint64_t n_bytes)>;

/// The fingerprint. Throws Error where a file becomes shorter or is changed while it is read.
std::string fingerprint(const ModelFiles& files, const HashProgress& progress);

}  // namespace headcount::models
