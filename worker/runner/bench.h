// `headcount-runner bench head-importance`: how fast gate gradients are computed, against the
// fastest matrix products this process can do.
#pragma once

#include <string>
#include <vector>

namespace headcount {

/// Runs the measurement; `args` are the words after `bench head-importance`: --threads N (2),
/// --dtype float32|bfloat16|float64, --device cpu|cuda:N, --repeats N (5), --samples N (10 mask
/// variants in one micro-batch). Progress goes to stderr; the last line of stdout is one JSON
/// object. Returns the exit code: 0, or 2 after one sentence about a bad flag. Throws Error when
/// the device is not there.
int bench_head_importance(const std::vector<std::string>& args);

}  // namespace headcount
