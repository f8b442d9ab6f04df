// A resample's confusion matrix is counted straight from its rows: n_classes is small.
#include "experiments/metrics/classification.h"

#include <cmath>

#include "experiments/metrics/intervals.h"
#include "schemas/error.h"

namespace headcount::metrics {

namespace {

struct Counts {
  int64_t hits = 0, truths = 0, predictions = 0;  // TP, TP + FN, TP + FP
};

Counts counts_of(const Confusion& confusion, int32_t k) {
  Counts counts;
  counts.hits = confusion.at(k, k);
  for (int32_t other = 0; other < confusion.n_classes; ++other) {
    counts.truths += confusion.at(k, other);
    counts.predictions += confusion.at(other, k);
  }
  return counts;
}

/// 2 TP / (2 TP + FP + FN).
std::optional<double> f1_of(const Counts& counts) {
  if (counts.truths + counts.predictions == 0) return std::nullopt;
  return 2 * static_cast<double>(counts.hits) /
         static_cast<double>(counts.truths + counts.predictions);
}

double macro_f1(const Confusion& confusion) {
  double sum = 0;
  int present = 0;
  for (int32_t k = 0; k < confusion.n_classes; ++k) {
    if (const auto value = f1_of(counts_of(confusion, k))) {
      sum += *value;
      ++present;
    }
  }
  return present == 0 ? 0 : sum / present;
}

double micro_f1(const Confusion& confusion) {
  Counts all;
  for (int32_t k = 0; k < confusion.n_classes; ++k) {
    const Counts counts = counts_of(confusion, k);
    all.hits += counts.hits;
    all.truths += counts.truths;
    all.predictions += counts.predictions;
  }
  return f1_of(all).value_or(0);
}

}  // namespace

int64_t Confusion::at(int32_t truth, int32_t predicted) const {
  return counts[static_cast<size_t>(truth) * static_cast<size_t>(n_classes) +
                static_cast<size_t>(predicted)];
}

Confusion confusion(std::span<const int32_t> truth, std::span<const int32_t> predicted,
                    int32_t n_classes) {
  HC_CHECK(truth.size() == predicted.size() && n_classes > 0);
  const size_t n = static_cast<size_t>(n_classes);
  Confusion result{.n_classes = n_classes, .counts = std::vector<int64_t>(n * n)};
  for (size_t i = 0; i < truth.size(); ++i) {
    HC_CHECK(truth[i] >= 0 && truth[i] < n_classes && predicted[i] >= 0 &&
             predicted[i] < n_classes);
    ++result.counts[static_cast<size_t>(truth[i]) * n + static_cast<size_t>(predicted[i])];
  }
  return result;
}

std::optional<double> f1_of_class(const Confusion& confusion, int32_t positive) {
  HC_CHECK(positive >= 0 && positive < confusion.n_classes);
  return f1_of(counts_of(confusion, positive));
}

double f1(const Confusion& confusion, F1 average, int32_t positive) {
  switch (average) {
    case F1::kMacro:
      return macro_f1(confusion);
    case F1::kMicro:
      return micro_f1(confusion);
    case F1::kPositive:
      return f1_of_class(confusion, positive).value_or(0);
  }
  HC_CHECK(false);
}

Estimate f1(std::span<const int32_t> truth, std::span<const int32_t> predicted, int32_t n_classes,
            F1 average, int32_t positive, const Bootstrap& options) {
  std::vector<int32_t> drawn_truth(truth.size()), drawn_prediction(truth.size());
  return bootstrap(options, truth.size(), [&](std::span<const uint32_t> rows) {
    for (size_t i = 0; i < rows.size(); ++i) {
      drawn_truth[i] = truth[rows[i]];
      drawn_prediction[i] = predicted[rows[i]];
    }
    return f1(confusion(drawn_truth, drawn_prediction, n_classes), average, positive);
  });
}

Estimate accuracy(std::span<const int32_t> truth, std::span<const int32_t> predicted) {
  HC_CHECK(truth.size() == predicted.size());
  std::vector<double> hit(truth.size());
  for (size_t i = 0; i < truth.size(); ++i) hit[i] = truth[i] == predicted[i] ? 1 : 0;
  return share_estimate({hit});
}

Estimate perplexity(std::span<const double> nll, std::span<const double> tokens,
                    const Bootstrap& options) {
  HC_CHECK(nll.size() == tokens.size());
  for (const double count : tokens) HC_CHECK(count > 0);
  return bootstrap(options, nll.size(), [&](std::span<const uint32_t> rows) {
    double sum = 0, count = 0;
    for (const uint32_t row : rows) {
      sum += nll[row];
      count += tokens[row];
    }
    return std::exp(sum / count);
  });
}

}  // namespace headcount::metrics
