// The shape of a model and where its weights lie, read from published layouts without LibTorch:
// Hugging Face directories (config.json + *.safetensors) and llama2.c version-0 directories (*.bin
// + tok*.bin).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace headcount::models {

/// Which elements of a head turn together: (i, i + d/2) as Llama and LLaDA, or (2i, 2i + 1) as
/// GPT-J.
enum class RotaryStyle { kHalfSplit, kInterleaved };

enum class NormKind {
  kRms,   // x / rms(x)
  kLayer  // (x - mean(x)) / standard deviation(x)
};

enum class Activation { kSilu, kGelu /* exact, erf */, kGeluTanh, kRelu, kReluSquared };

/// How attention and MLP of a block meet the residual stream.
enum class Residual {
  kSequential,      // x += attn(norm(x)); x += mlp(norm'(x))
  kParallel,        // x += attn(norm(x)) + mlp(norm'(x))     (GPT-NeoX)
  kParallelOneNorm  // x += attn(norm(x)) + mlp(norm(x))      (GPT-J)
};

/// Llama 3.1's scaling of rotary frequencies ("rope_type": "llama3"): wavelengths above
/// original_positions / low_freq_factor are stretched by `factor`, those below original_positions /
/// high_freq_factor kept, between them a smooth band.
struct RopeScaling {
  double factor = 1;  // 1: none
  double low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_positions = 0;
};

/// One transformer's differences as values; the defaults are Llama's. Shapes of the weights:
/// weight_shapes.
struct Config {
  std::string family;  // llada | dream | llama | mistral | qwen2 | qwen3 | gpt2 | gpt_neox | opt |
                       // gptj | tinydiff | llama2c
  int64_t n_layers = 0, n_heads = 0, n_kv_heads = 0;
  int64_t d_model = 0, d_head = 0, d_mlp = 0;
  int64_t vocab_size = 0;  // rows of the embedding and of the head
  int64_t max_positions = 0;

  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-5;
  bool norm_weight = true, norm_bias = false;
  bool embedding_norm = false;  // one more norm, without weights, behind the embedding (tinydiff)

  int64_t n_learned_positions = 0;  // rows of a learned position table; 0: none
  int64_t position_offset = 0;      // row of position 0 in it (OPT: 2)
  int64_t n_time_steps = 0;         // rows of a learned table of noise levels; 0: none (tinydiff)

  int64_t d_rotary = -1;  // leading elements of a head that turn; 0: none, -1: all of them
  double rope_theta = 1e4;
  RotaryStyle rotary = RotaryStyle::kHalfSplit;
  bool rotary_backwards = false;  // by the negative angle (tinydiff)
  RopeScaling rope_scaling;

  bool qkv_bias = false, o_bias = false;
  bool qk_norm = false;        // RMS norm of each head's q and k before they turn, with norm_eps;
  bool qk_norm_weight = true;  // with a weight [d_head]
  int64_t window = 0;          // a query sees this many keys up to its own; 0: all of them
  int64_t first_window_layer = 0;  // layers before it have no window

  Residual residual = Residual::kSequential;
  Activation activation = Activation::kSilu;
  bool gated_mlp = true;  // down(act(gate(x)) * up(x)); else down(act(up(x)))
  bool mlp_bias = false;

  bool causal = false;     // false: bidirectional masked diffusion
  bool shifted = false;    // of a masked model: the logit at j predicts token j + 1 (Dream)
  bool tied_head = false;  // the LM head is the token embedding
  bool head_bias = false;
  int64_t mask_id = -1;  // of a masked diffusion model; -1: none
  int64_t bos_id = -1, eos_id = -1, pad_id = -1;
  std::vector<int64_t> stop_ids;  // all end-of-text ids of config.json, eos_id among them
  bool masked() const { return mask_id >= 0; }
  int64_t n_turning() const { return d_rotary < 0 ? d_head : d_rotary; }
  /// Keys a query of this layer sees, its own included; 0: all.
  int64_t window_of(int64_t layer) const { return layer < first_window_layer ? 0 : window; }
};

/// Where one weight's numbers are. They lie in the file as a strided view: element (i, j, ...) of
/// `sizes` at `offset` + dtype size * (i * strides[0] + j * strides[1] + ...); read in row-major
/// order the view is the weight of shape `shape`. So a weight stored transposed or inside a fused
/// one needs no copy of its own.
struct TensorPlace {
  std::string name = {};    // canonical: one of weight_shapes
  std::string stored = {};  // the name it, or the tensor it is a part of, has in the file
  std::string file = {};
  std::string dtype = {};                         // F64 | F32 | BF16 | F16
  std::vector<int64_t> shape = {};                // canonical
  std::vector<int64_t> sizes = {}, strides = {};  // in elements; no strides: row-major without gaps
  uint64_t offset = 0;                            // of the first element
  uint64_t size_bytes = 0;  // from the first element's first byte to the last one's last
};

/// A model on disk: its shape, its weights' places (all checked: present, shaped as the config
/// says, inside their file).
struct ModelFiles {
  std::string directory;
  Config config;
  std::vector<TensorPlace> tensors;     // in the order of weight_shapes
  std::vector<std::string> extra = {};  // names of tensors in the files that are no weights of it
  std::string tokenizer;                // path of a tokenizer file, or empty
};

/// A weight every model of this shape has: its canonical name and its shape. In order, where the
/// config has them: embedding [vocab_size, d_model], positions [n_learned_positions, d_model],
/// times [n_time_steps, d_model]; of each layer "layers.N." + attn_norm, attn_norm_bias, q [n_heads
/// * d_head, d_model], k, v [n_kv_heads * d_head, d_model], q_bias, k_bias, v_bias, q_norm, k_norm
/// [d_head], o [d_model, n_heads * d_head], o_bias, mlp_norm, mlp_norm_bias, gate, up [d_mlp,
/// d_model], gate_bias, up_bias, down [d_model, d_mlp], down_bias; final_norm, final_norm_bias,
/// head [vocab_size, d_model] (none where tied), head_bias.
struct WeightShape {
  std::string name;
  std::vector<int64_t> shape;
};
std::vector<WeightShape> weight_shapes(const Config& config);

/// The name the files of config.family usually give a weight (of a llada "layers.3.q":
/// "model.transformer.blocks.3.q_proj.weight"). Weights stored inside another have that one's name.
std::string published_name(const Config& config, const std::string& canonical);

/// Opens `path`: "builtin:NAME" (models/builtin/NAME, see builtin_directory) or a directory.
/// Throws Error, in one sentence naming the file, for anything missing, truncated, misshapen or of
/// an unknown family.
ModelFiles open_model(const std::string& path);

/// Hex SHA-256 over the config and every weight's name, dtype, shape and bytes, so that one file
/// and its shards have the same. Kept by path, size, time of change and inode, in memory and in
/// $HEADCOUNT_CACHE (else $XDG_CACHE_HOME/headcount, else ~/.cache/headcount).
std::string fingerprint(const ModelFiles& files);

/// $HEADCOUNT_BUILTIN, else models/builtin beside the program's source or installation.
std::string builtin_directory();

}  // namespace headcount::models
