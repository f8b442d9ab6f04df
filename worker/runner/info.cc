// Part of worker/runner/commands.h.
// `info`: what this machine holds.
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "models/cpu_kernels.h"
#include "schemas/version.h"
#include "worker/runner/commands.h"
#include "worker/runner/inputs.h"
#include "worker/runner/tag.h"

namespace headcount::runner {
namespace {

using nlohmann::ordered_json;

/// GFLOP/s of float32 products of 512 x 512 matrices: the best of five.
double product_speed() {
  constexpr int64_t kSize = 512;
  const at::Tensor a = at::ones({kSize, kSize});
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const at::Tensor product = at::mm(a, a);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds.count() / 1e9);
  }
  return best;
}

}  // namespace

int info(const InfoOptions& options) {
  make_deterministic(options.compute.threads);
  const CpuNumerics cpu = cpu_numerics();
  const CudaInfo cuda = cuda_info();
  const double speed = product_speed();
  std::vector<std::string> warnings, devices, tags;
  if (cpu.blas == "reference")
    warnings.push_back(
        "LibTorch's matrix products run on reference BLAS, some fifty times slower than OpenBLAS: "
        "install libopenblas0-openmp");
  for (size_t i = 0; i < cuda.devices.size(); ++i) devices.push_back(cuda.devices[i].name);
  const bool usable = [] {
    try {
      parse_device("cuda:0");
      return true;
    } catch (const Error&) {
      return false;
    }
  }();
  if (!devices.empty() && !usable)
    warnings.push_back(
        "this machine has a CUDA device, but the LibTorch of this runner cannot use it: build "
        "against a CUDA LibTorch");
  if (usable) {
    for (size_t i = 0; i < devices.size(); ++i)
      tags.push_back(numerics_tag(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(i)),
                                  options.compute.threads));
  }
  const ordered_json out{{"version", kVersion},
                         {"libtorch", cpu.libtorch},
                         {"blas", cpu.blas},
                         {"blas_kernels", cpu.blas_kernels},
                         {"onednn", cpu.onednn},
                         {"onednn_kernels", cpu.onednn_kernels},
                         {"aten_kernels", cpu.aten_kernels},
                         {"headcount_kernels", models::cpu_kernels<float>().name},
                         {"float32_gflops", speed},
                         {"tag_cpu", numerics_tag(c10::Device(c10::kCPU), options.compute.threads)},
                         {"cuda", devices},
                         {"cuda_driver", cuda.driver},
                         {"cuda_runtime", cuda.runtime},
                         {"tags_cuda", tags},
                         {"warnings", warnings}};
  if (options.format == "json") {
    std::printf("%s\n", out.dump().c_str());
    return 0;
  }
  for (const auto& [key, value] : out.items()) {
    if (!value.is_array())
      std::printf("%-18s %s\n", key.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  }
  for (const std::string& name : devices) std::printf("%-18s %s\n", "device", name.c_str());
  for (const std::string& warning : warnings) std::printf("warning: %s\n", warning.c_str());
  return 0;
}

}  // namespace headcount::runner
