// Useful GFLOP/s of gate gradients. A pass is one sequence forward and backward to its gates; its
// useful work is the minimum of numerics-and-validation.md 2.7: (2 + 2) P_body T + 3.5 x the
// attention's forward + 2 x (2 d V S). The yardstick is the best rate of plain matrix products in
// the same process, dtype and thread count: 2048^3 and the model's own shapes. On a
// machine that others use too, the ratio of rates per CPU second (ratio_cpu_time) says what an idle
// machine would show.
#include "worker/runner/bench.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "models/cpu_kernels.h"
#include "models/memory.h"
#include "models/model.h"
#include "worker/runner/device.h"

namespace headcount {
namespace {

struct Options {
  int threads = 2;
  std::string dtype = "float32", device = "cpu";
  int repeats = 5;
  int64_t samples = 10;
  bool passes_only = false;
};

/// The shape the issues name.
constexpr int64_t kPositions = 256, kAnswers = 64;
models::Config shape() {
  models::Config c;
  c.family = "llada";
  c.n_layers = 8;
  c.n_heads = c.n_kv_heads = 8;
  c.d_model = 512;
  c.d_head = 64;
  c.d_mlp = 1536;
  c.vocab_size = 32000;
  c.max_positions = kPositions;
  c.mask_id = 31999;
  return c;
}

double useful_flops(const models::Config& c) {
  const double d_attn = static_cast<double>(c.n_heads * c.d_head),
               d_kv = static_cast<double>(c.n_kv_heads * c.d_head);
  const auto d = static_cast<double>(c.d_model), layers = static_cast<double>(c.n_layers);
  const double body =
      layers * (2 * d * d_attn + 2 * d * d_kv + 3 * d * static_cast<double>(c.d_mlp));
  const double attention = 4 * layers * kPositions * kPositions * d_attn;
  return 4 * body * kPositions + 3.5 * attention +
         2 * (2 * d * static_cast<double>(c.vocab_size) * kAnswers);
}

/// `samples` mask variants of one row: the last kAnswers positions are the answer, all of them
/// masked and supervised.
models::Batch make_batch(const models::Config& c, int64_t samples, at::Device device) {
  at::Tensor ids = at::randint(c.mask_id, {1, kPositions}, at::kLong).repeat({samples, 1});
  ids.narrow(1, kPositions - kAnswers, kAnswers).fill_(c.mask_id);
  const int64_t n = samples * kAnswers;
  return {.ids = ids.to(device),
          .lengths = {},
          .sample = at::arange(samples, at::kLong).repeat_interleave(kAnswers),
          .position = at::arange(kPositions - kAnswers, kPositions, at::kLong).repeat({samples}),
          .target = at::randint(c.mask_id, {n}, at::kLong),
          .weight = at::full({n}, 1.0 / kAnswers, at::kDouble)};
}

/// Seconds of each of some calls, ascending: by the clock, and of the process's CPU time (all
/// threads together).
struct Times {
  std::vector<double> wall, cpu;
};

double cpu_now() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Times `call`, which returns only when its result is there.
template <class F>
Times time_calls(int n, const F& call) {
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

struct ProductRate {
  std::array<int64_t, 3> shape;  // rows, depth, columns
  double gflops, gflops_per_cpu_s;
};

ProductRate product_rate(std::array<int64_t, 3> s, at::ScalarType dtype, at::Device device) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  const at::Tensor a = at::randn({s[0], s[1]}, options), b = at::randn({s[2], s[1]}, options);
  at::Tensor out = at::empty({s[0], s[2]}, options);
  const Times times = time_calls(7, [&] {
    at::mm_out(out, a, b.t());
    out[0][0].item<double>();  // waits for a GPU
  });
  const double gflop = 2e-9 * static_cast<double>(s[0] * s[1] * s[2]);
  return {s, gflop / times.wall.front(), gflop / times.cpu.front()};
}

std::vector<ProductRate> product_rates(const models::Config& c, int64_t samples,
                                       at::ScalarType dtype, at::Device device) {
  const int64_t n = samples * kPositions, d_attn = c.n_heads * c.d_head,
                d_kv = c.n_kv_heads * c.d_head;
  std::vector<ProductRate> rates;
  for (const auto& s : {std::array<int64_t, 3>{2048, 2048, 2048},
                        {n, c.d_model, d_attn + 2 * d_kv},
                        {n, d_attn, c.d_model},
                        {n, c.d_model, 2 * c.d_mlp},
                        {n, 2 * c.d_mlp, c.d_model},
                        {n, c.d_mlp, c.d_model},
                        {samples * kAnswers, c.d_model, c.vocab_size},
                        {samples * kAnswers, c.vocab_size, c.d_model}}) {
    rates.push_back(product_rate(s, dtype, device));
  }
  return rates;
}

nlohmann::ordered_json measure(const Options& o) {
  const at::NoGradGuard no_grad;
  models::keep_freed_memory();
  runner::make_deterministic(o.threads);
  const at::Device device = runner::parse_device(o.device);
  const at::ScalarType dtype = runner::parse_dtype(o.dtype);
  const models::Config c = shape();
  const models::Model model = models::random_model(c, 1, dtype, device);
  const models::Batch batch = make_batch(c, o.samples, device);
  const at::Tensor gates = at::rand({o.samples, c.n_layers, c.n_heads}, at::kFloat);
  std::fprintf(stderr, "bench head-importance: %lld sequences of %lld positions, %s, %d threads\n",
               static_cast<long long>(o.samples), static_cast<long long>(kPositions),
               o.dtype.c_str(), o.threads);

  std::vector<ProductRate> rates;
  if (!o.passes_only) rates = product_rates(c, o.samples, dtype, device);
  models::gate_gradient(model, batch, gates);  // first touches of memory and of the matrix library
  const Times times = time_calls(o.repeats, [&] { models::gate_gradient(model, batch, gates); });
  if (!o.passes_only) {
    for (const ProductRate& rate : product_rates(c, o.samples, dtype, device))
      rates.push_back(rate);
  }
  double best = 0, best_per_cpu_s = 0;
  nlohmann::ordered_json products = nlohmann::ordered_json::array();
  for (const ProductRate& rate : rates) {
    best = std::max(best, rate.gflops);
    best_per_cpu_s = std::max(best_per_cpu_s, rate.gflops_per_cpu_s);
    products.push_back({{"shape", rate.shape}, {"gflops", rate.gflops}});
  }
  const auto passes = static_cast<double>(o.samples);
  const double gflop = useful_flops(c) * passes / 1e9;
  // Without a yardstick the ratios are infinite, which JSON writes as null.
  const double median = times.wall[times.wall.size() / 2],
               median_cpu = times.cpu[times.cpu.size() / 2];
  return {{"bench", "head-importance"},
          {"device", o.device},
          {"instructions", device.is_cpu() ? models::cpu_kernels<float>().name : ""},
          {"dtype", o.dtype},
          {"threads", o.threads},
          {"samples", o.samples},
          {"ratio", gflop / median / best},
          {"ratio_cpu_time", gflop / median_cpu / best_per_cpu_s},
          {"useful_gflops", gflop / median},
          {"best_product_gflops", best},
          {"passes_per_s", passes / median},
          {"passes_per_s_best", passes / times.wall.front()},
          {"median_s", median},
          {"seconds", times.wall},
          {"cpu_seconds", times.cpu},
          {"useful_gflop_per_pass", useful_flops(c) / 1e9},
          {"products", products}};
}

}  // namespace

int bench_head_importance(const std::vector<std::string>& args) {
  Options o;
  CLI::App app("Gate gradients per second against the fastest matrix products",
               "headcount-runner bench head-importance");
  app.add_option("--threads", o.threads, "CPU threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--dtype", o.dtype)
      ->check(CLI::IsMember({"float32", "bfloat16", "float64"}))
      ->capture_default_str();
  app.add_option("--device", o.device, "cpu or cuda:N")->capture_default_str();
  app.add_option("--repeats", o.repeats, "timed calls; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--samples", o.samples, "sequences in the micro-batch")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_flag("--passes-only", o.passes_only, "no yardstick and no ratio: for profilers");
  std::vector<std::string> reversed(args.rbegin(), args.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  std::printf("%s\n", measure(o).dump().c_str());
  return 0;
}

}  // namespace headcount
