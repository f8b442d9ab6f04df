// Windows of a text (task = "text") that share tokens: two stages that read one file with a stride
// below the window, or with offsets that do not match, see the same words.
#pragma once

#include <cstdint>

#include "experiments/datasets/dataset.h"

namespace headcount::experiments {

/// A shorter overlap is not seen: it may be the same words by chance.
constexpr int64_t kLeastOverlap = 8;

/// Fewer windows than these make rough intervals, and neighbours in one text are alike.
constexpr int64_t kFewWindows = 30;

/// How many of `windows` partly overlap one of `others`: their first tokens (a beginning-of-text
/// token apart) are its last, or their last its first, at least kLeastOverlap of them. Equal
/// windows do not count: see warn_overlap().
int64_t n_overlapping(const datasets::Dataset& windows, const datasets::Dataset& others);

}  // namespace headcount::experiments
