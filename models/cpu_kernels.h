// The row-wise and attention loops of the fast path on raw memory, one table of functions per
// element type. cpu_kernels.cc is compiled once per instruction set (CMakeLists.txt);
// cpu_kernels<T>() gives the table for the machine it runs on. No function here starts a thread:
// callers hand out rows or heads (cpu_ops.cc).
#pragma once

#include <cstdint>

namespace headcount::models {

/// bfloat16 as it lies in memory: the upper half of a float32.
struct Bf16 {
  uint16_t bits;
};

/// What sums, norms, softmax and gates of a T model are computed in.
template <class T>
struct WideOf {
  using type = float;
};
template <>
struct WideOf<double> {
  using type = double;
};
template <class T>
using Wide = typename WideOf<T>::type;

/// Attention of one sequence and one key/value head with the query heads that share it. Rows are
/// `*_stride` elements apart; head offsets are already added. Rotary tables are [positions,
/// n_turning / 2]; key j stands at position j, query i at q_position[i].
template <class T>
struct AttentionTask {
  using A = Wide<T>;
  int64_t n_queries = 0, n_keys = 0, d_head = 0;
  int64_t group = 1;  // query heads sharing the key/value head, d_head elements apart in q, z,
                      // gated, d_gated, d_q
  bool causal = false, interleaved = false;
  int64_t window = 0;     // a query sees this many keys up to its own; 0: all
  int64_t n_turning = 0;  // leading elements of a head that turn
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
  const int64_t* q_position = nullptr;
  const A *cos = nullptr, *sin = nullptr;
  const A* gate = nullptr;  // [group]; nullptr: all one
  // forward writes, backward reads
  T* z = nullptr;        // [n_queries] rows, z_stride apart: before the gate
  T* gated = nullptr;    // gate * z, likewise
  A* log_sum = nullptr;  // log of the softmax denominator: [n_queries, group], log_sum_stride apart
  int64_t z_stride = 0, log_sum_stride = 0;
  // backward
  const T* d_gated = nullptr;                        // dJ/d(gate * z), rows z_stride apart
  T *d_q = nullptr, *d_k = nullptr, *d_v = nullptr;  // rows d_q_stride, ... apart
  int64_t d_q_stride = 0, d_k_stride = 0, d_v_stride = 0;
  double* d_gate = nullptr;  // [group]
  A* scratch = nullptr;      // attention_scratch(n_keys, d_head) elements, 64-byte aligned
};

/// The MLP's middle of one activation f. Gated: out[r] = f(in[r][0, d)) * in[r][d, 2d); plain:
/// out[r] = f(in[r]).
template <class T>
struct MlpKernels {
  void (*gated)(const T* in, int64_t rows, int64_t d, T* out);
  void (*gated_backward)(const T* d_out, const T* in, int64_t rows, int64_t d, T* d_in);
  void (*plain)(const T* in, int64_t rows, int64_t d, T* out);
  void (*plain_backward)(const T* d_out, const T* in, int64_t rows, int64_t d, T* d_in);
};

template <class T>
struct CpuKernels {
  using A = Wide<T>;
  const char* name;  // of the instruction set
  /// sum = x + delta (delta nullptr: x alone, and sum is not written); inverse[r] = 1 / rms, or 1 /
  /// standard deviation of a LayerNorm, mean[r] its mean; normed = (sum - mean) * inverse rounded
  /// to T, times weight, plus bias (nullptr: none).
  void (*norm[2])(const T* x, const T* delta, const T* weight, const T* bias, double eps,
                  int64_t rows, int64_t d, T* sum, T* normed, A* inverse, A* mean);  // by NormKind
  /// d_x += the derivative through norm, given d_normed.
  void (*norm_backward[2])(const T* d_normed, const T* x, const T* weight, const A* inverse,
                           const A* mean, int64_t rows, int64_t d, T* d_x);
  MlpKernels<T> mlp[5];  // by Activation
  /// log_prob[r] = log softmax(logits[r])[target[r]], in float64; where d_logits is given,
  /// d_logits[r] = weight[r] * (onehot - softmax).
  void (*cross_entropy)(const A* logits, const int64_t* target, const double* weight, int64_t rows,
                        int64_t n, double* log_prob, T* d_logits);
  /// to[row[i]] += from[i] for i = 0 .. rows - 1, in that order.
  void (*add_rows)(const T* from, const int64_t* row, int64_t rows, int64_t d, T* to);
  void (*attention)(const AttentionTask<T>& task);
  void (*attention_backward)(const AttentionTask<T>& task);
  /// sum over rows and d_head of d_gated * z for each of `heads` heads: [heads].
  void (*gate_dot)(const T* d_gated, const T* z, int64_t rows, int64_t heads, int64_t d_head,
                   double* d_gate);
  /// Elements of scratch one attention task needs.
  int64_t (*attention_scratch)(int64_t n_keys, int64_t d_head);
};

/// The table for this machine: AVX-512, AVX2 or the compiler's default. T: float, double, Bf16.
template <class T>
const CpuKernels<T>& cpu_kernels();

}  // namespace headcount::models
