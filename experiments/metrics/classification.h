// Accuracy, exact match and F1 of predicted classes, and perplexity; each with its error and
// its 95 % interval: of a share where the metric is one, by the row bootstrap where it is not.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "experiments/metrics/bootstrap.h"
#include "experiments/metrics/moments.h"

namespace headcount::metrics {

/// counts[truth * n_classes + predicted].
struct Confusion {
  int32_t n_classes = 0;
  std::vector<int64_t> counts;
  int64_t at(int32_t truth, int32_t predicted) const;
};

/// Both in 0 .. n_classes - 1, one a row.
Confusion confusion(std::span<const int32_t> truth, std::span<const int32_t> predicted,
                    int32_t n_classes);

/// Which F1. kMacro: the mean over the classes that occur as truth or as prediction. kMicro: from
/// all classes' counts together (with one answer a row it equals accuracy). kPositive: of one
/// class.
enum class F1 { kMacro, kMicro, kPositive };

/// F1 of one class: 2 TP / (2 TP + FP + FN); null where the class is neither true nor predicted
/// anywhere.
std::optional<double> f1_of_class(const Confusion& confusion, int32_t positive);

/// F1 as asked, 0 where it is undefined (as scikit-learn does with zero_division = 0). `positive`
/// is read for kPositive.
double f1(const Confusion& confusion, F1 average, int32_t positive = -1);

/// F1 with its bootstrap standard error and interval over rows (null for one row).
Estimate f1(std::span<const int32_t> truth, std::span<const int32_t> predicted, int32_t n_classes,
            F1 average, int32_t positive, const Bootstrap& options);

/// The share of rows whose prediction is the truth, with Wilson's interval.
Estimate accuracy(std::span<const int32_t> truth, std::span<const int32_t> predicted);

/// exp(sum nll / sum tokens), nats per row and supervised tokens per row; se and interval by row
/// bootstrap (null for one row). Every count must be positive.
Estimate perplexity(std::span<const double> nll, std::span<const double> tokens,
                    const Bootstrap& options);

}  // namespace headcount::metrics
