// Devices by name, and the switches that make LibTorch deterministic.
#include "worker/runner/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cluster/process/host_memory.h"
#include "schemas/error.h"

namespace headcount::runner {
namespace {

/// The function `name` of the libraries already loaded or of `library`; nullptr where there is
/// none.
template <class Function>
Function* function(const char* library, const char* name) {
  void* symbol = dlsym(RTLD_DEFAULT, name);
  if (!symbol) {
    if (void* handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL)) symbol = dlsym(handle, name);
  }
  return reinterpret_cast<Function*>(symbol);
}

/// CUDA packs versions as 1000 * major + 10 * minor.
std::string unpack(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string kernel_driver() {
  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue ...": the first word with two
  // dots or more.
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    if (word.find_first_not_of("0123456789.") == std::string::npos &&
        word.find('.') != std::string::npos)
      return word;
  }
  return {};
}

/// Switches that LibTorch 1 lacks.
void set_newer_switches(auto& context) {
  if constexpr (requires { context.setAllowBF16ReductionCuBLAS(false); })
    context.setAllowBF16ReductionCuBLAS(false);
  // Deterministic mode would write NaN into every fresh buffer: as much again as the passes write.
  if constexpr (requires { context.setDeterministicFillUninitializedMemory(false); })
    context.setDeterministicFillUninitializedMemory(false);
}

}  // namespace

c10::Device parse_device(const std::string& name) {
  if (name == "cpu") return {c10::kCPU};
  int64_t index = -1;
  if (name.starts_with("cuda:") && name.size() > 5 && name.size() < 9 &&
      name.find_first_not_of("0123456789", 5) == std::string::npos)
    index = std::stoll(name.substr(5));
  if (index < 0) throw Error("unknown device \"" + name + "\": write cpu or cuda:N");
  if (!at::hasCUDA())
    throw Error("device " + name + ": the LibTorch of this runner has no CUDA, or finds no driver");
  const auto count = static_cast<int64_t>(at::getNumGPUs());
  if (index >= count)
    throw Error("device " + name + ": this machine shows " + std::to_string(count) +
                " CUDA device(s); see CUDA_VISIBLE_DEVICES");
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

c10::ScalarType parse_dtype(const std::string& name) {
  if (name == "float64") return c10::kDouble;
  if (name == "float32") return c10::kFloat;
  if (name == "bfloat16") return c10::kBFloat16;
  if (name == "float16") return c10::kHalf;
  throw Error("unknown dtype \"" + name + "\": write float64, float32, bfloat16 or float16");
}

void make_deterministic(int threads) {
  // cuBLAS reads it when its first handle is made; 8 buffers of 4 MiB is one of the two settings it
  // calls deterministic.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 1);
  at::set_num_threads(threads);
  if (at::get_num_interop_threads() != 1) at::set_num_interop_threads(1);  // may be set once only
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(true, false);
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setAllowFP16ReductionCuBLAS(false);
  set_newer_switches(context);
}

uint64_t nominal_memory(c10::Device device) {
  if (device.is_cpu()) return process::host_memory_bytes();
  constexpr const char* kDriver = "libcuda.so.1";
  const auto init = function<int(unsigned)>(kDriver, "cuInit");
  const auto total = function<int(size_t*, int)>(kDriver, "cuDeviceTotalMem_v2");
  size_t bytes = 0;
  if (!init || !total || init(0) != 0 || total(&bytes, device.index()) != 0) return 0;
  return bytes;
}

uint64_t used_memory(c10::Device device) {
  if (device.is_cpu()) return 0;
  const c10::DeviceGuard current(device);
  const auto ask = function<int(size_t*, size_t*)>("libcudart.so", "cudaMemGetInfo");
  size_t free = 0, total = 0;
  return ask && ask(&free, &total) == 0 ? total - free : 0;
}

bool nearly_full(c10::Device device) {
  try {
    const uint64_t used = used_memory(device);
    return used > 0 && used >= nominal_memory(device) / 10 * 9;
  } catch (const std::exception&) {  // a device in a broken state answers nothing
    return false;
  }
}

CudaInfo cuda_info() {
  CudaInfo info;
  constexpr const char* kDriver = "libcuda.so.1";
  using Get = int(int*);
  const auto init = function<int(unsigned)>(kDriver, "cuInit");
  const auto count_of = function<Get>(kDriver, "cuDeviceGetCount");
  const auto name_of = function<int(char*, int, int)>(kDriver, "cuDeviceGetName");
  const auto attribute_of = function<int(int*, int, int)>(kDriver, "cuDeviceGetAttribute");
  int count = 0;
  if (!init || !count_of || !name_of || !attribute_of || init(0) != 0 || count_of(&count) != 0)
    return info;
  for (int device = 0; device < count; ++device) {
    char name[256] = "";
    int major = 0, minor = 0;
    name_of(name, sizeof name, device);
    attribute_of(&major, 75, device);  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    attribute_of(&minor, 76, device);  // ..._MINOR
    info.devices.push_back({name, std::to_string(major) + "." + std::to_string(minor)});
  }
  info.driver = kernel_driver();
  int version = 0;
  if (const auto get = function<Get>("libcudart.so", "cudaRuntimeGetVersion");
      get && get(&version) == 0)
    info.runtime = unpack(version);
  if (const auto get = function<int(int, int*)>("libcublas.so", "cublasGetProperty")) {
    int part[3] = {};
    for (int i = 0; i < 3; ++i) get(i, &part[i]);  // MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL
    info.cublas =
        std::to_string(part[0]) + "." + std::to_string(part[1]) + "." + std::to_string(part[2]);
  }
  return info;
}

}  // namespace headcount::runner
