// Clocks, products and counts of operations.
#include "worker/runner/bench_measure.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <time.h>

#include <algorithm>
#include <chrono>

namespace headcount {
namespace {

double cpu_now() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace

Times time_calls(int n, const std::function<void()>& call) {
  Times times;
  for (int i = 0; i < n; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const double cpu_begin = cpu_now();
    call();
    times.cpu.push_back(cpu_now() - cpu_begin);
    times.wall.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(times.wall.begin(), times.wall.end());
  std::sort(times.cpu.begin(), times.cpu.end());
  return times;
}

ProductRate product_rate(std::array<int64_t, 3> s, at::ScalarType dtype, at::Device device) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  const at::Tensor a = at::randn({s[0], s[1]}, options), b = at::randn({s[2], s[1]}, options);
  at::Tensor out = at::empty({s[0], s[2]}, options);
  const Times times = time_calls(7, [&] {
    at::mm_out(out, a, b.t());
    out[0][0].item<double>();  // waits for a GPU
  });
  const double gflop =
      2e-9 * static_cast<double>(s[0]) * static_cast<double>(s[1]) * static_cast<double>(s[2]);
  return {s, gflop / times.wall.front(), gflop / times.cpu.front()};
}

std::vector<ProductRate> product_rates(const models::Config& c, int64_t rows, int64_t supervised,
                                       at::ScalarType dtype, at::Device device) {
  const int64_t d_attn = c.n_heads * c.d_head, d_kv = c.n_kv_heads * c.d_head,
                inner = (c.gated_mlp ? 2 : 1) * c.d_mlp;
  std::vector<ProductRate> rates;
  for (const auto& s : {std::array<int64_t, 3>{2048, 2048, 2048},
                        {rows, c.d_model, d_attn + 2 * d_kv},
                        {rows, d_attn, c.d_model},
                        {rows, c.d_model, inner},
                        {rows, inner, c.d_model},
                        {rows, c.d_mlp, c.d_model},
                        {supervised, c.d_model, c.vocab_size},
                        {supervised, c.vocab_size, c.d_model}}) {
    rates.push_back(product_rate(s, dtype, device));
  }
  return rates;
}

double useful_flops(const models::Config& c, int64_t length, int64_t supervised) {
  const double d_attn = static_cast<double>(c.n_heads * c.d_head),
               d_kv = static_cast<double>(c.n_kv_heads * c.d_head);
  const auto d = static_cast<double>(c.d_model), layers = static_cast<double>(c.n_layers),
             n = static_cast<double>(length);
  const double mlp = (c.gated_mlp ? 3 : 2) * d * static_cast<double>(c.d_mlp);
  const double body = layers * (2 * d * d_attn + 2 * d * d_kv + mlp);
  const double attention = (c.causal ? 2 : 4) * layers * n * n * d_attn;
  return 4 * body * n + 3.5 * attention +
         2 * (2 * d * static_cast<double>(c.vocab_size) * static_cast<double>(supervised));
}

models::Batch bench_batch(const models::Config& c, int64_t samples, int64_t length,
                          int64_t supervised, at::Device device) {
  const int64_t tokens = c.masked() ? c.mask_id : c.vocab_size;
  at::Tensor ids = at::randint(tokens, {1, length}, at::kLong).repeat({samples, 1});
  if (c.masked()) ids.narrow(1, length - supervised, supervised).fill_(c.mask_id);
  const int64_t n = samples * supervised;
  return {.ids = ids.to(device),
          .lengths = {},
          .sample = at::arange(samples, at::kLong).repeat_interleave(supervised),
          .position = at::arange(length - supervised, length, at::kLong).repeat({samples}),
          .target = at::randint(tokens, {n}, at::kLong),
          .weight = at::full({n}, 1.0 / static_cast<double>(supervised), at::kDouble)};
}

}  // namespace headcount
