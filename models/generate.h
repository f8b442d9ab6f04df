// Text from a model: causal decoding, LLaDA's and Dream's filling in of masked positions. Every
// random number is Philox's of (seed, sequence, position, step): the same on every machine of a
// kind and whatever is decoded beside a sequence.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "models/generate_pick.h"
#include "models/model.h"

namespace headcount::models {

using Texts = std::vector<std::vector<int32_t>>;

/// What every way of decoding shares.
struct DecodeOptions {
  int64_t n_new = 128;  // tokens to write: exactly for masked models, at most for causal
  uint64_t seed = 0;
  uint64_t first_sequence = 0;  // the number of the first prompt; the next has the next number
  at::Tensor gates = {};        // [prompts, n_layers, n_heads]; undefined: all one
  int64_t micro_batch = 8;      // sequences computed together (masked models)
};

struct CausalOptions : DecodeOptions {
  Sampling sampling;
  std::vector<int64_t> stop_ids;  // decoding ends before one of these is written
  std::function<void(size_t prompt, int32_t token)> written;  // may be empty
};

/// Each prompt (at least one id) and what follows it. Ends early at max_positions. Throws Error on
/// a model that is not causal.
Texts continue_texts(const Model& model, const Texts& prompts, const CausalOptions& options);

/// The most probable continuation of one prompt (ties to the lower id), ending before any of the
/// model's stop ids.
std::vector<int32_t> greedy(const Model& model, const std::vector<int32_t>& prompt, int64_t n_new);

enum class Remasking { kLowConfidence, kRandom };

/// Called after every step with the share done and all sequences as they are then.
using Stepped = std::function<void(double done, const Texts& texts)>;

/// LLaDA: blocks from left to right, each in steps / number of blocks steps; every step writes the
/// even_schedule's number of masked positions, those of the highest confidence (ties to the lower
/// position). Masks in a prompt are filled in too, from the first block on.
struct LladaOptions : DecodeOptions {
  int64_t block_length = 128;  // divides n_new
  int64_t steps = 128;         // a multiple of the number of blocks
  double temperature = 0;      // pick_gumbel's
  double cfg_scale = 0;        // > 0: logits u + (cfg_scale + 1) (l - u), u with the prompt masked
  Remasking remasking = Remasking::kLowConfidence;
  bool logits_eos_inf = false;          // eos_id is never written
  bool confidence_eos_eot_inf = false;  // eos_id and eot_id are written last of all
  int64_t eos_id = -1, eot_id = -1;     // -1: none
  Stepped stepped = {};
};
Texts llada_generate(const Model& model, const Texts& prompts, const LladaOptions& options);

enum class DreamOrder {
  kOrigin,       // every position with probability revealed_share
  kMaskgitPlus,  // highest probability of the token first
  kTopkMargin,   // largest margin first
  kEntropy       // lowest entropy first
};

/// Dream: the whole canvas at once; step i writes revealed_count positions (the last step: all).
struct DreamOptions : DecodeOptions {
  int64_t steps = 128;
  double eps = 1e-3;
  DreamOrder order = DreamOrder::kOrigin;
  Sampling sampling;    // top_p before top_k
  double alg_temp = 0;  // > 0: positions drawn from softmax(confidence / alg_temp), without
                        // replacement
  Stepped stepped = {};
};
Texts dream_generate(const Model& model, const Texts& prompts, const DreamOptions& options);

/// A text with masks to be filled in greedily.
struct SurestOptions {
  int64_t mask_id = -1;
  int64_t micro_batch = 64;
  std::function<at::Tensor(size_t n)> gates = {};  // of n sequences; empty or undefined: all one
  std::function<void(double)> progress = {};       // after every step, with the share done
};

/// Fills in every mask_id of each text, one a step: the position whose best token is most probable
/// (ties to the lower position). The mask token itself is never written.
Texts fill_surest(const Model& model, Texts texts, const SurestOptions& options);

/// The best token of every supervised position (the lowest id on ties) and its probability, in
/// float32 (float64 of a float64 model: rounded to float32 too). `mask_id` (-1: none) is never the
/// best and takes no part in the probability.
struct BestToken {
  int32_t token = 0;
  float probability = 0;
};
std::vector<BestToken> best_tokens(const Model& model, const Batch& batch, const at::Tensor& gates,
                                   int64_t mask_id);

}  // namespace headcount::models
