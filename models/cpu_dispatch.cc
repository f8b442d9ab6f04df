// Part of models/cpu_kernels.h.
// Which compiled copy of the loops this machine runs. HEADCOUNT_CPU=baseline|avx2|avx512 asks for a
// lesser one (tests, comparisons).
#include <cstdlib>
#include <cstring>

#include "models/cpu_kernels.h"

namespace headcount::models {

#define HEADCOUNT_TABLES(arch)             \
  namespace arch {                         \
  extern const CpuKernels<float> kFloat;   \
  extern const CpuKernels<double> kDouble; \
  extern const CpuKernels<Bf16> kBf16;     \
  }
HEADCOUNT_TABLES(baseline)
#ifdef HEADCOUNT_X86_KERNELS
HEADCOUNT_TABLES(avx2)
HEADCOUNT_TABLES(avx512)
#endif
#undef HEADCOUNT_TABLES

namespace {

/// 0: baseline, 1: AVX2, 2: AVX-512.
int level() {
#ifdef HEADCOUNT_X86_KERNELS
  const char* const asked = std::getenv("HEADCOUNT_CPU");
  const auto allowed = [&](const char* not_above) {
    return asked == nullptr || std::strcmp(asked, not_above) != 0;
  };
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && allowed("avx2") && allowed("baseline")) return 2;
  if (avx2 && allowed("baseline")) return 1;
#endif
  return 0;
}

template <class T>
const CpuKernels<T>& choose(const CpuKernels<T>& first, const CpuKernels<T>& second,
                            const CpuKernels<T>& third) {
  static const int chosen = level();
  return chosen == 2 ? third : chosen == 1 ? second : first;
}

}  // namespace

#ifdef HEADCOUNT_X86_KERNELS
#define HEADCOUNT_CHOOSE(table) choose(baseline::table, avx2::table, avx512::table)
#else
#define HEADCOUNT_CHOOSE(table) choose(baseline::table, baseline::table, baseline::table)
#endif

template <>
const CpuKernels<float>& cpu_kernels<float>() {
  return HEADCOUNT_CHOOSE(kFloat);
}
template <>
const CpuKernels<double>& cpu_kernels<double>() {
  return HEADCOUNT_CHOOSE(kDouble);
}
template <>
const CpuKernels<Bf16>& cpu_kernels<Bf16>() {
  return HEADCOUNT_CHOOSE(kBf16);
}

}  // namespace headcount::models
