// The numerics tag: what changes last bits without changing the question (ARCHITECTURE.md, glossary).
// Results count together only under one tag; host name, memory and clock are not in it.
#pragma once

#include <c10/core/Device.h>

#include <string>

namespace headcount::runner {

/// Who computes on this CPU, as the libraries themselves report it.
struct CpuNumerics {
  std::string vendor;  // "AuthenticAMD"
  int family = 0, model = 0, stepping = 0;
  std::string blas;            // "openblas0.3.21" | "mkl2024.2" | "reference"
  std::string blas_kernels;    // what OpenBLAS chose: "SkylakeX"; empty where unknown
  std::string onednn;          // "2.7.3"; empty: LibTorch has none
  std::string onednn_kernels;  // the instruction set oneDNN chose: "avx512_core_bf16"
  std::string aten_kernels;    // "AVX512"
  std::string libtorch;        // "1.13.1"
};
CpuNumerics cpu_numerics();

/// Parts joined by '-', of letters, digits, '.', '_' and '-' only. A CPU: vendor,
/// family.model.stepping, the kernels that OpenBLAS, oneDNN, ATen and our own loops chose, threads,
/// versions:
/// cpu-AuthenticAMD-25.17.1-openblas.Cooperlake-onednn.avx512_core_bf16-aten.AVX2-own.avx512-t1-
/// libtorch1.13.0-openblas0.3.21-onednn2.6.3. CUDA: device, capability, versions:
/// cuda-NVIDIA_H200-sm9.0-libtorch2.4.0-cuda12.4-cublas12.4.5-driver550.54.15. Attention that is
/// fused where it usually is not (models/fused_attention.h), or not where it is, ends it.
std::string numerics_tag(const c10::Device& device, int threads);

}  // namespace headcount::runner
