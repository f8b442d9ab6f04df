// The shape of a model and where its weights lie, read from published layouts without LibTorch:
// Hugging Face directories (config.json + *.safetensors) and llama2.c version-0 directories (*.bin
// + tok*.bin).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace headcount::models {

enum class RotaryStyle {
  kHalfSplit,
  kInterleaved
};  // (i, i + d/2) pairs as LLaDA; (2i, 2i + 1) pairs as llama2.c

/// One transformer's differences as values. Shapes: q [n_heads * d_head, d_model], k and v
/// [n_kv_heads * d_head, d_model].
struct Config {
  std::string family;  // llada | llama2c
  int64_t n_layers = 0, n_heads = 0, n_kv_heads = 0;
  int64_t d_model = 0, d_head = 0, d_mlp = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;
  double norm_eps = 1e-5;
  double rope_theta = 1e4;
  RotaryStyle rotary = RotaryStyle::kHalfSplit;
  bool causal = false;     // false: bidirectional masked diffusion
  bool tied_head = false;  // the LM head is the token embedding
  int64_t mask_id = -1;    // of a masked diffusion model; -1: none
  int64_t bos_id = -1, eos_id = -1, pad_id = -1;
  bool masked() const { return mask_id >= 0; }
};

/// Where one weight's numbers are. `name` is the canonical one of weight_shapes ("layers.3.q").
struct TensorPlace {
  std::string name;
  std::string file;
  std::string dtype;  // F64 | F32 | BF16 | F16
  std::vector<int64_t> shape;
  uint64_t offset = 0, size_bytes = 0;
};

/// A model on disk: its shape, its weights' places (all checked: present, shaped as the config
/// says, inside their file).
struct ModelFiles {
  std::string directory;
  Config config;
  std::vector<TensorPlace> tensors;
  std::string tokenizer;  // path of a tokenizer file, or empty
};

/// A weight every model of this shape has: its canonical name and its shape, in the order
/// embedding, layers, final_norm, head (no head where tied).
struct WeightShape {
  std::string name;
  std::vector<int64_t> shape;
};
std::vector<WeightShape> weight_shapes(const Config& config);

/// The name LLaDA's published files give a weight ("layers.3.q":
/// "model.transformer.blocks.3.q_proj.weight").
std::string llada_name(const std::string& canonical);

/// Opens `path`: "builtin:NAME" (models/builtin/NAME, see builtin_directory) or a directory.
/// Throws Error, in one sentence naming the file, for anything missing, truncated, misshapen or of
/// an unknown family.
ModelFiles open_model(const std::string& path);

/// Copies the weight's size_bytes bytes, as they lie in the file, to `out`. Throws Error when the
/// file cannot give them any more.
void read_bytes(const TensorPlace& place, void* out);

/// Hex SHA-256 over the config and every weight's name, dtype, shape and bytes. Cached in memory by
/// (file, size, mtime).
std::string fingerprint(const ModelFiles& files);

/// $HEADCOUNT_BUILTIN, else models/builtin beside the program's source or installation.
std::string builtin_directory();

}  // namespace headcount::models
