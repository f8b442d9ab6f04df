// Small configs with every feature drawn, for tests of what must hold for all of them.
#pragma once

#include <initializer_list>
#include <string>

#include "models/files/config.h"
#include "schemas/philox.h"

namespace headcount::models {

/// Choices from a numbered stream.
class Choices {
 public:
  explicit Choices(uint64_t number) : number_(number) {}
  template <class T>
  T of(std::initializer_list<T> values) {
    const double u = random_uniform(5, Purpose::kTraining, number_, 0, next_++);
    return values.begin()[static_cast<size_t>(u * static_cast<double>(values.size()))];
  }
  bool yes() { return of({false, true}); }

 private:
  uint64_t number_;
  uint32_t next_ = 0;
};

/// A small model with every feature drawn.
inline Config random_config(uint64_t number) {
  Choices choose(number);
  Config c;
  c.family = "random " + std::to_string(number);
  c.n_layers = choose.of<int64_t>({1, 2, 3});
  c.n_kv_heads = choose.of<int64_t>({1, 2, 3});
  c.n_heads = c.n_kv_heads * choose.of<int64_t>({1, 2, 4});
  c.d_head = choose.of<int64_t>({4, 6, 10});
  c.d_model = choose.of<int64_t>({24, 30});
  c.d_mlp = choose.of<int64_t>({20, 33});
  c.vocab_size = choose.of<int64_t>({37, 50});
  c.max_positions = 64;
  c.norm = choose.of({NormKind::kRms, NormKind::kLayer});
  c.norm_eps = choose.of({1e-5, 1e-3});
  c.norm_weight = choose.yes();
  c.norm_bias = choose.yes();
  c.embedding_norm = choose.yes();
  c.n_learned_positions = choose.of<int64_t>({0, 52});
  c.position_offset = c.n_learned_positions > 0 ? choose.of<int64_t>({0, 2}) : 0;
  c.n_time_steps = choose.of<int64_t>({0, 8});
  c.d_rotary = choose.of<int64_t>({-1, 0, 2, 4});
  c.rotary = choose.of({RotaryStyle::kHalfSplit, RotaryStyle::kInterleaved});
  c.rotary_backwards = choose.yes();
  if (choose.yes())
    c.rope_scaling = {
        .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_positions = 16};
  c.qkv_bias = choose.yes();
  c.o_bias = choose.yes();
  c.qk_norm = choose.yes();
  c.qk_norm_weight = choose.yes();
  c.residual = choose.of({Residual::kSequential, Residual::kParallel, Residual::kParallelOneNorm});
  c.activation = choose.of({Activation::kSilu, Activation::kGelu, Activation::kGeluTanh,
                            Activation::kRelu, Activation::kReluSquared});
  c.gated_mlp = choose.yes();
  c.mlp_bias = choose.yes();
  c.causal = choose.yes();
  c.window = c.causal ? choose.of<int64_t>({0, 1, 7}) : 0;
  c.first_window_layer = choose.of<int64_t>({0, 1});
  c.shifted = !c.causal && choose.yes();
  c.tied_head = choose.yes();
  c.head_bias = choose.yes();
  c.mask_id = c.causal ? -1 : 36;
  return c;
}

}  // namespace headcount::models
