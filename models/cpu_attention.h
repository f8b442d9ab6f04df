// Attention of one sequence and key/value head, forward and backward, a block of queries at a time:
// scores and pattern never leave the cache and are computed again on the way back (Dao et al.
// 2022). Included by cpu_kernels.cc alone.
#pragma once

#include "models/cpu_math.h"

namespace headcount::models::HEADCOUNT_ARCH {
namespace {

constexpr int64_t kQueryBlock =
    48;  // queries whose score rows are in cache together; a multiple of every kTileRows

/// Turns one head's row by its position's angles (`sign` -1: back), times `scale`: its first
/// n_turning elements; the others are only scaled.
template <class T, class A>
inline void rotate_in(const AttentionTask<T>& t, const T* from, const A* cos_row, const A* sin_row,
                      A scale, A* to) {
  const int64_t half = t.n_turning / 2;
  const int64_t step = t.interleaved ? 2 : 1, other = t.interleaved ? 1 : half;
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const A a = get(from[i * step]), b = get(from[i * step + other]);
    to[i * step] = (a * cos_row[i] - b * sin_row[i]) * scale;
    to[i * step + other] = (b * cos_row[i] + a * sin_row[i]) * scale;
  }
  for (int64_t i = t.n_turning; i < t.d_head; ++i) to[i] = get(from[i]) * scale;
}

template <class T, class A>
inline void rotate_back(const AttentionTask<T>& t, const A* from, const A* cos_row,
                        const A* sin_row, A scale, T* to) {
  const int64_t half = t.n_turning / 2;
  const int64_t step = t.interleaved ? 2 : 1, other = t.interleaved ? 1 : half;
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const A a = from[i * step], b = from[i * step + other];
    put(to[i * step], (a * cos_row[i] + b * sin_row[i]) * scale);
    put(to[i * step + other], (b * cos_row[i] - a * sin_row[i]) * scale);
  }
  for (int64_t i = t.n_turning; i < t.d_head; ++i) put(to[i], from[i] * scale);
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

/// Keys turned, values as they are, both also transposed where asked for. Padding stays as it is:
/// products carry it along in columns nobody reads.
template <class T>
void pack_keys_and_values(const AttentionTask<T>& t, const Scratch<Wide<T>>& s,
                          bool values_transposed) {
  using A = Wide<T>;
  const int64_t half = t.n_turning / 2;
  for (int64_t j = 0; j < t.n_keys; ++j) {
    rotate_in(t, t.k + j * t.k_stride, t.cos + j * half, t.sin + j * half, A(1),
              s.k + j * s.d_wide);
    const T* const v = t.v + j * t.v_stride;
#pragma omp simd
    for (int64_t i = 0; i < t.d_head; ++i) s.v[j * s.d_wide + i] = get(v[i]);
  }
  transpose(s.k, t.n_keys, t.d_head, s.d_wide, s.k_t, s.n_wide);
  if (values_transposed) transpose(s.v, t.n_keys, t.d_head, s.d_wide, s.v_t, s.n_wide);
}

/// Queries [begin, begin + n) of one head, turned and times 1/sqrt(d_head).
template <class T>
void pack_queries(const AttentionTask<T>& t, const Scratch<Wide<T>>& s, int64_t head, int64_t begin,
                  int64_t n) {
  using A = Wide<T>;
  const int64_t half = t.n_turning / 2;
  const A scale = static_cast<A>(1.0 / sqrt(static_cast<double>(t.d_head)));
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = t.q_position[begin + i];
    A* const row = s.q + i * s.d_wide;
    rotate_in(t, t.q + (begin + i) * t.q_stride + head * t.d_head, t.cos + at * half,
              t.sin + at * half, scale, row);
  }
}

/// How many keys query i of the task may look at.
template <class T>
inline int64_t visible(const AttentionTask<T>& t, int64_t i) {
  if (!t.causal) return t.n_keys;
  const int64_t upto = t.q_position[i] + 1;
  return upto < t.n_keys ? upto : t.n_keys;
}

/// The first key query i of the task may look at.
template <class T>
inline int64_t first_visible(const AttentionTask<T>& t, int64_t i) {
  const int64_t before = t.q_position[i] + 1 - t.window;
  return t.window > 0 && before > 0 ? before : 0;
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
        const int64_t first = first_visible(t, begin + i), seen = visible(t, begin + i);
        A top = row[first];
#pragma omp simd reduction(max : top)
        for (int64_t j = first; j < seen; ++j) top = row[j] > top ? row[j] : top;
        A sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = first; j < seen; ++j) {
          row[j] = exponential(row[j] - top);
          sum += row[j];
        }
        for (int64_t j = 0; j < first; ++j) row[j] = 0;
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
    const int64_t first = first_visible(t, begin + i), seen = visible(t, begin + i);
#pragma omp simd
    for (int64_t j = first; j < seen; ++j) {
      pattern[j] = exponential(pattern[j] - log_sum);
      grad[j] = pattern[j] * (grad[j] - mean);
    }
    for (int64_t j = 0; j < first; ++j) pattern[j] = grad[j] = 0;
    for (int64_t j = seen; j < keys; ++j) pattern[j] = grad[j] = 0;
  }
}

template <class T>
void attention_backward(const AttentionTask<T>& t) {
  using A = Wide<T>;
  const Scratch<A> s(t.scratch, t.n_keys, t.d_head);
  const int64_t half = t.n_turning / 2;
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
        rotate_back(t, s.out + i * s.d_wide, t.cos + at * half, t.sin + at * half, scale,
                    t.d_q + (begin + i) * t.d_q_stride + head * t.d_head);
      }
    }
  }
  for (int64_t j = 0; j < t.n_keys; ++j) {
    rotate_back(t, s.d_k + j * s.d_wide, t.cos + j * half, t.sin + j * half, A(1),
                t.d_k + j * t.d_k_stride);
    T* const d_v = t.d_v + j * t.d_v_stride;
#pragma omp simd
    for (int64_t i = 0; i < t.d_head; ++i) put(d_v[i], s.d_v[j * s.d_wide + i]);
  }
}

}  // namespace
}  // namespace headcount::models::HEADCOUNT_ARCH
