// Part of models/files/formats.h.
// Hugging Face directories: config.json chooses the family, whose table says which tensors of the
// checkpoint are which weights.
#include <algorithm>
#include <filesystem>

#include "models/files/checkpoint.h"
#include "models/files/families.h"
#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

namespace fs = std::filesystem;

std::string known_families() {
  std::string names;
  for (const Family& family : families()) names += (names.empty() ? "" : ", ") + family.model_type;
  return names;
}

const Family& family_of(const JsonReader& r) {
  const std::string type = r.text_or("model_type", "");
  const std::vector<std::string> architectures = r.texts("architectures");
  const auto is_named = [&](const Family& family) {
    return std::find(architectures.begin(), architectures.end(), family.architecture) !=
           architectures.end();
  };
  const auto found = std::find_if(families().begin(), families().end(), [&](const Family& family) {
    return r.has("model_type") ? family.model_type == type : is_named(family);
  });
  if (found == families().end()) {
    throw Error(r.file() + ": model_type \"" + type + "\" is not a family this program knows (" +
                known_families() + ")");
  }
  // A classifier or an encoder of the same type has other weights behind the blocks.
  r.need("architectures", architectures.empty() || is_named(*found));
  return *found;
}

/// Fields of other families of this kind, which some of these families' files carry without effect
/// when they have such a value, and with one in programs that are not their published code.
void refuse_what_none_computes(const JsonReader& r) {
  for (const char* key :
       {"quantization_config", "compression_config", "num_local_experts", "num_experts",
        "n_routed_experts", "moe_intermediate_size", "moe_num_experts", "kv_lora_rank",
        "attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar",
        "attention_multiplier", "embedding_multiplier", "residual_multiplier", "logits_scaling",
        "logit_scale", "attention_chunk_size", "no_rope_layers", "rope_local_base_freq"})
    r.need(key, !r.has(key));
  for (const char* key : {"is_encoder_decoder", "rope_interleaved", "use_qk_norm", "qk_layernorm",
                          "use_bidirectional_attention", "parallel_attn"})
    r.need(key, !r.flag_or(key, false));
  r.need("pruned_heads", r.object("pruned_heads").keys().empty());
}

/// generation_config.json may name more ids that end a text than config.json does.
void read_generation_config(const fs::path& directory, Config& c) {
  const std::string file = (directory / "generation_config.json").string();
  if (!is_there(file)) return;
  for (const int64_t id : JsonReader(file).ids("eos_token_id")) {
    const bool known = std::find(c.stop_ids.begin(), c.stop_ids.end(), id) != c.stop_ids.end();
    if (!known && id >= 0 && id < c.vocab_size) c.stop_ids.push_back(id);
  }
}

/// The directory itself where it holds a tokenizer of any format.
std::string tokenizer_in(const fs::path& directory) {
  for (const char* name : {"tokenizer.json", "vocab.json", "tokenizer.model", "vocab.txt"})
    if (is_there((directory / name).string())) return directory.string();
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error))
    if (entry.path().extension() == ".tiktoken") return directory.string();
  return "";
}

}  // namespace

ModelFiles open_huggingface(const std::string& directory) {
  const std::string config_file = (fs::path(directory) / "config.json").string();
  const JsonReader reader(config_file);
  const Family& family = family_of(reader);
  refuse_what_none_computes(reader);
  ModelFiles files;
  files.directory = directory;
  files.config = family.config(reader);
  reader.need("is_causal", reader.flag_or("is_causal", files.config.causal) == files.config.causal);
  check_shape(files.config, config_file);
  read_generation_config(directory, files.config);
  files.tokenizer = tokenizer_in(directory);
  place_weights(read_checkpoint(directory, family), config_file, files);
  return files;
}

ModelFiles open_bare_tinydiff(const std::string& directory, const std::string& file) {
  const Family& family = families().back();
  HC_CHECK(family.model_type == "tinydiff");
  const Checkpoint checkpoint = read_checkpoint_file(file, family);
  const auto shape = [&](const std::string& name) {
    const TensorPlace* const found = checkpoint.find(name);
    if (found == nullptr || found->shape.size() != 2) {
      throw Error(directory + " holds no config.json, and " + file +
                  " is no tinydiff model, which alone needs none: it lacks a matrix \"" + name +
                  "\"");
    }
    return found->shape;
  };
  ModelFiles files;
  files.directory = directory;
  Config& c = files.config;
  tinydiff_defaults(c);
  c.vocab_size = shape("token_emb.weight")[0];
  c.d_model = shape("token_emb.weight")[1];
  c.n_time_steps = shape("time_emb.weight")[0];
  c.d_mlp = shape("blocks.0.mlp.c_fc.weight")[0];
  c.d_head = kTinydiffHead;
  c.n_heads = c.n_kv_heads = c.d_model / kTinydiffHead;
  while (checkpoint.find("blocks." + std::to_string(c.n_layers) + ".attn.c_q.weight") != nullptr)
    ++c.n_layers;
  check_shape(c, file);
  place_weights(checkpoint, file, files);
  return files;
}

}  // namespace headcount::models
