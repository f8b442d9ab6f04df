// Part of models/kernels.h.
// The fused loops spread over ATen's threads. Every task writes its own rows or heads, so results
// do not depend on who ran what.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "models/cpu_kernels.h"
#include "models/fused_attention.h"
#include "models/kernels.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

template <class T>
T* data(const at::Tensor& t) {
  return t.defined() ? static_cast<T*>(t.data_ptr()) : nullptr;
}

/// Calls `f` with a value of the element type the loops use for this dtype.
template <class F>
void with_element(at::ScalarType dtype, const F& f) {
  if (dtype == at::kFloat) return f(float{});
  if (dtype == at::kDouble) return f(double{});
  HC_CHECK(dtype == at::kBFloat16);
  f(Bf16{});
}

/// Rows worth a thread's while.
int64_t row_grain(int64_t elements_per_row) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, elements_per_row));
}

template <class T>
AttentionTask<T> task_of(const AttentionOp& op, int64_t b, int64_t kv_head, const at::Tensor& z,
                         const at::Tensor& log_sum) {
  const Config& c = op.config;
  const int64_t group = c.n_heads / c.n_kv_heads, head = kv_head * group;
  const int64_t q0 = op.q_start[static_cast<size_t>(b)], k0 = op.k_start[static_cast<size_t>(b)];
  AttentionTask<T> t;
  t.n_queries = op.q_start[static_cast<size_t>(b) + 1] - q0;
  t.n_keys = op.k_start[static_cast<size_t>(b) + 1] - k0;
  t.d_head = c.d_head;
  t.group = group;
  t.causal = c.causal;
  t.window = op.window;
  t.n_turning = c.n_turning();
  t.interleaved = c.rotary == RotaryStyle::kInterleaved;
  t.q_stride = op.q.stride(0);
  t.k_stride = op.k.stride(0);
  t.v_stride = op.v.stride(0);
  t.q = data<T>(op.q) + q0 * t.q_stride + head * c.d_head;
  t.k = data<T>(op.k) + k0 * t.k_stride + kv_head * c.d_head;
  t.v = data<T>(op.v) + k0 * t.v_stride + kv_head * c.d_head;
  t.q_position = data<int64_t>(op.q_position) + q0;
  t.cos = data<Wide<T>>(op.tables.cos);
  t.sin = data<Wide<T>>(op.tables.sin);
  t.gate = op.gate.defined() ? data<Wide<T>>(op.gate) + b * c.n_heads + head : nullptr;
  t.z_stride = z.stride(0);
  t.log_sum_stride = log_sum.stride(0);
  t.z = data<T>(z) + q0 * t.z_stride + head * c.d_head;
  t.log_sum = data<Wide<T>>(log_sum) + q0 * t.log_sum_stride + head;
  return t;
}

/// Runs `f(sequence, key/value head, scratch)` for all of them, the scratch being the running
/// thread's own.
template <class T, class F>
void for_each_head(const AttentionOp& op, const F& f) {
  int64_t longest = 0;
  for (size_t b = 0; b + 1 < op.k_start.size(); ++b)
    longest = std::max(longest, op.k_start[b + 1] - op.k_start[b]);
  const int64_t n_kv_heads = op.config.n_kv_heads;
  const auto tasks = static_cast<int64_t>(op.k_start.size() - 1) * n_kv_heads;
  const int64_t scratch_size =
      (cpu_kernels<T>().attention_scratch(longest, op.config.d_head) + 15) / 16 * 16;
  const at::Tensor scratch =
      at::empty({at::get_num_threads(), scratch_size},
                sizeof(Wide<T>) == sizeof(double) ? at::kDouble : at::kFloat);
  const int64_t grain =
      std::max<int64_t>(1, 65536 / std::max<int64_t>(1, longest * longest * op.config.d_head));
  at::parallel_for(0, tasks, grain, [&](int64_t begin, int64_t end) {
    Wide<T>* const own = data<Wide<T>>(scratch) + at::get_thread_num() * scratch_size;
    for (int64_t i = begin; i < end; ++i) f(i / n_kv_heads, i % n_kv_heads, own);
  });
}

class CpuOps : public Ops {
 public:
  void norm(const NormOp& op, const at::Tensor& x, const at::Tensor& delta, at::Tensor& sum,
            at::Tensor& normed, NormTape& tape) const override {
    const int64_t d = x.size(1);
    with_element(x.scalar_type(), [&](auto element) {
      using T = decltype(element);
      const auto kernel = cpu_kernels<T>().norm[static_cast<size_t>(op.kind)];
      at::parallel_for(0, x.size(0), row_grain(d), [&](int64_t r, int64_t end) {
        const bool adds = delta.defined(), centers = op.kind == NormKind::kLayer;
        kernel(data<T>(x) + r * d, adds ? data<T>(delta) + r * d : nullptr,
               data<T>(op.weights.weight), data<T>(op.weights.bias), op.eps, end - r, d,
               adds ? data<T>(sum) + r * d : nullptr, data<T>(normed) + r * d,
               data<Wide<T>>(tape.inverse) + r, centers ? data<Wide<T>>(tape.mean) + r : nullptr);
      });
    });
  }

  void norm_backward(const NormOp& op, const at::Tensor& d_normed, const at::Tensor& x,
                     const NormTape& tape, at::Tensor& d_x) const override {
    const int64_t d = x.size(1);
    with_element(x.scalar_type(), [&](auto element) {
      using T = decltype(element);
      const auto kernel = cpu_kernels<T>().norm_backward[static_cast<size_t>(op.kind)];
      at::parallel_for(0, x.size(0), row_grain(d), [&](int64_t r, int64_t end) {
        const bool centers = op.kind == NormKind::kLayer;
        kernel(data<T>(d_normed) + r * d, data<T>(x) + r * d, data<T>(op.weights.weight),
               data<Wide<T>>(tape.inverse) + r, centers ? data<Wide<T>>(tape.mean) + r : nullptr,
               end - r, d, data<T>(d_x) + r * d);
      });
    });
  }

  void activate(const Config& config, const at::Tensor& in, at::Tensor& out) const override {
    const int64_t d = out.size(1), d_in = in.size(1);
    with_element(out.scalar_type(), [&](auto element) {
      using T = decltype(element);
      const MlpKernels<T>& kernels = cpu_kernels<T>().mlp[static_cast<size_t>(config.activation)];
      const auto kernel = config.gated_mlp ? kernels.gated : kernels.plain;
      at::parallel_for(0, out.size(0), row_grain(d), [&](int64_t r, int64_t end) {
        kernel(data<T>(in) + r * d_in, end - r, d, data<T>(out) + r * d);
      });
    });
  }

  void activate_backward(const Config& config, const at::Tensor& d_out, const at::Tensor& in,
                         at::Tensor& d_in) const override {
    const int64_t d = d_out.size(1), width = in.size(1);
    with_element(d_out.scalar_type(), [&](auto element) {
      using T = decltype(element);
      const MlpKernels<T>& kernels = cpu_kernels<T>().mlp[static_cast<size_t>(config.activation)];
      const auto kernel = config.gated_mlp ? kernels.gated_backward : kernels.plain_backward;
      at::parallel_for(0, d_out.size(0), row_grain(d), [&](int64_t r, int64_t end) {
        kernel(data<T>(d_out) + r * d, data<T>(in) + r * width, end - r, d,
               data<T>(d_in) + r * width);
      });
    });
  }

  void attention(const AttentionOp& op, at::Tensor& z, at::Tensor& gated,
                 at::Tensor& log_sum) const override {
    with_element(z.scalar_type(), [&](auto element) {
      using T = decltype(element);
      for_each_head<T>(op, [&](int64_t b, int64_t kv_head, Wide<T>* scratch) {
        AttentionTask<T> task = task_of<T>(op, b, kv_head, z, log_sum);
        task.gated = data<T>(gated) + (task.z - data<T>(z));
        task.scratch = scratch;
        cpu_kernels<T>().attention(task);
      });
    });
  }

  void attention_backward(const AttentionOp& op, const at::Tensor& z, const at::Tensor& log_sum,
                          const at::Tensor& d_gated, at::Tensor& d_q, at::Tensor& d_k,
                          at::Tensor& d_v, at::Tensor& d_gate) const override {
    with_element(z.scalar_type(), [&](auto element) {
      using T = decltype(element);
      for_each_head<T>(op, [&](int64_t b, int64_t kv_head, Wide<T>* scratch) {
        AttentionTask<T> task = task_of<T>(op, b, kv_head, z, log_sum);
        const int64_t head = kv_head * task.group, d_head = task.d_head;
        const int64_t q0 = op.q_start[static_cast<size_t>(b)],
                      k0 = op.k_start[static_cast<size_t>(b)];
        task.d_gated = data<T>(d_gated) + (task.z - data<T>(z));
        task.d_q_stride = d_q.stride(0);
        task.d_k_stride = d_k.stride(0);
        task.d_v_stride = d_v.stride(0);
        task.d_q = data<T>(d_q) + q0 * task.d_q_stride + head * d_head;
        task.d_k = data<T>(d_k) + k0 * task.d_k_stride + kv_head * d_head;
        task.d_v = data<T>(d_v) + k0 * task.d_v_stride + kv_head * d_head;
        task.d_gate = data<double>(d_gate) + b * op.config.n_heads + head;
        task.scratch = scratch;
        cpu_kernels<T>().attention_backward(task);
      });
    });
  }

  void gate_dot(const AttentionOp& op, const at::Tensor& z, const at::Tensor& d_gated,
                at::Tensor& d_gate) const override {
    const int64_t n_heads = op.config.n_heads, width = z.size(1);
    with_element(z.scalar_type(), [&](auto element) {
      using T = decltype(element);
      at::parallel_for(
          0, static_cast<int64_t>(op.q_start.size()) - 1, 1, [&](int64_t begin, int64_t end) {
            for (int64_t b = begin; b < end; ++b) {
              const int64_t q0 = op.q_start[static_cast<size_t>(b)],
                            q1 = op.q_start[static_cast<size_t>(b) + 1];
              cpu_kernels<T>().gate_dot(data<T>(d_gated) + q0 * width, data<T>(z) + q0 * width,
                                        q1 - q0, n_heads, op.config.d_head,
                                        data<double>(d_gate) + b * n_heads);
            }
          });
    });
  }

  void cross_entropy(const at::Tensor& logits, const at::Tensor& target, const at::Tensor& weight,
                     at::Tensor& log_prob, at::Tensor& d_logits) const override {
    const int64_t n = logits.size(1);
    const at::ScalarType dtype = d_logits.defined() ? d_logits.scalar_type() : logits.scalar_type();
    with_element(dtype, [&](auto element) {
      using T = decltype(element);
      HC_CHECK(logits.element_size() == sizeof(Wide<T>));
      at::parallel_for(0, logits.size(0), row_grain(n), [&](int64_t r, int64_t end) {
        cpu_kernels<T>().cross_entropy(data<Wide<T>>(logits) + r * n, data<int64_t>(target) + r,
                                       data<double>(weight) + r, end - r, n,
                                       data<double>(log_prob) + r,
                                       d_logits.defined() ? data<T>(d_logits) + r * n : nullptr);
      });
    });
  }

  void add_rows(const at::Tensor& from, const at::Tensor& row, at::Tensor& to) const override {
    with_element(to.scalar_type(), [&](auto element) {
      using T = decltype(element);
      cpu_kernels<T>().add_rows(data<T>(from), data<int64_t>(row), row.size(0), to.size(1),
                                data<T>(to));
    });
  }
};

}  // namespace

const Ops& ops_for(const at::Tensor& like) {
  static const CpuOps cpu;
  const bool has_loops = like.device().is_cpu() && like.scalar_type() != at::kHalf;
  const bool fused = fuses_attention(like.device());
  return has_loops && !fused ? cpu : aten_ops(fused);
}

}  // namespace headcount::models
