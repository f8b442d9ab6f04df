#include "coordinator/latency.h"

#include <algorithm>
#include <cmath>

namespace headcount::coordinator {
namespace {

constexpr double kLeastMs = 1e-3, kGrowth = 1.05;

}  // namespace

void Latency::add(double ms) {
  const double step = ms > kLeastMs ? std::ceil(std::log(ms / kLeastMs) / std::log(kGrowth)) : 0;
  ++buckets_[std::min(static_cast<size_t>(step), buckets_.size() - 1)];
  ++n_;
}

double Latency::quantile_ms(double q) const {
  int64_t left = static_cast<int64_t>(std::ceil(q * static_cast<double>(n_)));
  if (left <= 0) return 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    left -= buckets_[i];
    if (left <= 0) return kLeastMs * std::pow(kGrowth, static_cast<double>(i));
  }
  return kLeastMs * std::pow(kGrowth, static_cast<double>(buckets_.size() - 1));
}

}  // namespace headcount::coordinator
