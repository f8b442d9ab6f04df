// The loops of cpu_kernels.h. Plain loops the compiler vectorises (`omp simd` lets it reorder
// sums), and one small register-blocked matrix product for attention. Compiled once per instruction
// set into namespace HEADCOUNT_ARCH; includes nothing whose inline functions other files share, or
// the linker could pick the AVX-512 copy for everyone.
#include "models/cpu_kernels.h"

#include <math.h>
#include <string.h>

#include <initializer_list>

#ifndef HEADCOUNT_ARCH
#define HEADCOUNT_ARCH baseline
#define HEADCOUNT_ARCH_NAME "baseline"
#endif

namespace headcount::models::HEADCOUNT_ARCH {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kTileRows = 6, kTileVectors = 4;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kTileRows = 6, kTileVectors = 2;
#else
constexpr int kVectorBytes = 16, kTileRows = 4, kTileVectors = 2;
#endif
constexpr int64_t kQueryBlock =
    48;  // queries whose score rows are in cache together; a multiple of every kTileRows

inline float get(float x) { return x; }
inline double get(double x) { return x; }
inline float get(Bf16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16); }
inline void put(float& to, float x) { to = x; }
inline void put(double& to, double x) { to = x; }
/// Round to nearest even, as hardware does.
inline void put(Bf16& to, float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  to.bits = static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

inline double exponential(double x) { return exp(x); }
/// e^x within 2 ulp for x in [-87, 88] (clamped to it): 2^n times a polynomial on the rest
/// (coefficients: Cephes expf).
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  constexpr float kRounder =
      12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const float shifted = x * 1.44269504088896341f + kRounder;
  const float n = shifted - kRounder;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float mantissa = p * r * r + r + 1.0f;
  const uint32_t scale = (__builtin_bit_cast(uint32_t, shifted) + 127u) << 23;
  return mantissa * __builtin_bit_cast(float, scale);
}

template <class A>
struct Simd {
  typedef A Vector __attribute__((vector_size(kVectorBytes)));
  static constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(A));
};

template <class A>
constexpr int64_t padded(int64_t n) {
  return (n + Simd<A>::kLanes - 1) / Simd<A>::kLanes * Simd<A>::kLanes;
}

/// One register tile of c (+)= a b: `Rows` x (`Vectors` vectors), a(i, k) = a[i * a_row + k *
/// a_col].
template <class A, int Rows, int Vectors>
inline void tile(int64_t depth, const A* a, int64_t a_row, int64_t a_col, const A* b, int64_t b_row,
                 A* c, int64_t c_row, bool accumulate) {
  using V = typename Simd<A>::Vector;
  constexpr int64_t kLanes = Simd<A>::kLanes;
  V sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      if (accumulate) {
        memcpy(&sum[i][v], c + i * c_row + v * kLanes, sizeof(V));
      } else {
        sum[i][v] = V{};
      }
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    V row[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) memcpy(&row[v], b + k * b_row + v * kLanes, sizeof(V));
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const A scalar = a[i * a_row + k * a_col];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[i][v] += scalar * row[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) memcpy(c + i * c_row + v * kLanes, &sum[i][v], sizeof(V));
  }
}

template <class A>
struct Product {
  int64_t rows, columns, depth;  // columns: a multiple of the vector's lanes
  const A* a;
  int64_t a_row, a_col;
  const A* b;
  int64_t b_row;
  A* c;
  int64_t c_row;
  bool accumulate = false;
};

template <class A, int Vectors>
inline void column_strip(const Product<A>& p, int64_t column) {
  int64_t i = 0;
  for (; i + kTileRows <= p.rows; i += kTileRows) {
    tile<A, kTileRows, Vectors>(p.depth, p.a + i * p.a_row, p.a_row, p.a_col, p.b + column, p.b_row,
                                p.c + i * p.c_row + column, p.c_row, p.accumulate);
  }
  for (; i + 2 <= p.rows; i += 2) {
    tile<A, 2, Vectors>(p.depth, p.a + i * p.a_row, p.a_row, p.a_col, p.b + column, p.b_row,
                        p.c + i * p.c_row + column, p.c_row, p.accumulate);
  }
  if (i < p.rows) {
    tile<A, 1, Vectors>(p.depth, p.a + i * p.a_row, p.a_row, p.a_col, p.b + column, p.b_row,
                        p.c + i * p.c_row + column, p.c_row, p.accumulate);
  }
}

/// c (+)= a b for matrices that fit a core's cache.
template <class A>
void multiply(const Product<A>& p) {
  constexpr int64_t kLanes = Simd<A>::kLanes;
  int64_t column = 0;
  for (; column + kTileVectors * kLanes <= p.columns; column += kTileVectors * kLanes)
    column_strip<A, kTileVectors>(p, column);
  for (; column + 2 * kLanes <= p.columns && kTileVectors > 2; column += 2 * kLanes)
    column_strip<A, 2>(p, column);
  for (; column < p.columns; column += kLanes) column_strip<A, 1>(p, column);
}

template <class T>
void rms_norm(const T* x, const T* delta, const T* weight, double eps, int64_t rows, int64_t d,
              T* sum, T* normed, Wide<T>* inverse) {
  using A = Wide<T>;
  for (int64_t r = 0; r < rows; ++r, x += d, normed += d) {
    A squares = 0;
    const T* in = x;
    if (delta != nullptr) {
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) put(sum[i], get(x[i]) + get(delta[i]));
      in = sum;
      delta += d;
      sum += d;
    }
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < d; ++i) squares += get(in[i]) * get(in[i]);
    const A scale =
        A(1) / static_cast<A>(sqrt(static_cast<double>(squares) / static_cast<double>(d) + eps));
    inverse[r] = scale;
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      T unit;
      put(unit, get(in[i]) * scale);
      put(normed[i], get(unit) * get(weight[i]));
    }
  }
}

template <class T>
void rms_norm_backward(const T* d_normed, const T* x, const T* weight, const Wide<T>* inverse,
                       int64_t rows, int64_t d, T* d_x) {
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
void swiglu(const T* gate_up, int64_t rows, int64_t d, T* out) {
  using A = Wide<T>;
  for (int64_t r = 0; r < rows; ++r, gate_up += 2 * d, out += d) {
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      const A g = get(gate_up[i]);
      put(out[i], g / (A(1) + exponential(-g)) * get(gate_up[d + i]));
    }
  }
}

template <class T>
void swiglu_backward(const T* d_out, const T* gate_up, int64_t rows, int64_t d, T* d_gate_up) {
  using A = Wide<T>;
  for (int64_t r = 0; r < rows; ++r, d_out += d, gate_up += 2 * d, d_gate_up += 2 * d) {
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      const A g = get(gate_up[i]), up = get(gate_up[d + i]), grad = get(d_out[i]);
      const A sigmoid = A(1) / (A(1) + exponential(-g));
      put(d_gate_up[i], grad * up * sigmoid * (A(1) + g * (A(1) - sigmoid)));
      put(d_gate_up[d + i], grad * g * sigmoid);
    }
  }
}

template <class T>
void cross_entropy(const Wide<T>* logits, const int64_t* target, const double* weight, int64_t rows,
                   int64_t n, double* log_prob, T* d_logits) {
  using A = Wide<T>;
  for (int64_t r = 0; r < rows; ++r, logits += n) {
    A top = logits[0];
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; ++i) top = logits[i] > top ? logits[i] : top;
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += exponential(logits[i] - top);
    const A log_sum = top + static_cast<A>(log(static_cast<double>(sum)));
    const A chosen = logits[target[r]] - log_sum;
    log_prob[r] = static_cast<double>(chosen);
    if (d_logits == nullptr) continue;
    const A w = static_cast<A>(weight[r]), scale = w / sum;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) put(d_logits[i], -scale * exponential(logits[i] - top));
    put(d_logits[target[r]], -w * static_cast<A>(expm1(static_cast<double>(chosen))));
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

/// Turns one head's row by its position's angles (`sign` -1: back), times `scale`.
template <class T, class A>
inline void rotate_in(const T* from, int64_t d_head, bool interleaved, const A* cos_row,
                      const A* sin_row, A scale, A* to) {
  const int64_t half = d_head / 2;
  const int64_t step = interleaved ? 2 : 1, other = interleaved ? 1 : half;
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const A a = get(from[i * step]), b = get(from[i * step + other]);
    to[i * step] = (a * cos_row[i] - b * sin_row[i]) * scale;
    to[i * step + other] = (b * cos_row[i] + a * sin_row[i]) * scale;
  }
}

template <class T, class A>
inline void rotate_back(const A* from, int64_t d_head, bool interleaved, const A* cos_row,
                        const A* sin_row, A scale, T* to) {
  const int64_t half = d_head / 2;
  const int64_t step = interleaved ? 2 : 1, other = interleaved ? 1 : half;
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const A a = from[i * step], b = from[i * step + other];
    put(to[i * step], (a * cos_row[i] + b * sin_row[i]) * scale);
    put(to[i * step + other], (b * cos_row[i] - a * sin_row[i]) * scale);
  }
}

/// Pieces of one task's scratch. Rows of k, v, d_k, d_v and of the query block are d_wide apart,
/// columns of the transposed ones and of the score blocks n_wide apart; both are padded to whole
/// vectors.
template <class A>
struct Scratch {
  int64_t n_wide, d_wide;
  A *k, *k_t, *v, *v_t, *d_k, *d_v, *q, *out, *d_z, *scores, *d_scores;

  Scratch(A* at, int64_t n_keys, int64_t d_head)
      : n_wide(padded<A>(n_keys)), d_wide(padded<A>(d_head)) {
    const auto take = [&at](int64_t n) {
      A* const piece = at;
      at += n;
      return piece;
    };
    for (A** piece : {&k, &v, &d_k, &d_v}) *piece = take(n_wide * d_wide);
    for (A** piece : {&k_t, &v_t}) *piece = take(d_wide * n_wide);
    for (A** piece : {&q, &out, &d_z}) *piece = take(kQueryBlock * d_wide);
    for (A** piece : {&scores, &d_scores}) *piece = take(kQueryBlock * n_wide);
  }
  static int64_t size(int64_t n_keys, int64_t d_head) {
    const int64_t n = padded<A>(n_keys), d = padded<A>(d_head);
    return 6 * n * d + 3 * kQueryBlock * d + 2 * kQueryBlock * n;
  }
};

template <class A>
void transpose(const A* from, int64_t rows, int64_t columns, int64_t from_row, A* to,
               int64_t to_row) {
  for (int64_t i0 = 0; i0 < rows; i0 += 16) {
    const int64_t end = i0 + 16 < rows ? i0 + 16 : rows;
    for (int64_t j = 0; j < columns; ++j) {
      for (int64_t i = i0; i < end; ++i) to[j * to_row + i] = from[i * from_row + j];
    }
  }
}

/// Keys turned, values as they are, both also transposed where asked for.
template <class T>
void pack_keys_and_values(const AttentionTask<T>& t, const Scratch<Wide<T>>& s,
                          bool values_transposed) {
  using A = Wide<T>;
  const int64_t half = t.d_head / 2;
  memset(s.k, 0, sizeof(A) * static_cast<size_t>(s.n_wide * s.d_wide));
  memset(s.v, 0, sizeof(A) * static_cast<size_t>(s.n_wide * s.d_wide));
  for (int64_t j = 0; j < t.n_keys; ++j) {
    rotate_in(t.k + j * t.kv_stride, t.d_head, t.interleaved, t.cos + j * half, t.sin + j * half,
              A(1), s.k + j * s.d_wide);
    const T* const v = t.v + j * t.kv_stride;
#pragma omp simd
    for (int64_t i = 0; i < t.d_head; ++i) s.v[j * s.d_wide + i] = get(v[i]);
  }
  transpose(s.k, s.n_wide, t.d_head, s.d_wide, s.k_t, s.n_wide);
  if (values_transposed) transpose(s.v, s.n_wide, t.d_head, s.d_wide, s.v_t, s.n_wide);
}

/// Queries [begin, begin + n) of one head, turned and times 1/sqrt(d_head).
template <class T>
void pack_queries(const AttentionTask<T>& t, const Scratch<Wide<T>>& s, int64_t head, int64_t begin,
                  int64_t n) {
  using A = Wide<T>;
  const int64_t half = t.d_head / 2;
  const A scale = static_cast<A>(1.0 / sqrt(static_cast<double>(t.d_head)));
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = t.q_position[begin + i];
    A* const row = s.q + i * s.d_wide;
    rotate_in(t.q + (begin + i) * t.q_stride + head * t.d_head, t.d_head, t.interleaved,
              t.cos + at * half, t.sin + at * half, scale, row);
    for (int64_t d = t.d_head; d < s.d_wide; ++d) row[d] = 0;
  }
}

/// How many keys query i of the task may look at.
template <class T>
inline int64_t visible(const AttentionTask<T>& t, int64_t i) {
  if (!t.causal) return t.n_keys;
  const int64_t upto = t.q_position[i] + 1;
  return upto < t.n_keys ? upto : t.n_keys;
}

/// The most keys any query of the block may look at.
template <class T>
inline int64_t visible(const AttentionTask<T>& t, int64_t begin, int64_t n) {
  int64_t most = 0;
  for (int64_t i = begin; i < begin + n; ++i) most = visible(t, i) > most ? visible(t, i) : most;
  return most;
}

/// scores[i] = <q_i, k_j> for the block's queries and keys [0, keys).
template <class A>
void score_block(const Scratch<A>& s, int64_t n, int64_t keys, int64_t d_head) {
  multiply<A>({.rows = n,
               .columns = padded<A>(keys),
               .depth = d_head,
               .a = s.q,
               .a_row = s.d_wide,
               .a_col = 1,
               .b = s.k_t,
               .b_row = s.n_wide,
               .c = s.scores,
               .c_row = s.n_wide});
}

template <class T>
void attention(const AttentionTask<T>& t) {
  using A = Wide<T>;
  const Scratch<A> s(t.scratch, t.n_keys, t.d_head);
  pack_keys_and_values(t, s, false);
  for (int64_t head = 0; head < t.group; ++head) {
    const A gate = t.gate == nullptr ? A(1) : t.gate[head];
    for (int64_t begin = 0; begin < t.n_queries; begin += kQueryBlock) {
      const int64_t n = t.n_queries - begin < kQueryBlock ? t.n_queries - begin : kQueryBlock;
      const int64_t keys = visible(t, begin, n);
      pack_queries(t, s, head, begin, n);
      score_block(s, n, keys, t.d_head);
      A share[kQueryBlock];
      for (int64_t i = 0; i < n; ++i) {
        A* const row = s.scores + i * s.n_wide;
        const int64_t seen = visible(t, begin + i);
        A top = row[0];
#pragma omp simd reduction(max : top)
        for (int64_t j = 0; j < seen; ++j) top = row[j] > top ? row[j] : top;
        A sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < seen; ++j) {
          row[j] = exponential(row[j] - top);
          sum += row[j];
        }
        for (int64_t j = seen; j < keys; ++j) row[j] = 0;
        share[i] = A(1) / sum;
        t.log_sum[(begin + i) * t.log_sum_stride + head] =
            top + static_cast<A>(log(static_cast<double>(sum)));
      }
      multiply<A>({.rows = n,
                   .columns = s.d_wide,
                   .depth = keys,
                   .a = s.scores,
                   .a_row = s.n_wide,
                   .a_col = 1,
                   .b = s.v,
                   .b_row = s.d_wide,
                   .c = s.out,
                   .c_row = s.d_wide});
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = (begin + i) * t.z_stride + head * t.d_head;
        T *const z = t.z + at, *const gated = t.gated + at;
        const A* const out = s.out + i * s.d_wide;
#pragma omp simd
        for (int64_t d = 0; d < t.d_head; ++d) {
          const A value = out[d] * share[i];
          put(z[d], value);
          put(gated[d], value * gate);
        }
      }
    }
  }
}

/// d_z = gate * d_gated of the block's rows, and per row <d_z, z>; adds <d_gated, z> to the head's
/// d_gate.
template <class T>
void pack_d_z(const AttentionTask<T>& t, const Scratch<Wide<T>>& s, int64_t head, int64_t begin,
              int64_t n, Wide<T>* along) {
  using A = Wide<T>;
  const A gate = t.gate == nullptr ? A(1) : t.gate[head];
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = (begin + i) * t.z_stride + head * t.d_head;
    const T *const z = t.z + at, *const d_gated = t.d_gated + at;
    A* const row = s.d_z + i * s.d_wide;
    A dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t d = 0; d < t.d_head; ++d) {
      dot += get(d_gated[d]) * get(z[d]);
      row[d] = gate * get(d_gated[d]);
    }
    for (int64_t d = t.d_head; d < s.d_wide; ++d) row[d] = 0;
    along[i] = gate * dot;
    t.d_gate[head] += static_cast<double>(dot);
  }
}

/// scores becomes the pattern again, d_scores (holding d_pattern) the scores' derivative.
template <class T>
void softmax_backward(const AttentionTask<T>& t, const Scratch<Wide<T>>& s, int64_t head,
                      int64_t begin, int64_t n, int64_t keys, const Wide<T>* along) {
  using A = Wide<T>;
  for (int64_t i = 0; i < n; ++i) {
    A *const pattern = s.scores + i * s.n_wide, *const grad = s.d_scores + i * s.n_wide;
    const A log_sum = t.log_sum[(begin + i) * t.log_sum_stride + head], mean = along[i];
    const int64_t seen = visible(t, begin + i);
#pragma omp simd
    for (int64_t j = 0; j < seen; ++j) {
      pattern[j] = exponential(pattern[j] - log_sum);
      grad[j] = pattern[j] * (grad[j] - mean);
    }
    for (int64_t j = seen; j < keys; ++j) pattern[j] = grad[j] = 0;
  }
}

template <class T>
void attention_backward(const AttentionTask<T>& t) {
  using A = Wide<T>;
  const Scratch<A> s(t.scratch, t.n_keys, t.d_head);
  const int64_t half = t.d_head / 2;
  pack_keys_and_values(t, s, true);
  memset(s.d_k, 0, sizeof(A) * static_cast<size_t>(s.n_wide * s.d_wide));
  memset(s.d_v, 0, sizeof(A) * static_cast<size_t>(s.n_wide * s.d_wide));
  const A scale = static_cast<A>(1.0 / sqrt(static_cast<double>(t.d_head)));
  A along[kQueryBlock];
  for (int64_t head = 0; head < t.group; ++head) {
    t.d_gate[head] = 0;
    for (int64_t begin = 0; begin < t.n_queries; begin += kQueryBlock) {
      const int64_t n = t.n_queries - begin < kQueryBlock ? t.n_queries - begin : kQueryBlock;
      const int64_t keys = visible(t, begin, n);
      pack_queries(t, s, head, begin, n);
      pack_d_z(t, s, head, begin, n, along);
      score_block(s, n, keys, t.d_head);
      multiply<A>({.rows = n,
                   .columns = padded<A>(keys),
                   .depth = t.d_head,
                   .a = s.d_z,
                   .a_row = s.d_wide,
                   .a_col = 1,
                   .b = s.v_t,
                   .b_row = s.n_wide,
                   .c = s.d_scores,
                   .c_row = s.n_wide});
      softmax_backward(t, s, head, begin, n, keys, along);
      multiply<A>({.rows = n,
                   .columns = s.d_wide,
                   .depth = keys,
                   .a = s.d_scores,
                   .a_row = s.n_wide,
                   .a_col = 1,
                   .b = s.k,
                   .b_row = s.d_wide,
                   .c = s.out,
                   .c_row = s.d_wide});
      multiply<A>({.rows = keys,
                   .columns = s.d_wide,
                   .depth = n,
                   .a = s.d_scores,
                   .a_row = 1,
                   .a_col = s.n_wide,
                   .b = s.q,
                   .b_row = s.d_wide,
                   .c = s.d_k,
                   .c_row = s.d_wide,
                   .accumulate = true});
      multiply<A>({.rows = keys,
                   .columns = s.d_wide,
                   .depth = n,
                   .a = s.scores,
                   .a_row = 1,
                   .a_col = s.n_wide,
                   .b = s.d_z,
                   .b_row = s.d_wide,
                   .c = s.d_v,
                   .c_row = s.d_wide,
                   .accumulate = true});
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = t.q_position[begin + i];
        rotate_back(s.out + i * s.d_wide, t.d_head, t.interleaved, t.cos + at * half,
                    t.sin + at * half, scale, t.d_q + (begin + i) * t.d_q_stride + head * t.d_head);
      }
    }
  }
  for (int64_t j = 0; j < t.n_keys; ++j) {
    rotate_back(s.d_k + j * s.d_wide, t.d_head, t.interleaved, t.cos + j * half, t.sin + j * half,
                A(1), t.d_k + j * t.d_kv_stride);
    T* const d_v = t.d_v + j * t.d_kv_stride;
#pragma omp simd
    for (int64_t i = 0; i < t.d_head; ++i) put(d_v[i], s.d_v[j * s.d_wide + i]);
  }
}

template <class T>
constexpr CpuKernels<T> make_table() {
  return {.name = HEADCOUNT_ARCH_NAME,
          .rms_norm = rms_norm<T>,
          .rms_norm_backward = rms_norm_backward<T>,
          .swiglu = swiglu<T>,
          .swiglu_backward = swiglu_backward<T>,
          .cross_entropy = cross_entropy<T>,
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
