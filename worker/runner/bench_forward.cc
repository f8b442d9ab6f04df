// Part of worker/runner/bench.h.
// A real checkpoint through one forward and backward pass: what a worker's shard costs.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/cpu_kernels.h"
#include "models/memory.h"
#include "schemas/bad_input.h"
#include "worker/runner/bench.h"
#include "worker/runner/bench_measure.h"
#include "worker/runner/device.h"

namespace headcount {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string model, dtype = "bfloat16", device = "cpu";
  int64_t tokens = 512, supervised = 128, layers = 0, micro_batch = 1;
  int threads = 2, repeats = 1;
  bool checkpointing = false;
};

/// A line of /proc/self/status in bytes ("VmHWM": the largest resident size so far).
int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    int64_t kilobytes = 0;
    if (word == key + ":" && status >> kilobytes) return 1024 * kilobytes;
  }
  return 0;
}

/// Lets VmHWM start again from what is resident now.
void forget_peak() { std::ofstream("/proc/self/clear_refs") << 5; }

/// Dense bfloat16 TFLOP/s of the devices docs/methods.md 4 names; 0: unknown.
double roofline_tflops(at::Device device) {
  if (!device.is_cuda()) return 0;
  const std::string name = runner::cuda_info().devices.at(static_cast<size_t>(device.index())).name;
  for (const auto& [part, peak] : {std::pair{"H200", 989.0}, {"H100", 989.0}, {"A100", 312.0}}) {
    if (name.find(part) != std::string::npos) return peak;
  }
  return 0;
}

/// The model's first layers alone.
models::ModelFiles open_layers(const Options& o) {
  models::ModelFiles files = models::open_model(o.model);
  if (o.layers == 0 || o.layers >= files.config.n_layers) return files;
  files.config.n_layers = o.layers;
  std::erase_if(files.tensors, [&](const models::TensorPlace& place) {
    return place.name.starts_with("layers.") && std::stoll(place.name.substr(7)) >= o.layers;
  });
  return files;
}

void check(const Options& o, const models::Config& c) {
  if (o.supervised > o.tokens)
    throw BadInput("--supervised is " + std::to_string(o.supervised) + " of only " +
                   std::to_string(o.tokens) + " --tokens");
  if (o.tokens > c.max_positions)
    throw BadInput("--tokens is " + std::to_string(o.tokens) + ", the model has " +
                   std::to_string(c.max_positions) + " positions");
}

struct Measured {
  double load_s = 0;
  int64_t load_peak_bytes = 0, loaded_bytes = 0, peak_bytes = 0;
  uint64_t device_bytes = 0;  // LibTorch gives nothing back: the most it held
  Times forward, pass;
  double score = 0, largest_gradient = 0;
};

Measured measure_passes(const Options& o, const models::ModelFiles& files, at::Device device) {
  Measured found;
  const models::Config& c = files.config;
  found.load_s = time_calls(1, [&] { models::open_model(o.model); }).wall[0];
  const auto begin = std::chrono::steady_clock::now();
  const models::Model model = models::load(files, runner::parse_dtype(o.dtype), device);
  found.load_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  found.load_peak_bytes = status_bytes("VmHWM");
  found.loaded_bytes = status_bytes("VmRSS");
  forget_peak();
  std::fprintf(stderr, "loaded in %.1f s\n", found.load_s);
  const models::Batch batch = bench_batch(c, o.micro_batch, o.tokens, o.supervised, device);
  const at::Tensor gates = at::rand({o.micro_batch, c.n_layers, c.n_heads}, at::kFloat);
  const bool warm_up = device.is_cuda();
  models::GateGradient gradient;
  const auto pass = [&] {
    gradient = models::gate_gradient(model, batch, gates, {.checkpointing = o.checkpointing});
  };
  if (warm_up) pass();
  found.pass = time_calls(o.repeats, pass);
  std::fprintf(stderr, "forward + backward in %.1f s\n", found.pass.wall.front());
  found.forward = time_calls(o.repeats, [&] { models::score(model, batch, gates); });
  found.peak_bytes = status_bytes("VmHWM");
  found.device_bytes = runner::used_memory(device);
  found.score = gradient.score.mean().item<double>();
  found.largest_gradient = gradient.grad.abs().max().item<double>();
  return found;
}

ordered_json report(const Options& o) {
  const at::NoGradGuard no_grad;
  models::keep_freed_memory();
  runner::make_deterministic(o.threads);
  const at::Device device = read_input([&] { return runner::parse_device(o.device); });
  const models::ModelFiles files = read_input([&] { return open_layers(o); });
  const models::Config& c = files.config;
  check(o, c);
  const Measured found = measure_passes(o, files, device);
  double best = 0;
  for (const ProductRate& rate :
       product_rates(c, o.micro_batch * o.tokens, o.micro_batch * o.supervised,
                     runner::parse_dtype(o.dtype), device))
    best = std::max(best, rate.gflops);
  const double tflop =
      useful_flops(c, o.tokens, o.supervised) * static_cast<double>(o.micro_batch) / 1e12;
  const double seconds = found.pass.wall[found.pass.wall.size() / 2],
               peak = roofline_tflops(device);
  return {{"bench", "forward"},
          {"family", c.family},
          {"n_layers", c.n_layers},
          {"d_model", c.d_model},
          {"device", o.device},
          {"instructions", device.is_cpu() ? models::cpu_kernels<float>().name : ""},
          {"dtype", o.dtype},
          {"threads", o.threads},
          {"tokens", o.tokens},
          {"supervised", o.supervised},
          {"micro_batch", o.micro_batch},
          {"checkpointing", o.checkpointing},
          {"load_s", found.load_s},
          {"pass_s", seconds},
          {"pass_seconds", found.pass.wall},
          {"pass_cpu_seconds", found.pass.cpu},
          {"forward_s", found.forward.wall[found.forward.wall.size() / 2]},
          {"rss_peak_loading_bytes", found.load_peak_bytes},
          {"rss_loaded_bytes", found.loaded_bytes},
          {"rss_peak_bytes", found.peak_bytes},
          {"device_peak_bytes", device.is_cpu() ? nullptr : ordered_json(found.device_bytes)},
          {"useful_tflop_per_pass", tflop},
          {"useful_gflops", 1000 * tflop / seconds},
          {"best_product_gflops", best},
          {"percent_of_best_product", 100 * 1000 * tflop / seconds / best},
          {"percent_of_roofline", peak > 0 ? ordered_json(100 * tflop / seconds / peak) : nullptr},
          {"score", found.score},
          {"largest_gradient", found.largest_gradient}};
}

}  // namespace

int bench_forward(const std::vector<std::string>& args) {
  Options o;
  CLI::App app("Seconds and memory of a checkpoint's forward + backward pass",
               "headcount-runner bench forward");
  app.add_option("--model", o.model, "a model directory, or builtin:NAME")->required();
  app.add_option("--tokens", o.tokens, "positions of a sequence")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--supervised", o.supervised, "of them supervised, the last")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--dtype", o.dtype)
      ->check(CLI::IsMember({"float32", "bfloat16", "float16", "float64"}))
      ->capture_default_str();
  app.add_option("--layers", o.layers, "only the first layers")->check(CLI::Range(1, 1 << 16));
  app.add_option("--micro-batch", o.micro_batch, "sequences in a pass")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--repeats", o.repeats, "timed passes; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--threads", o.threads, "CPU threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--device", o.device, "cpu or cuda:N")->capture_default_str();
  app.add_flag("--checkpointing", o.checkpointing, "layers computed again on the way back");
  std::vector<std::string> reversed(args.rbegin(), args.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  std::printf("%s\n", report(o).dump().c_str());
  return 0;
}

}  // namespace headcount
