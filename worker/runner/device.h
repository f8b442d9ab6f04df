// Where a runner computes: one CPU with so many threads, or one CUDA device; set up so that equal
// arguments give equal bits. The only file that knows how devices are named and asked.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

namespace headcount::runner {

/// "cpu" or "cuda:N". Throws Error for anything else, and for a device this machine or this
/// LibTorch does not have.
c10::Device parse_device(const std::string& name);

/// float64 | float32 | bfloat16 | float16; throws Error for any other name.
c10::ScalarType parse_dtype(const std::string& name);

/// Deterministic algorithms only, no TF32, no sums in 16 bits, `threads` threads inside an
/// operation and one between operations, the cuBLAS workspace fixed. Once, before the first tensor.
void make_deterministic(int threads);

/// Bytes of memory the device has, nominal: the machine's (or its control group's) for the CPU. 0:
/// nobody says.
uint64_t nominal_memory(c10::Device device);

/// Bytes of the device in use by anyone, LibTorch's cache included; 0 for the CPU.
uint64_t used_memory(c10::Device device);

/// Nine tenths of its memory in use, LibTorch's cache included; never the CPU. Never throws.
bool nearly_full(c10::Device device);

/// What CUDA's own libraries say, asked at run time so that no CUDA header is needed; empty where
/// there is none.
struct CudaDevice {
  std::string name;        // "NVIDIA H200"
  std::string capability;  // "9.0"
};
struct CudaInfo {
  std::string driver;   // of the kernel module: "550.54.15"
  std::string runtime;  // "12.4"
  std::string cublas;   // "12.4.5"
  std::vector<CudaDevice> devices;
};
CudaInfo cuda_info();

}  // namespace headcount::runner
