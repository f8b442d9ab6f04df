// Windows of a text (task = "text") that share tokens: two stages that read one file with a stride
// below the window, or with offsets that do not match, see the same words.
#pragma once

#include <cstdint>

#include "experiments/datasets/dataset.h"

namespace headcount::experiments {

/// Fewer windows than these make rough intervals, and neighbours in one text are alike.
constexpr int64_t kFewWindows = 30;

/// How many of `windows` share tokens of their text with one of `others`. Windows at the same place
/// do not count: see warn_overlap().
int64_t n_overlapping(const datasets::Windows& windows, const datasets::Windows& others);

}  // namespace headcount::experiments
