// Counting what models/passes.h allocates. Per token and layer a tape holds the residual stream
// before attention and before the MLP, q, k, v, z and gate_up in the model's dtype, and norms'
// statistics and softmax denominators in the wide one; checkpointing leaves the first of these and
// one whole layer. Everything else is one layer's scratch.
#include "models/files/memory_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "schemas/error.h"

namespace headcount::models {
namespace {

// models/aten_ops.cc cuts attention into runs of at most so many scores, and an MLP's activations
// into blocks of at most so many numbers.
constexpr int64_t kMostScores = 64 << 20, kMostActive = 8 << 20;

/// What LibTorch, the allocator's rounding and products' workspaces take beside: measured as the
/// difference between this count and the peak of real passes.
constexpr uint64_t kFixedBytes = 300'000'000;

struct Sizes {
  int64_t narrow, broad;  // bytes of a number of the model's dtype, and of the wide one
};

int64_t gate_up_width(const Config& c) { return (c.gated_mlp ? 2 : 1) * c.d_mlp; }

/// A layer's tape, bytes per token.
int64_t tape_bytes(const Config& c, const Sizes& s) {
  const int64_t d_attn = c.n_heads * c.d_head, d_kv = c.n_kv_heads * c.d_head;
  const bool sequential = c.residual == Residual::kSequential;
  const int64_t statistics = c.n_heads + (c.norm == NormKind::kLayer ? 4 : 2);
  return s.narrow * ((sequential ? 2 : 1) * c.d_model + 2 * d_attn + 2 * d_kv + gate_up_width(c)) +
         s.broad * statistics;
}

/// Buffers every layer writes anew, bytes per token.
int64_t scratch_bytes(const Config& c, const Sizes& s, bool backward) {
  const int64_t d_attn = c.n_heads * c.d_head, d_kv = c.n_kv_heads * c.d_head;
  const int64_t forward = 3 * c.d_model + d_attn + c.d_mlp;
  const int64_t way_back = c.d_mlp + gate_up_width(c) + 4 * c.d_model + 2 * d_attn + 2 * d_kv;
  // Per-head norms copy q and k, and their derivatives.
  const int64_t head_norms = c.qk_norm ? (backward ? 4 : 2) * (d_attn + d_kv) : 0;
  return s.narrow * ((backward ? std::max(forward, way_back) : forward) + head_norms);
}

/// What plain operations hold for an instant, in all: a run's heads and one block of an MLP's
/// activations in the wide dtype, counted where models/aten_ops.cc makes them; and a run's scores where
/// attention is not fused.
int64_t instant_bytes(const Config& c, const Sizes& s, const PassShape& pass, bool fused) {
  const int64_t length = std::max<int64_t>(1, pass.length), tokens = pass.micro_batch * length;
  const int64_t run = std::min(tokens, std::max(length, kMostScores / c.n_heads / length));
  const int64_t heads = (pass.backward ? 11 : 8) * run * c.n_heads * c.d_head;
  const int64_t scores = fused ? 0 : (pass.backward ? 4 : 2) * run * c.n_heads * length;
  const int64_t active =
      (pass.backward ? 9 : 4) * std::min(tokens * c.d_mlp, std::max(kMostActive, c.d_mlp));
  return s.broad * (heads + scores + active);
}

std::string gigabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

int64_t dtype_bytes(const std::string& dtype) {
  if (dtype == "float64") return 8;
  if (dtype == "float32") return 4;
  if (dtype == "bfloat16" || dtype == "float16") return 2;
  throw Error("unknown dtype \"" + dtype + "\": write float64, float32, bfloat16 or float16");
}

int64_t parameter_count(const Config& config) {
  int64_t total = 0;
  for (const WeightShape& weight : weight_shapes(config)) {
    int64_t n = 1;
    for (const int64_t extent : weight.shape) n *= extent;
    total += n;
  }
  return total;
}

MemoryPlan memory_plan(const Config& c, const std::string& dtype, const PassShape& pass) {
  const Sizes s{.narrow = dtype_bytes(dtype), .broad = dtype == "float64" ? 8 : 4};
  const int64_t tokens = pass.micro_batch * pass.length;
  const int64_t supervised = pass.micro_batch * pass.supervised;
  int64_t layers = tape_bytes(c, s);  // one, shared, where nothing is kept
  int64_t scratch = scratch_bytes(c, s, pass.backward);
  if (pass.backward && pass.checkpointing) {
    layers += c.n_layers * s.narrow * c.d_model;
    scratch += scratch_bytes(c, s, false);
  } else if (pass.backward) {
    layers *= c.n_layers;
  }
  const bool plain = pass.gpu || dtype == "float16";  // of which a CPU has no loops
  const bool fused = pass.gpu && s.broad == 4;        // LibTorch's is none in float64
  const int64_t instant = plain ? instant_bytes(c, s, pass, fused) : 0;
  // Logits and, where they are not overwritten, their derivatives; a GPU's plain cross-entropy
  // holds two more of them.
  const int64_t derivative = pass.backward && s.narrow != s.broad ? s.narrow : 0;
  const int64_t per_logit = s.broad * (pass.gpu ? 3 : 1) + derivative;
  // The widened slice of a 16-bit model's head.
  const int64_t head = s.narrow < 4 ? std::min<int64_t>(c.vocab_size, 4096) * c.d_model * 4 : 0;
  return {.weights = static_cast<uint64_t>(parameter_count(c) * s.narrow),
          .activations = static_cast<uint64_t>(tokens * (layers + scratch) + instant) + kFixedBytes,
          .logits = static_cast<uint64_t>(supervised * c.vocab_size * per_logit + head)};
}

uint64_t usable(uint64_t nominal_bytes) {
  return static_cast<uint64_t>(kUsableShare * static_cast<double>(nominal_bytes));
}

bool fits(const MemoryPlan& plan, uint64_t nominal_bytes) {
  return plan.total() <= usable(nominal_bytes);
}

Fit largest_fit(const Config& config, const std::string& dtype, PassShape pass, int64_t most,
                uint64_t nominal_bytes) {
  for (const bool checkpointing : {false, true}) {
    if (checkpointing && !pass.backward) break;
    pass.checkpointing = checkpointing;
    for (pass.micro_batch = most; pass.micro_batch > 0; pass.micro_batch /= 2) {
      if (fits(memory_plan(config, dtype, pass), nominal_bytes))
        return {.micro_batch = pass.micro_batch, .checkpointing = checkpointing};
    }
  }
  return {};
}

PassShape fitted(PassShape pass, const Fit& fit) {
  pass.micro_batch = std::max<int64_t>(1, fit.micro_batch);
  pass.checkpointing = fit.checkpointing || (fit.micro_batch == 0 && pass.backward);
  return pass;
}

std::string describe(const MemoryPlan& plan, const std::string& dtype, const PassShape& pass,
                     uint64_t nominal_bytes) {
  return dtype + " weights " + gigabytes(plan.weights) + " + activations of " +
         std::to_string(pass.micro_batch) + " x " + std::to_string(pass.length) + " tokens " +
         gigabytes(plan.activations) + (pass.checkpointing ? " (checkpointing)" : "") +
         " + logits " + gigabytes(plan.logits) + " = " + gigabytes(plan.total()) +
         ", the device has " + gigabytes(nominal_bytes) + " (" + gigabytes(usable(nominal_bytes)) +
         " usable)";
}

}  // namespace headcount::models
