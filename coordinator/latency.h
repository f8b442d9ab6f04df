// How long something took, over all its occurrences: quantiles within five percent, in constant
// memory.
#pragma once

#include <array>
#include <cstdint>

namespace headcount::coordinator {

class Latency {
 public:
  void add(double ms);
  /// The upper end of the bucket that holds the quantile; 0 before the first add. Buckets grow by
  /// five percent from one microsecond; beyond about a hundred seconds all is one bucket.
  double quantile_ms(double q) const;
  int64_t count() const { return n_; }

 private:
  std::array<int64_t, 380> buckets_{};
  int64_t n_ = 0;
};

}  // namespace headcount::coordinator
