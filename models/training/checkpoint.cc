#include "models/training/checkpoint.h"

#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "models/files/safetensors.h"
#include "schemas/error.h"
#include "schemas/new_file.h"

namespace headcount::models::training {

namespace {

using Json = nlohmann::ordered_json;

std::string config_json(const Config& config) {
  const Json json = {{"architectures", {"LLaDAModelLM"}},
                     {"model_type", "llada"},
                     {"block_type", "llama"},
                     {"d_model", config.d_model},
                     {"n_layers", config.n_layers},
                     {"n_heads", config.n_heads},
                     {"n_kv_heads", config.n_kv_heads},
                     {"mlp_hidden_size", config.d_mlp},
                     {"mlp_ratio", 4},
                     {"vocab_size", config.vocab_size},
                     {"embedding_size", config.vocab_size},
                     {"max_sequence_length", config.max_positions},
                     {"layer_norm_type", "rms"},
                     {"layer_norm_with_affine", true},
                     {"rms_norm_eps", config.norm_eps},
                     {"rope", true},
                     {"rope_full_precision", true},
                     {"rope_theta", config.rope_theta},
                     {"activation_type", "silu"},
                     {"alibi", false},
                     {"attention_layer_norm", false},
                     {"include_bias", false},
                     {"include_qkv_bias", false},
                     {"bias_for_layer_norm", false},
                     {"input_emb_norm", false},
                     {"scale_logits", false},
                     {"weight_tying", false},
                     {"mask_token_id", config.mask_id},
                     {"bos_token_id", config.bos_id},
                     {"eos_token_id", config.eos_id},
                     {"pad_token_id", config.pad_id},
                     {"torch_dtype", "bfloat16"}};
  return json.dump(2) + "\n";
}

std::string safetensors(const Config& config, const std::vector<at::Tensor>& weights) {
  std::vector<TensorForm> forms;
  std::string data;
  size_t next = 0;
  for (const WeightShape& shape : weight_shapes(config)) {
    const at::Tensor narrow = weights[next++].to(at::kBFloat16).contiguous();
    HC_CHECK(narrow.sizes() == at::IntArrayRef(shape.shape));
    data.append(static_cast<const char*>(narrow.data_ptr()), narrow.nbytes());
    forms.push_back({published_name(config, shape.name), "BF16", shape.shape});
  }
  return safetensors_header(forms, {{"format", "pt"}}) + data;
}

}  // namespace

void save_llada(const Config& config, const std::vector<at::Tensor>& weights,
                const std::string& directory) {
  const at::NoGradGuard no_grad;
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) throw Error("cannot create the folder " + directory + ": " + failed.message());
  write_file(directory + "/model.safetensors", safetensors(config, weights));
  write_file(directory + "/config.json", config_json(config));
}

}  // namespace headcount::models::training
