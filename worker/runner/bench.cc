// Useful GFLOP/s of gate gradients. A pass is one sequence forward and backward to its gates. The
// yardstick is the best rate of plain matrix products in
// the same process, dtype and thread count: 2048^3 and the model's own shapes. On a
// machine that others use too, the ratio of rates per CPU second (ratio_cpu_time) says what an idle
// machine would show.
#include "worker/runner/bench.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "models/cpu_kernels.h"
#include "models/memory.h"
#include "models/model.h"
#include "schemas/bad_input.h"
#include "worker/runner/bench_measure.h"
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

nlohmann::ordered_json measure(const Options& o) {
  const at::NoGradGuard no_grad;
  models::keep_freed_memory();
  runner::make_deterministic(o.threads);
  const at::Device device = read_input([&] { return runner::parse_device(o.device); });
  const at::ScalarType dtype = read_input([&] { return runner::parse_dtype(o.dtype); });
  const models::Config c = shape();
  const models::Model model = models::random_model(c, 1, dtype, device);
  const models::Batch batch = bench_batch(c, o.samples, kPositions, kAnswers, device);
  const at::Tensor gates = at::rand({o.samples, c.n_layers, c.n_heads}, at::kFloat);
  std::fprintf(stderr, "bench head-importance: %lld sequences of %lld positions, %s, %d threads\n",
               static_cast<long long>(o.samples), static_cast<long long>(kPositions),
               o.dtype.c_str(), o.threads);

  std::vector<ProductRate> rates;
  if (!o.passes_only)
    rates = product_rates(c, o.samples * kPositions, o.samples * kAnswers, dtype, device);
  models::gate_gradient(model, batch, gates);  // first touches of memory and of the matrix library
  const Times times = time_calls(o.repeats, [&] { models::gate_gradient(model, batch, gates); });
  if (!o.passes_only) {
    for (const ProductRate& rate :
         product_rates(c, o.samples * kPositions, o.samples * kAnswers, dtype, device))
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
  const double gflop = useful_flops(c, kPositions, kAnswers) * passes / 1e9;
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
          {"useful_gflop_per_pass", useful_flops(c, kPositions, kAnswers) / 1e9},
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
