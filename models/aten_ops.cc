// Part of models/kernels.h.
// The operations of kernels.h in plain ATen: what a GPU runs, and a second opinion on the CPU's
// loops.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/erf.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "models/fused_attention.h"
#include "models/kernels.h"

namespace headcount::models {
namespace {

/// Turns the leading pairs of x [rows, heads, d_head] by the angles of `position` (`sign` -1:
/// back), in the tables' dtype.
at::Tensor rotate(const at::Tensor& x, const RotaryTables& tables, const at::Tensor& position,
                  RotaryStyle style, double sign) {
  const at::Tensor w = x.to(tables.cos.scalar_type());
  const int64_t half = tables.cos.size(1), rest = x.size(-1) - 2 * half;
  if (half == 0) return w;
  const at::Tensor cos = tables.cos.index_select(0, position).unsqueeze(1);
  const at::Tensor sin = tables.sin.index_select(0, position).unsqueeze(1) * sign;
  const bool split = style == RotaryStyle::kHalfSplit;
  const at::Tensor turning = w.narrow(-1, 0, 2 * half);
  const at::Tensor pairs = split
                               ? turning.unflatten(-1, at::IntArrayRef({2, half})).transpose(-1, -2)
                               : turning.unflatten(-1, at::IntArrayRef({half, 2}));
  const at::Tensor a = pairs.select(-1, 0), b = pairs.select(-1, 1);
  const at::Tensor turned = at::stack({a * cos - b * sin, b * cos + a * sin}, -1);
  const at::Tensor rows = (split ? turned.transpose(-1, -2) : turned).flatten(-2);
  return rest == 0 ? rows : at::cat({rows, w.narrow(-1, 2 * half, rest)}, -1);
}

/// Consecutive sequences of equal size, computed together.
struct Run {
  int64_t first, size;      // sequences
  int64_t q_begin, q_rows;  // all their query rows
  int64_t k_begin, k_rows;
};

/// Cuts the batch into runs whose score matrices stay below 64 million elements.
std::vector<Run> runs_of(const AttentionOp& op) {
  constexpr int64_t kMostScores = 64 << 20;
  std::vector<Run> runs;
  for (size_t b = 0; b + 1 < op.q_start.size(); ++b) {
    const int64_t nq = op.q_start[b + 1] - op.q_start[b], nk = op.k_start[b + 1] - op.k_start[b];
    if (nq == 0) continue;
    if (!runs.empty()) {
      Run& run = runs.back();
      const bool joins = run.first + run.size == static_cast<int64_t>(b) &&
                         run.q_rows == nq * run.size && run.k_rows == nk * run.size &&
                         (run.size + 1) * op.config.n_heads * nq * nk <= kMostScores;
      if (joins) {
        ++run.size;
        run.q_rows += nq;
        run.k_rows += nk;
        continue;
      }
    }
    runs.push_back({static_cast<int64_t>(b), 1, op.q_start[b], nq, op.k_start[b], nk});
  }
  return runs;
}

/// One run's heads.
struct Heads {
  at::Tensor q, k, v;  // [sequences, n_heads, rows, d_head] in the wide dtype, q and k turned
  at::Tensor seen;     // bool [sequences, 1, queries, keys]; undefined: all of it
  at::Tensor q_position, k_position;  // [rows]
};

/// [rows, heads * d_head] as [sequences, heads, rows of one, d_head].
at::Tensor heads_first(const at::Tensor& rows, int64_t sequences, int64_t n_heads) {
  return rows.reshape({sequences, rows.size(0) / sequences, n_heads, -1}).transpose(1, 2);
}

/// Every head `group` times: as many key and value heads as query heads.
at::Tensor for_queries(const at::Tensor& heads, int64_t group) {
  return heads.unsqueeze(2).expand({-1, -1, group, -1, -1}).flatten(1, 2);
}

/// The reverse of heads_first.
at::Tensor rows_first(const at::Tensor& heads) {
  return heads.transpose(1, 2).flatten(2).flatten(0, 1);
}

Heads heads_of(const AttentionOp& op, const Run& run) {
  const Config& c = op.config;
  const int64_t group = c.n_heads / c.n_kv_heads, n_keys = run.k_rows / run.size;
  Heads h;
  h.q_position = op.q_position.narrow(0, run.q_begin, run.q_rows);
  h.k_position = at::arange(n_keys, h.q_position.options()).repeat({run.size});
  const auto turned = [&](const at::Tensor& rows, int64_t n_heads, const at::Tensor& position) {
    const at::Tensor heads = rows.unflatten(1, at::IntArrayRef({n_heads, c.d_head}));
    return heads_first(rotate(heads, op.tables, position, c.rotary, 1), run.size, n_heads);
  };
  h.q = turned(op.q.narrow(0, run.q_begin, run.q_rows), c.n_heads, h.q_position);
  h.k = for_queries(turned(op.k.narrow(0, run.k_begin, run.k_rows), c.n_kv_heads, h.k_position),
                    group);
  h.v = for_queries(heads_first(op.v.narrow(0, run.k_begin, run.k_rows).to(h.q.scalar_type()),
                                run.size, c.n_kv_heads),
                    group);
  const at::Tensor q_at = h.q_position.reshape({run.size, 1, -1, 1}),
                   k_at = h.k_position.narrow(0, 0, n_keys);
  if (c.causal) h.seen = k_at <= q_at;
  if (op.window > 0) {
    const at::Tensor near = k_at > q_at - op.window;
    h.seen = h.seen.defined() ? h.seen & near : near;
  }
  return h;
}

/// [sequences, n_heads, queries, keys], -inf where nothing is seen.
at::Tensor scores_of(const Heads& h) {
  const at::Tensor scores =
      at::matmul(h.q, h.k.transpose(-1, -2)) / std::sqrt(static_cast<double>(h.q.size(-1)));
  if (!h.seen.defined()) return scores;
  return scores.masked_fill(h.seen.logical_not(), -std::numeric_limits<double>::infinity());
}

/// The heads as fused attention wants them, in `dtype`. Where queries are the keys' own rows a
/// causal model needs no mask.
FusedAttention fused_of(const AttentionOp& op, const Heads& h, at::ScalarType dtype) {
  const bool plain_causal = op.config.causal && op.window == 0 && &op.q_start == &op.k_start;
  return {.q = h.q.to(dtype),
          .k = h.k.to(dtype),
          .v = h.v.to(dtype),
          .causal = plain_causal,
          .seen = plain_causal ? at::Tensor() : h.seen};
}

/// The gates of the run's heads, [sequences, n_heads, 1, 1]; ones where none are given.
at::Tensor gates_of(const AttentionOp& op, const Run& run, const at::Tensor& like) {
  if (!op.gate.defined()) return at::ones({run.size, op.config.n_heads, 1, 1}, like.options());
  return op.gate.narrow(0, run.first, run.size).to(like.options()).unsqueeze(-1).unsqueeze(-1);
}

/// f(x) and, where asked for, f'(x), in x's dtype.
struct Activated {
  at::Tensor value, slope;
};
Activated activated(Activation activation, const at::Tensor& x, bool with_slope) {
  const at::Tensor none;
  switch (activation) {
    case Activation::kSilu: {
      const at::Tensor sigmoid = at::sigmoid(x);
      return {x * sigmoid, with_slope ? sigmoid * (1 + x * (1 - sigmoid)) : none};
    }
    case Activation::kGelu: {
      const at::Tensor below = 0.5 * (1 + at::erf(x * std::numbers::sqrt2 / 2));
      const double density = std::numbers::inv_sqrtpi / std::numbers::sqrt2;
      return {x * below, with_slope ? below + x * density * at::exp(-0.5 * x * x) : none};
    }
    case Activation::kGeluTanh: {
      const double rate = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
      const at::Tensor below = at::sigmoid(2 * rate * (x + 0.044715 * x * x * x));
      return {x * below, with_slope
                             ? below + 2 * x * below * (1 - below) * rate * (1 + 0.134145 * x * x)
                             : none};
    }
    case Activation::kRelu:
      return {at::relu(x), with_slope ? (x > 0).to(x.scalar_type()) : none};
    case Activation::kReluSquared:
      return {at::relu(x) * at::relu(x), with_slope ? 2 * at::relu(x) : none};
  }
  return {};
}

/// Calls work(first, count) for blocks of an MLP's rows, so that what it holds for an instant stays
/// small (counted in files/memory_plan.cc).
template <class Work>
void for_blocks(const at::Tensor& rows, const Work& work) {
  constexpr int64_t kMostActive = 8 << 20;
  const int64_t n = rows.size(0), step = std::max<int64_t>(1, kMostActive / rows.size(1));
  for (int64_t first = 0; first < n; first += step) work(first, std::min(step, n - first));
}

class AtenOps : public Ops {
 public:
  explicit AtenOps(bool fused) : fused_(fused && has_fused_attention()) {}

  void norm(const NormOp& op, const at::Tensor& x, const at::Tensor& delta, at::Tensor& sum,
            at::Tensor& normed, NormTape& tape) const override {
    if (delta.defined()) sum.copy_(x + delta);
    at::Tensor w = (delta.defined() ? sum : x).to(tape.inverse.scalar_type());
    if (op.kind == NormKind::kLayer) {
      tape.mean.copy_(w.mean(-1));
      w = w - tape.mean.unsqueeze(1);
    }
    tape.inverse.copy_(at::rsqrt((w * w).mean(-1) + op.eps));
    const at::Tensor scaled =
        (w * tape.inverse.unsqueeze(1)).to(x.scalar_type()) * op.weights.weight;
    normed.copy_(op.weights.bias.defined() ? scaled + op.weights.bias : scaled);
  }

  void norm_backward(const NormOp& op, const at::Tensor& d_normed, const at::Tensor& x,
                     const NormTape& tape, at::Tensor& d_x) const override {
    const at::ScalarType dtype = tape.inverse.scalar_type();
    const at::Tensor scale = tape.inverse.unsqueeze(1);
    at::Tensor unit = x.to(dtype);
    if (op.kind == NormKind::kLayer) unit = unit - tape.mean.unsqueeze(1);
    unit = unit * scale;
    at::Tensor d_unit = d_normed.to(dtype) * op.weights.weight.to(dtype);
    const at::Tensor along = unit * (d_unit * unit).mean(-1, true);
    if (op.kind == NormKind::kLayer) d_unit = d_unit - d_unit.mean(-1, true);
    d_x.copy_(d_x.to(dtype) + (d_unit - along) * scale);
  }

  void activate(const Config& config, const at::Tensor& in, at::Tensor& out) const override {
    const int64_t d = out.size(1);
    for_blocks(out, [&](int64_t row, int64_t n) {
      const at::Tensor w = in.narrow(0, row, n).to(wide(out.scalar_type()));
      const at::Tensor value = activated(config.activation, w.narrow(1, 0, d), false).value;
      out.narrow(0, row, n).copy_(config.gated_mlp ? value * w.narrow(1, d, d) : value);
    });
  }

  void activate_backward(const Config& config, const at::Tensor& d_out, const at::Tensor& in,
                         at::Tensor& d_in) const override {
    const int64_t d = d_out.size(1);
    for_blocks(d_out, [&](int64_t row, int64_t n) {
      const at::Tensor w = in.narrow(0, row, n).to(wide(d_out.scalar_type()));
      const at::Tensor grad = d_out.narrow(0, row, n).to(w.scalar_type());
      const auto [value, slope] = activated(config.activation, w.narrow(1, 0, d), true);
      const at::Tensor to = d_in.narrow(0, row, n);
      to.narrow(1, 0, d).copy_(config.gated_mlp ? grad * w.narrow(1, d, d) * slope : grad * slope);
      if (config.gated_mlp) to.narrow(1, d, d).copy_(grad * value);
    });
  }

  void attention(const AttentionOp& op, at::Tensor& z, at::Tensor& gated,
                 at::Tensor& log_sum) const override {
    for (const Run& run : runs_of(op)) {
      const Heads h = heads_of(op, run);
      at::Tensor out;
      if (fused_) {
        out = fused_attention(fused_of(op, h, z.scalar_type())).to(h.q.scalar_type());
      } else {
        const at::Tensor scores = scores_of(h), sum = at::logsumexp(scores, -1);
        out = at::matmul(at::exp(scores - sum.unsqueeze(-1)), h.v);
        log_sum.narrow(0, run.q_begin, run.q_rows).copy_(sum.transpose(1, 2).flatten(0, 1));
      }
      z.narrow(0, run.q_begin, run.q_rows).copy_(rows_first(out));
      gated.narrow(0, run.q_begin, run.q_rows).copy_(rows_first(out * gates_of(op, run, out)));
    }
  }

  void attention_backward(const AttentionOp& op, const at::Tensor& z, const at::Tensor& log_sum,
                          const at::Tensor& d_gated, at::Tensor& d_q, at::Tensor& d_k,
                          at::Tensor& d_v, at::Tensor& d_gate) const override {
    gate_dot(op, z, d_gated, d_gate);
    d_k.zero_();  // runs leave out sequences without queries
    d_v.zero_();
    const Config& c = op.config;
    const double scale = 1.0 / std::sqrt(static_cast<double>(c.d_head));
    // Query heads that share a key/value head, summed; turned back where positions are given.
    const auto fold = [&](const at::Tensor& heads) {
      return rows_first(
          heads.unflatten(1, at::IntArrayRef({c.n_kv_heads, c.n_heads / c.n_kv_heads})).sum(2));
    };
    const auto turned_back = [&](const at::Tensor& rows, int64_t n_heads,
                                 const at::Tensor& position) {
      return rotate(rows.unflatten(1, at::IntArrayRef({n_heads, c.d_head})), op.tables, position,
                    c.rotary, -1)
          .flatten(1);
    };
    for (const Run& run : runs_of(op)) {
      const Heads h = heads_of(op, run);
      const auto heads = [&](const at::Tensor& rows) {
        return heads_first(rows.narrow(0, run.q_begin, run.q_rows).to(h.q.scalar_type()), run.size,
                           c.n_heads);
      };
      const at::Tensor d_z = heads(d_gated) * gates_of(op, run, h.q);
      at::Tensor d_queries, d_keys, d_values;
      if (fused_) {
        const FusedDerivatives d =
            fused_attention_backward(fused_of(op, h, z.scalar_type()), d_z.to(z.scalar_type()));
        d_queries = d.q, d_keys = d.k, d_values = d.v;
      } else {
        const at::Tensor pattern = at::exp(scores_of(h) - heads(log_sum));
        const at::Tensor d_pattern = at::matmul(d_z, h.v.transpose(-1, -2));
        const at::Tensor d_scores = pattern * (d_pattern - (d_z * heads(z)).sum(-1, true)) * scale;
        d_queries = at::matmul(d_scores, h.k);
        d_keys = at::matmul(d_scores.transpose(-1, -2), h.q);
        d_values = at::matmul(pattern.transpose(-1, -2), d_z);
      }
      d_q.narrow(0, run.q_begin, run.q_rows)
          .copy_(turned_back(rows_first(d_queries), c.n_heads, h.q_position));
      d_k.narrow(0, run.k_begin, run.k_rows)
          .copy_(turned_back(fold(d_keys), c.n_kv_heads, h.k_position));
      d_v.narrow(0, run.k_begin, run.k_rows).copy_(fold(d_values));
    }
  }

  void gate_dot(const AttentionOp& op, const at::Tensor& z, const at::Tensor& d_gated,
                at::Tensor& d_gate) const override {
    const at::ScalarType dtype = wide(z.scalar_type());
    const at::Tensor dots =
        (z.to(dtype) * d_gated.to(dtype))
            .unflatten(1, at::IntArrayRef({op.config.n_heads, op.config.d_head}))
            .sum(-1);
    d_gate.zero_();
    for (const Run& run : runs_of(op)) {
      const at::Tensor own = dots.narrow(0, run.q_begin, run.q_rows).to(at::kDouble);
      d_gate.narrow(0, run.first, run.size)
          .copy_(own.unflatten(0, at::IntArrayRef({run.size, -1})).sum(1));
    }
  }

  void cross_entropy(const at::Tensor& logits, const at::Tensor& target, const at::Tensor& weight,
                     at::Tensor& log_prob, at::Tensor& d_logits) const override {
    constexpr int64_t kLogitsAtOnce = 1 << 22;  // 32 MB in float64
    const int64_t n_rows = logits.size(0), n = logits.size(1);
    const at::Tensor column = target.to(logits.device()).unsqueeze(1);
    const at::Tensor w = weight.to(logits.device()).to(at::kDouble).unsqueeze(1);
    const at::Tensor columns = at::arange(n, column.options());
    const int64_t at_once = std::max<int64_t>(1, kLogitsAtOnce / n);
    for (int64_t first = 0; first < n_rows; first += at_once) {
      const auto part = [&](const at::Tensor& rows) {
        return rows.narrow(0, first, std::min(at_once, n_rows - first));
      };
      const at::Tensor x = part(logits).to(at::kDouble), top = x.amax(1, true);
      const at::Tensor gap = x.gather(1, part(column)) - top;
      // As in the CPU's loops: the sum of all others by itself, or adding it to 1 would swallow it.
      // No scatter: on a GPU some of LibTorch's versions have none that is deterministic.
      const at::Tensor own = columns == part(column);
      at::Tensor share = (x - top).exp_().masked_fill_(own, 0);
      const at::Tensor others = share.sum(1, true);
      part(log_prob).copy_((gap - (others + gap.expm1()).log1p_()).squeeze(1));
      if (!d_logits.defined()) continue;
      const at::Tensor scale = part(w) / (others + gap.exp());
      share.mul_(-scale).add_(at::where(own, scale * others, 0.0));
      part(d_logits).copy_(share);
    }
  }

  void add_rows(const at::Tensor& from, const at::Tensor& row, at::Tensor& to) const override {
    to.index_add_(0, row, from);
  }

 private:
  bool fused_;
};

}  // namespace

const Ops& aten_ops(bool fused) {
  static const AtenOps plain(false), fusing(true);
  return fused ? fusing : plain;
}

}  // namespace headcount::models
