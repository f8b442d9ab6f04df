// Part of models/files/families.h.
// Llama and the families that are Llama with a difference: Mistral, Qwen2, Qwen3, Dream.
#include <algorithm>
#include <map>

#include "models/files/families.h"
#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

/// What all of them share.
Config llama_like(const JsonReader& r) {
  Config c;
  c.n_layers = r.integer("num_hidden_layers");
  c.d_model = r.integer("hidden_size");
  c.n_heads = r.integer("num_attention_heads");
  c.n_kv_heads = r.integer_or("num_key_value_heads", c.n_heads);
  c.d_mlp = r.integer("intermediate_size");
  c.vocab_size = r.integer("vocab_size");
  c.max_positions = r.integer("max_position_embeddings");
  c.norm_eps = r.number_or("rms_norm_eps", 1e-6);
  c.activation = activation_of(r, "hidden_act", "silu");
  c.tied_head = r.flag_or("tie_word_embeddings", false);
  c.causal = true;
  read_rope(r, c);
  need_whole_rotary(r);
  read_special_ids(r, c);
  return c;
}

/// The families whose code reads no such field: biases in the file would be left out silently.
void need_no_bias(const JsonReader& r, std::initializer_list<const char*> keys) {
  for (const char* key : keys) r.need(key, !r.flag_or(key, false));
}

/// A published default where the field is absent; null has a meaning of its own.
int64_t integer_or_default(const JsonReader& r, const std::string& key, int64_t absent,
                           int64_t null) {
  return r.is_null(key) ? null : r.integer_or(key, absent);
}

/// The layers from "max_window_layers" on have the window, if "use_sliding_window" says so.
void read_window(const JsonReader& r, Config& c) {
  if (r.flag_or("use_sliding_window", false)) {
    c.window = integer_or_default(r, "sliding_window", 4096, 0);
    r.need("sliding_window", r.is_null("sliding_window") || c.window >= 1);
    c.first_window_layer = r.integer_or("max_window_layers", 28);
    r.need("max_window_layers", c.first_window_layer >= 0);
  }
  read_layer_types(r, c);
}

Config llama(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "llama";
  c.d_head = read_head_width(r, c);
  c.qkv_bias = c.o_bias = r.flag_or("attention_bias", false);
  c.mlp_bias = r.flag_or("mlp_bias", false);
  read_layer_types(r, c);
  return c;
}

Config mistral(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "mistral";
  c.d_head = read_head_width(r, c);
  c.n_kv_heads = integer_or_default(r, "num_key_value_heads", 8, c.n_heads);
  c.window = integer_or_default(r, "sliding_window", 4096, 0);
  r.need("sliding_window", r.is_null("sliding_window") || c.window >= 1);
  need_no_bias(r, {"attention_bias", "mlp_bias"});
  // Its code slides in every layer or in none.
  const int64_t window = c.window;
  read_layer_types(r, c);
  r.need("layer_types", c.window == window && c.first_window_layer == 0);
  return c;
}

Config qwen2(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "qwen2";
  c.d_head = read_head_width(r, c);
  c.n_kv_heads = integer_or_default(r, "num_key_value_heads", 32, c.n_heads);
  c.qkv_bias = true;
  need_no_bias(r, {"mlp_bias"});
  read_window(r, c);
  return c;
}

Config qwen3(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "qwen3";
  c.d_head = r.is_null("head_dim") ? even_head(c, r.file()) : r.integer_or("head_dim", 128);
  c.n_kv_heads = integer_or_default(r, "num_key_value_heads", 32, c.n_heads);
  c.qkv_bias = c.o_bias = r.flag_or("attention_bias", false);
  c.qk_norm = true;
  need_no_bias(r, {"mlp_bias"});
  read_window(r, c);
  return c;
}

Config dream(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "dream";
  c.n_kv_heads = integer_or_default(r, "num_key_value_heads", 32, c.n_heads);
  c.d_head = even_head(c, r.file());
  r.need("head_dim", r.integer_or("head_dim", c.d_head) == c.d_head);
  c.qkv_bias = true;
  c.causal = false;
  c.shifted = true;
  need_no_bias(r, {"mlp_bias"});
  r.need("use_sliding_window", !r.flag_or("use_sliding_window", false));
  read_layer_types(r, c);
  c.mask_id = r.integer("mask_token_id");
  r.need("mask_token_id", c.mask_id >= 0);
  return c;
}

Stored stored(const std::string& canonical) {
  static const std::map<std::string, std::string> kParts = {
      {"attn_norm", "input_layernorm"}, {"mlp_norm", "post_attention_layernorm"},
      {"q", "self_attn.q_proj"},        {"k", "self_attn.k_proj"},
      {"v", "self_attn.v_proj"},        {"o", "self_attn.o_proj"},
      {"q_norm", "self_attn.q_norm"},   {"k_norm", "self_attn.k_norm"},
      {"gate", "mlp.gate_proj"},        {"up", "mlp.up_proj"},
      {"down", "mlp.down_proj"}};
  if (canonical == "embedding") return {.name = "embed_tokens.weight"};
  if (canonical == "final_norm") return {.name = "norm.weight"};
  if (canonical == "head") return {.name = "lm_head.weight"};
  const auto [layer, part] = split(canonical);
  const auto [base, suffix] = split_bias(part);
  return {.name = "layers." + layer + "." + kParts.at(base) + suffix};
}

Family family(const std::string& architecture, const std::string& model_type,
              Config (*config)(const JsonReader&)) {
  return {.architecture = architecture,
          .model_type = model_type,
          .config = config,
          .stored = stored,
          .prefixes = {"model.", ""},
          .buffers = {".rotary_emb.inv_freq"}};
}

}  // namespace

Family llama_family() { return family("LlamaForCausalLM", "llama", llama); }
Family mistral_family() { return family("MistralForCausalLM", "mistral", mistral); }
Family qwen2_family() { return family("Qwen2ForCausalLM", "qwen2", qwen2); }
Family qwen3_family() { return family("Qwen3ForCausalLM", "qwen3", qwen3); }
Family dream_family() { return family("DreamModel", "Dream", dream); }

}  // namespace headcount::models
