// Llama and the families that are Llama with a difference: Mistral, Qwen2, Qwen3, Dream.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "models/files/families.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using nlohmann::json;

/// What all of them share.
Config llama_like(const JsonReader& r) {
  Config c;
  c.n_layers = r.integer("num_hidden_layers");
  c.d_model = r.integer("hidden_size");
  c.n_heads = r.integer("num_attention_heads");
  read_heads(r, "num_key_value_heads", c);
  c.d_mlp = r.integer("intermediate_size");
  c.vocab_size = r.integer("vocab_size");
  c.max_positions = r.integer("max_position_embeddings");
  c.norm_eps = r.number_or("rms_norm_eps", 1e-6);
  c.activation = activation_of(r, "hidden_act", "silu");
  c.tied_head = r.flag_or("tie_word_embeddings", false);
  c.causal = true;
  read_rope(r, c);
  read_special_ids(r, c);
  return c;
}

/// "use_sliding_window" with "max_window_layers": the layers from that one on have the window;
/// newer files list every layer's kind instead.
void read_window(const JsonReader& r, Config& c) {
  if (!r.flag_or("use_sliding_window", false) || !r.has("sliding_window")) return;
  c.window = r.integer("sliding_window");
  r.need("sliding_window", c.window >= 1);
  c.first_window_layer = r.integer_or("max_window_layers", c.n_layers);
  r.need("max_window_layers", c.first_window_layer >= 0);
}

Config llama(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "llama";
  c.qkv_bias = c.o_bias = r.flag_or("attention_bias", false);
  c.mlp_bias = r.flag_or("mlp_bias", false);
  return c;
}

Config mistral(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "mistral";
  c.window = r.integer_or("sliding_window", 0);
  r.need("sliding_window", c.window >= 0 && (!r.has("sliding_window") || c.window > 0));
  return c;
}

Config qwen2(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "qwen2";
  c.qkv_bias = true;
  read_window(r, c);
  return c;
}

Config qwen3(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "qwen3";
  c.d_head = r.integer_or("head_dim", 128);
  c.qkv_bias = c.o_bias = r.flag_or("attention_bias", false);
  c.qk_norm = true;
  read_window(r, c);
  return c;
}

Config dream(const JsonReader& r) {
  Config c = llama_like(r);
  c.family = "dream";
  c.qkv_bias = true;
  c.causal = false;
  c.shifted = true;
  r.need("use_sliding_window", !r.flag_or("use_sliding_window", false));
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
