// What every family of Hugging Face directories says of itself: how its config.json becomes a
// Config, and where a canonical weight lies in its files. A new family is one more row of
// families().
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/files/config.h"
#include "models/files/json_reader.h"

namespace headcount::models {

/// How a weight lies in the tensor that holds it.
enum class Lie {
  kWhole,
  kTransposed,      // stored [in, out] (GPT-2's Conv1D)
  kThirdOfColumns,  // one of three column blocks of a stored [in, 3 out], or of a bias [3 out]
  kHeadMajorThird   // stored [n_heads, 3, d_head, ...]: GPT-NeoX's fused queries, keys, values
};

/// The published name of a weight without the family's prefix, and how it lies there.
struct Stored {
  std::string name;
  Lie lie = Lie::kWhole;
  int64_t third = 0;  // which: 0 queries, 1 keys, 2 values
};

struct Family {
  std::string architecture;  // config.json's "architectures": ["LlamaForCausalLM"]
  std::string model_type;    // ... and "model_type", which decides
  /// Reads and checks the fields; refuses by name what is not computed.
  Config (*config)(const JsonReader& reader);
  /// The published name of a canonical weight ("layers.3.q").
  Stored (*stored)(const std::string& canonical);
  /// Prefixes names may have, the usual one first.
  std::vector<std::string> prefixes;
  bool head_has_prefix = false;  // usually the head stands beside the blocks' module
  /// Ends of the names of tensors that are no weights: masks and tables older programs stored.
  std::vector<std::string> buffers;
};

const std::vector<Family>& families();

/// The tables of the files family_*.cc.
Family llama_family();
Family mistral_family();
Family qwen2_family();
Family qwen3_family();
Family dream_family();
Family llada_family();
Family gpt2_family();
Family gptj_family();
Family gpt_neox_family();
Family opt_family();
Family tinydiff_family();

/// What every tinydiff model is, whatever its sizes; its heads have kTinydiffHead elements and its
/// weights come without a config.json.
void tinydiff_defaults(Config& config);
constexpr int64_t kTinydiffHead = 32;

/// "layers.3.q_bias" as {"3", "q_bias"}; "embedding" as {"", "embedding"}.
struct CanonicalName {
  std::string layer, part;
};
CanonicalName split(const std::string& canonical);

/// `part` without "_bias" and the suffix ".weight" or ".bias" it has in files.
struct PartName {
  std::string base, suffix;
};
PartName split_bias(const std::string& part);

/// Of hidden_act and its like: silu, swish, gelu, gelu_python, relu, relu2, and gelu_new,
/// gelu_fast, gelu_accurate, gelu_pytorch_tanh, gelu_python_tanh, which are one function.
Activation activation_of(const JsonReader& reader, const std::string& key,
                         const std::string& otherwise);

/// bos, eos (the first of a list), pad and stop ids under their usual keys; none where the
/// vocabulary has no such token.
void read_special_ids(const JsonReader& reader, Config& config);

/// "head_dim", else d_model / n_heads.
int64_t read_head_width(const JsonReader& reader, const Config& config);

/// rope_theta and rope_scaling, or rope_parameters, which newer releases write (none, default,
/// llama3). What stands in both places must agree.
void read_rope(const JsonReader& reader, Config& config);

/// The share of a head that turns: `key`, or partial_rotary_factor, there or in rope_parameters.
double read_rotary_share(const JsonReader& reader, const std::string& key, double otherwise);

/// Refuses a partial_rotary_factor, there or in rope_parameters, of a family that turns all of it.
void need_whole_rotary(const JsonReader& reader);

/// "layer_types", which newer releases write: full attention in the first layers, config.window in
/// all others, or in none.
void read_layer_types(const JsonReader& reader, Config& config);

}  // namespace headcount::models
