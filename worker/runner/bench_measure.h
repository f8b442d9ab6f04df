// What the benchmarks share: clocks, the yardstick of plain matrix products, and the floating-point
// work a gate gradient cannot do without.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "models/model.h"

namespace headcount {

/// Seconds of each of some calls, ascending: by the clock, and of the process's CPU time (all
/// threads together).
struct Times {
  std::vector<double> wall, cpu;
};

/// Times `call`, which returns only when its result is there.
Times time_calls(int n, const std::function<void()>& call);

struct ProductRate {
  std::array<int64_t, 3> shape;  // rows, depth, columns
  double gflops, gflops_per_cpu_s;
};
ProductRate product_rate(std::array<int64_t, 3> shape, at::ScalarType dtype, at::Device device);

/// 2048^3 and the model's own shapes at `rows` positions of which `supervised` reach the head.
std::vector<ProductRate> product_rates(const models::Config& c, int64_t rows, int64_t supervised,
                                       at::ScalarType dtype, at::Device device);

/// Useful work of one sequence of `length` positions forward and backward to its gates, the minimum
/// of docs/methods.md 4: (2 + 2) P T + 3.5 x the attention's forward + 2 x (2 d V S). Half the
/// attention where it is causal.
double useful_flops(const models::Config& c, int64_t length, int64_t supervised);

/// `samples` mask variants of one row: its last `supervised` positions are the answer, masked in a
/// masked model, all of them supervised.
models::Batch bench_batch(const models::Config& c, int64_t samples, int64_t length,
                          int64_t supervised, at::Device device);

}  // namespace headcount
