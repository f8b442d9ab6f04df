// Part of models/files/families.h.
// LLaDA (an OLMo-style block, bidirectional) and tinydiff (weightless norms, squared ReLU, a table
// of noise levels): the masked-diffusion families with names of their own.
#include <map>

#include "models/files/families.h"
#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

/// The published code's defaults of these fields describe another block than the one it is
/// published with, so they must be there.
void need_llama_block(const JsonReader& r) {
  r.need("block_type", r.text_or("block_type", "") == "llama");
  r.need("rope", r.flag_or("rope", false));
  r.need("block_group_size", r.integer_or("block_group_size", 1) == 1);
  for (const char* key : {"alibi", "scale_logits", "input_emb_norm", "attention_layer_norm"})
    r.need(key, !r.flag_or(key, false));
  r.need("clip_qkv", !r.has("clip_qkv"));
  r.need("rope_scaling", !r.has("rope_scaling"));
}

void read_llada_norm(const JsonReader& r, bool bias, Config& c) {
  const std::string type = r.text_or("layer_norm_type", "");
  r.need("layer_norm_type", type == "rms" || type == "default");
  c.norm = type == "rms" ? NormKind::kRms : NormKind::kLayer;
  c.norm_eps = type == "rms" ? r.number_or("rms_norm_eps", 1e-5) : 1e-5;
  c.norm_weight = r.flag_or("layer_norm_with_affine", true);
  c.norm_bias = c.norm_weight && r.flag_or("bias_for_layer_norm", bias);
}

int64_t llada_kv_heads(const JsonReader& r, const Config& c) {
  const int64_t queries = r.flag_or("multi_query_attention", false) ? 1 : c.n_heads;
  const int64_t given = r.integer_or("n_kv_heads", queries);
  if (r.has("multi_query_attention")) r.need("multi_query_attention", given == queries);
  return given;
}

Config llada(const JsonReader& r) {
  need_llama_block(r);
  Config c;
  c.family = "llada";
  c.n_layers = r.integer("n_layers");
  c.n_heads = r.integer("n_heads");
  c.n_kv_heads = llada_kv_heads(r, c);
  c.d_model = r.integer("d_model");
  c.d_head = even_head(c, r.file());
  const double ratio = r.number_or("mlp_ratio", 4);
  r.need("mlp_ratio", ratio > 0 && ratio < 1e3);
  c.d_mlp =
      r.integer_or("mlp_hidden_size", static_cast<int64_t>(ratio * static_cast<double>(c.d_model)));
  c.vocab_size = r.integer_or("embedding_size", r.integer("vocab_size"));
  r.need("embedding_size", c.vocab_size >= r.integer("vocab_size"));
  c.max_positions = r.integer("max_sequence_length");
  c.rope_theta = r.number_or("rope_theta", 1e4);
  c.activation = activation_of(r, "activation_type", "missing");
  const bool bias = r.flag_or("include_bias", false);
  read_llada_norm(r, bias, c);
  c.o_bias = c.mlp_bias = bias;
  c.qkv_bias = bias || r.flag_or("include_qkv_bias", false);
  r.need("weight_tying", r.has("weight_tying"));
  c.tied_head = r.flag_or("weight_tying", false);
  c.head_bias = bias && !c.tied_head;
  c.mask_id = r.integer("mask_token_id");
  r.need("mask_token_id", c.mask_id >= 0);
  read_special_ids(r, c);
  return c;
}

Config tinydiff(const JsonReader& r) {
  Config c;
  tinydiff_defaults(c);
  c.n_layers = r.integer("n_layers");
  c.n_heads = c.n_kv_heads = r.integer("n_heads");
  c.d_model = r.integer("d_model");
  c.d_head = even_head(c, r.file());
  c.d_mlp = r.integer("d_mlp");
  c.vocab_size = r.integer("vocab_size");
  c.max_positions = r.integer("max_positions");
  c.n_time_steps = r.integer("n_time_steps");
  c.norm_eps = r.number_or("norm_eps", c.norm_eps);
  c.mask_id = r.integer("mask_token_id");
  r.need("mask_token_id", c.mask_id >= 0);
  return c;
}

Stored stored_llada(const std::string& canonical) {
  static const std::map<std::string, std::string> kParts = {
      {"attn_norm", "attn_norm"}, {"q", "q_proj"},         {"k", "k_proj"},     {"v", "v_proj"},
      {"o", "attn_out"},          {"mlp_norm", "ff_norm"}, {"gate", "ff_proj"}, {"up", "up_proj"},
      {"down", "ff_out"}};
  const auto [layer, part] = split(canonical);
  const auto [base, suffix] = split_bias(part);
  if (canonical == "embedding") return {.name = "wte.weight"};
  if (base == "final_norm") return {.name = "ln_f" + suffix};
  if (base == "head") return {.name = "ff_out" + suffix};
  return {.name = "blocks." + layer + "." + kParts.at(base) + suffix};
}

Stored stored_tinydiff(const std::string& canonical) {
  static const std::map<std::string, std::string> kParts = {
      {"q", "attn.c_q"},    {"k", "attn.c_k"},  {"v", "attn.c_v"},
      {"o", "attn.c_proj"}, {"up", "mlp.c_fc"}, {"down", "mlp.c_proj"}};
  if (canonical == "embedding") return {.name = "token_emb.weight"};
  if (canonical == "times") return {.name = "time_emb.weight"};
  if (canonical == "head") return {.name = "output_head.weight"};
  const auto [layer, part] = split(canonical);
  return {.name = "blocks." + layer + "." + kParts.at(part) + ".weight"};
}

}  // namespace

void tinydiff_defaults(Config& c) {
  c.family = "tinydiff";
  c.max_positions = 256;
  c.norm_eps = 0x1p-23;  // of float32
  c.norm_weight = false;
  c.embedding_norm = true;
  c.rotary_backwards = true;
  c.qk_norm = true;
  c.qk_norm_weight = false;
  c.gated_mlp = false;
  c.activation = Activation::kReluSquared;
  c.mask_id = 0;
}

Family llada_family() {
  return {.architecture = "LLaDAModelLM",
          .model_type = "llada",
          .config = llada,
          .stored = stored_llada,
          .prefixes = {"model.transformer.", "transformer.", ""},
          .head_has_prefix = true,
          .buffers = {}};
}

Family tinydiff_family() {
  return {.architecture = "TinyDiff",
          .model_type = "tinydiff",
          .config = tinydiff,
          .stored = stored_tinydiff,
          .prefixes = {""},
          .buffers = {}};
}

}  // namespace headcount::models
