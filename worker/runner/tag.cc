// Asks OpenBLAS, oneDNN and ATen which kernels they run, through symbols looked up at run time:
// none of them need be there.
#include "worker/runner/tag.h"

#include <ATen/Version.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <cctype>
#include <fstream>

#include "models/cpu_kernels.h"
#include "models/fused_attention.h"
#include "worker/runner/device.h"

namespace headcount::runner {
namespace {

template <class Function>
Function* loaded(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

/// The word behind `label` in `text`.
std::string word_after(const std::string& text, const std::string& label) {
  const size_t at = text.find(label);
  if (at == std::string::npos) return {};
  const size_t begin = text.find_first_not_of(" \t", at + label.size());
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_first_of(" \t\n,", begin) - begin);
}

void read_cpuinfo(CpuNumerics& cpu) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string value = line.substr(colon + 2);
    const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    if (key == "vendor_id") cpu.vendor = value;
    if (key == "cpu family") cpu.family = std::atoi(value.c_str());
    if (key == "model") cpu.model = std::atoi(value.c_str());
    if (key == "stepping") cpu.stepping = std::atoi(value.c_str());
  }
}

/// dnnl_cpu_isa_t is a set of bits; the values below mean the same in every oneDNN 2 and 3, others
/// stay numbers.
std::string onednn_isa(int isa) {
  switch (isa) {
    case 0x1:
      return "sse41";
    case 0x3:
      return "avx";
    case 0x7:
      return "avx2";
    case 0x27:
      return "avx512_core";
    case 0x67:
      return "avx512_core_vnni";
    case 0xe7:
      return "avx512_core_bf16";
    default:
      return "isa" + std::to_string(isa);
  }
}

std::string clean(std::string text) {
  for (char& c : text) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-' && c != '_') c = '_';
  }
  return text;
}

std::string libtorch_version() {
  const std::string version = TORCH_VERSION;
  return version.substr(0, version.find('+'));
}

/// Where HEADCOUNT_FUSED_ATTENTION asks for what is not usual on the device.
std::string unusual_attention(const c10::Device& device) {
  const bool usual = models::has_fused_attention() && !device.is_cpu();
  const bool fused = models::fuses_attention(device);
  return fused == usual ? "" : fused ? "-fused" : "-plain";
}

}  // namespace

CpuNumerics cpu_numerics() {
  CpuNumerics cpu;
  read_cpuinfo(cpu);
  const std::string config = at::show_config();
  cpu.libtorch = libtorch_version();
  cpu.aten_kernels = word_after(config, "CPU capability usage:");
  if (const auto openblas = loaded<char*()>("openblas_get_config")) {
    cpu.blas = "openblas" + word_after(openblas(), "OpenBLAS");
    if (const auto core = loaded<char*()>("openblas_get_corename")) cpu.blas_kernels = core();
  } else if (at::hasMKL()) {
    cpu.blas = "mkl" + word_after(config, "Library Version");
  } else {
    cpu.blas = "reference";
  }
  if (at::hasMKLDNN()) {
    cpu.onednn = word_after(config, "MKL-DNN v");
    if (const auto isa = loaded<int()>("dnnl_get_effective_cpu_isa"))
      cpu.onednn_kernels = onednn_isa(isa());
  }
  return cpu;
}

std::string numerics_tag(const c10::Device& device, int threads) {
  if (device.is_cuda()) {
    const CudaInfo cuda = cuda_info();
    const auto index = static_cast<size_t>(device.index());
    const CudaDevice gpu =
        index < cuda.devices.size() ? cuda.devices[index] : CudaDevice{"unknown", ""};
    return clean("cuda-" + gpu.name + "-sm" + gpu.capability + "-libtorch" + libtorch_version() +
                 "-cuda" + cuda.runtime + "-cublas" + cuda.cublas + "-driver" + cuda.driver +
                 unusual_attention(device));
  }
  const CpuNumerics cpu = cpu_numerics();
  std::string tag = "cpu-" + cpu.vendor + "-" + std::to_string(cpu.family) + "." +
                    std::to_string(cpu.model) + "." + std::to_string(cpu.stepping);
  if (!cpu.blas_kernels.empty()) tag += "-openblas." + cpu.blas_kernels;
  if (!cpu.onednn_kernels.empty()) tag += "-onednn." + cpu.onednn_kernels;
  tag += "-aten." + cpu.aten_kernels + "-own." + models::cpu_kernels<float>().name + "-t" +
         std::to_string(threads) + "-libtorch" + cpu.libtorch + "-" + cpu.blas;
  if (!cpu.onednn.empty()) tag += "-onednn" + cpu.onednn;
  return clean(tag + unusual_attention(device));
}

}  // namespace headcount::runner
