// The row-wise loops of cpu_kernels.h and the table of all: plain loops the compiler vectorises
// (`omp simd` lets it reorder sums). Compiled once per instruction set into namespace
// HEADCOUNT_ARCH; includes nothing whose inline functions other files share, or the linker could
// pick the AVX-512 copy for everyone.
#include "models/cpu_kernels.h"

#include "models/cpu_activations.h"
#include "models/cpu_attention.h"
#include "models/cpu_math.h"

namespace headcount::models::HEADCOUNT_ARCH {
namespace {

template <class T, bool kCenters>
void norm(const T* x, const T* delta, const T* weight, const T* bias, double eps, int64_t rows,
          int64_t d, T* sum, T* normed, Wide<T>* inverse, Wide<T>* mean) {
  using A = Wide<T>;
  for (int64_t r = 0; r < rows; ++r, x += d, normed += d) {
    const T* in = x;
    if (delta != nullptr) {
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) put(sum[i], get(x[i]) + get(delta[i]));
      in = sum;
      delta += d;
      sum += d;
    }
    A center = 0;
    if constexpr (kCenters) {
#pragma omp simd reduction(+ : center)
      for (int64_t i = 0; i < d; ++i) center += get(in[i]);
      center /= static_cast<A>(d);
      mean[r] = center;
    }
    const auto centered = [center](T value) {
      if constexpr (kCenters) return get(value) - center;
      return get(value);
    };
    A squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < d; ++i) squares += centered(in[i]) * centered(in[i]);
    const A scale =
        A(1) / static_cast<A>(sqrt(static_cast<double>(squares) / static_cast<double>(d) + eps));
    inverse[r] = scale;
    if (bias == nullptr) {
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) {
        T unit;
        put(unit, centered(in[i]) * scale);
        put(normed[i], get(unit) * get(weight[i]));
      }
    } else {
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) {
        T unit;
        put(unit, centered(in[i]) * scale);
        put(normed[i], get(unit) * get(weight[i]) + get(bias[i]));
      }
    }
  }
}

template <class T>
void rms_norm_backward(const T* d_normed, const T* x, const T* weight, const Wide<T>* inverse,
                       const Wide<T>*, int64_t rows, int64_t d, T* d_x) {
  using A = Wide<T>;
  for (int64_t r = 0; r < rows; ++r, d_normed += d, x += d, d_x += d) {
    A along = 0;  // <d_normed * weight, x>
#pragma omp simd reduction(+ : along)
    for (int64_t i = 0; i < d; ++i) along += get(d_normed[i]) * get(weight[i]) * get(x[i]);
    const A scale = inverse[r];
    const A pull = along * scale * scale * scale / static_cast<A>(d);
#pragma omp simd
    for (int64_t i = 0; i < d; ++i)
      put(d_x[i], get(d_x[i]) + get(d_normed[i]) * get(weight[i]) * scale - get(x[i]) * pull);
  }
}

template <class T>
void layer_norm_backward(const T* d_normed, const T* x, const T* weight, const Wide<T>* inverse,
                         const Wide<T>* mean, int64_t rows, int64_t d, T* d_x) {
  using A = Wide<T>;
  for (int64_t r = 0; r < rows; ++r, d_normed += d, x += d, d_x += d) {
    const A scale = inverse[r], center = mean[r];
    A along = 0, total = 0;  // of d_normed * weight: with the unit vector, and alone
#pragma omp simd reduction(+ : along, total)
    for (int64_t i = 0; i < d; ++i) {
      const A pulled = get(d_normed[i]) * get(weight[i]);
      along += pulled * (get(x[i]) - center);
      total += pulled;
    }
    const A pull = along * scale * scale / static_cast<A>(d), level = total / static_cast<A>(d);
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      const A pulled = get(d_normed[i]) * get(weight[i]);
      put(d_x[i], get(d_x[i]) + scale * (pulled - level - (get(x[i]) - center) * pull));
    }
  }
}

template <class T, class F>
void gated_mlp(const T* in, int64_t rows, int64_t d, T* out) {
  for (int64_t r = 0; r < rows; ++r, in += 2 * d, out += d) {
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) put(out[i], F::value(get(in[i])) * get(in[d + i]));
  }
}

template <class T, class F>
void gated_mlp_backward(const T* d_out, const T* in, int64_t rows, int64_t d, T* d_in) {
  using A = Wide<T>;
  for (int64_t r = 0; r < rows; ++r, d_out += d, in += 2 * d, d_in += 2 * d) {
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      const A x = get(in[i]), up = get(in[d + i]), grad = get(d_out[i]);
      put(d_in[i], F::times_slope(grad * up, x));
      put(d_in[d + i], F::times_value(grad, x));
    }
  }
}

template <class T, class F>
void plain_mlp(const T* in, int64_t rows, int64_t d, T* out) {
#pragma omp simd
  for (int64_t i = 0; i < rows * d; ++i) put(out[i], F::value(get(in[i])));
}

template <class T, class F>
void plain_mlp_backward(const T* d_out, const T* in, int64_t rows, int64_t d, T* d_in) {
#pragma omp simd
  for (int64_t i = 0; i < rows * d; ++i) put(d_in[i], F::times_slope(get(d_out[i]), get(in[i])));
}

template <class T, class F>
constexpr MlpKernels<T> make_mlp() {
  return {.gated = gated_mlp<T, F>,
          .gated_backward = gated_mlp_backward<T, F>,
          .plain = plain_mlp<T, F>,
          .plain_backward = plain_mlp_backward<T, F>};
}

template <class T>
void cross_entropy(const Wide<T>* logits, const int64_t* target, const double* weight, int64_t rows,
                   int64_t n, double* log_prob, T* d_logits) {
  using A = Wide<T>;
  for (int64_t r = 0; r < rows; ++r, logits += n) {
    A top = logits[0];
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; ++i) top = logits[i] > top ? logits[i] : top;
    // Of a confident prediction -log p and 1 - p are about the sum of all others: added to 1 in
    // float32 it would keep two digits.
    const int64_t own = target[r];
    const double others =
        exponentials(logits, own, top) + exponentials(logits + own + 1, n - own - 1, top);
    const double gap = static_cast<double>(logits[own]) - static_cast<double>(top);
    log_prob[r] = gap - log1p(others + expm1(gap));
    if (d_logits == nullptr) continue;
    const double share = weight[r] / (others + exp(gap));
    const A scale = static_cast<A>(share);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) put(d_logits[i], -scale * exponential(logits[i] - top));
    put(d_logits[own], static_cast<A>(share * others));
    d_logits += n;
  }
}

template <class T>
void gate_dot(const T* d_gated, const T* z, int64_t rows, int64_t heads, int64_t d_head,
              double* d_gate) {
  using A = Wide<T>;
  for (int64_t h = 0; h < heads; ++h) d_gate[h] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < heads; ++h, d_gated += d_head, z += d_head) {
      A dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t i = 0; i < d_head; ++i) dot += get(d_gated[i]) * get(z[i]);
      d_gate[h] += static_cast<double>(dot);
    }
  }
}

template <class T>
void add_rows(const T* from, const int64_t* row, int64_t rows, int64_t d, T* to) {
  for (int64_t r = 0; r < rows; ++r, from += d) {
    T* const at = to + row[r] * d;
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) put(at[i], get(at[i]) + get(from[i]));
  }
}

template <class T>
constexpr CpuKernels<T> make_table() {
  return {.name = HEADCOUNT_ARCH_NAME,
          .norm = {norm<T, false>, norm<T, true>},
          .norm_backward = {rms_norm_backward<T>, layer_norm_backward<T>},
          .mlp = {make_mlp<T, Silu>(), make_mlp<T, Gelu>(), make_mlp<T, GeluTanh>(),
                  make_mlp<T, Relu>(), make_mlp<T, ReluSquared>()},
          .cross_entropy = cross_entropy<T>,
          .add_rows = add_rows<T>,
          .attention = attention<T>,
          .attention_backward = attention_backward<T>,
          .gate_dot = gate_dot<T>,
          .attention_scratch = Scratch<Wide<T>>::size};
}

}  // namespace

extern constexpr CpuKernels<float> kFloat = make_table<float>();
extern constexpr CpuKernels<double> kDouble = make_table<double>();
extern constexpr CpuKernels<Bf16> kBf16 = make_table<Bf16>();

}  // namespace headcount::models::HEADCOUNT_ARCH
