// Part of models/files/families.h.
// The families with LayerNorm: GPT-2, GPT-J, GPT-NeoX (Pythia), OPT.
#include <map>

#include "models/files/families.h"
#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

void layer_norm(double eps, Config& c) {
  c.norm = NormKind::kLayer;
  c.norm_bias = true;
  c.norm_eps = eps;
  c.gated_mlp = false;
  c.mlp_bias = true;
  c.causal = true;
}

/// Of a size written under its own name and under the one that the published configuration takes
/// for the same, the later in the file would count: both must agree.
void need_one_value(const JsonReader& r) {
  for (const auto& [own, other] :
       {std::pair("n_layer", "num_hidden_layers"), std::pair("n_embd", "hidden_size"),
        std::pair("n_head", "num_attention_heads"),
        std::pair("n_positions", "max_position_embeddings")})
    r.need(other, !r.has(other) || r.integer(other) == r.integer(own));
}

/// GPT-2's and GPT-J's names of sizes.
Config gpt(const JsonReader& r) {
  need_one_value(r);
  Config c;
  c.n_layers = r.integer("n_layer");
  c.d_model = r.integer("n_embd");
  c.n_heads = c.n_kv_heads = r.integer("n_head");
  c.d_head = even_head(c, r.file());
  c.d_mlp = r.integer_or("n_inner", 4 * c.d_model);
  c.vocab_size = r.integer("vocab_size");
  c.max_positions = r.integer("n_positions");
  layer_norm(r.number_or("layer_norm_epsilon", 1e-5), c);
  c.activation = activation_of(r, "activation_function", "gelu_new");
  read_special_ids(r, c);
  r.need("add_cross_attention", !r.flag_or("add_cross_attention", false));
  r.need("scale_attn_weights", r.flag_or("scale_attn_weights", true));
  r.need("scale_attn_by_inverse_layer_idx", !r.flag_or("scale_attn_by_inverse_layer_idx", false));
  return c;
}

Config gpt2(const JsonReader& r) {
  Config c = gpt(r);
  c.family = "gpt2";
  c.d_rotary = 0;
  c.n_learned_positions = c.max_positions;
  c.qkv_bias = c.o_bias = true;
  c.tied_head = r.flag_or("tie_word_embeddings", true);
  return c;
}

Config gptj(const JsonReader& r) {
  Config c = gpt(r);
  c.family = "gptj";
  c.residual = Residual::kParallelOneNorm;
  c.rotary = RotaryStyle::kInterleaved;
  r.need("rotary_dim", !r.is_null("rotary_dim"));
  c.d_rotary = r.integer_or("rotary_dim", 64);
  r.need("rotary_dim", c.d_rotary > 0);
  c.tied_head = r.flag_or("tie_word_embeddings", false);
  c.head_bias = true;
  return c;
}

Config gpt_neox(const JsonReader& r) {
  Config c;
  c.family = "gpt_neox";
  c.n_layers = r.integer("num_hidden_layers");
  c.d_model = r.integer("hidden_size");
  c.n_heads = c.n_kv_heads = r.integer("num_attention_heads");
  c.d_head = even_head(c, r.file());
  c.d_mlp = r.integer("intermediate_size");
  c.vocab_size = r.integer("vocab_size");
  c.max_positions = r.integer("max_position_embeddings");
  layer_norm(r.number_or("layer_norm_eps", 1e-5), c);
  c.activation = activation_of(r, "hidden_act", "gelu");
  c.residual =
      r.flag_or("use_parallel_residual", true) ? Residual::kParallel : Residual::kSequential;
  c.qkv_bias = c.o_bias = r.flag_or("attention_bias", true);
  c.tied_head = r.flag_or("tie_word_embeddings", false);
  c.rope_theta = r.number_or("rotary_emb_base", 1e4);
  c.d_rotary = static_cast<int64_t>(static_cast<double>(c.d_head) *
                                    read_rotary_share(r, "rotary_pct", 0.25));
  read_rope(r, c);
  read_special_ids(r, c);
  return c;
}

Config opt(const JsonReader& r) {
  Config c;
  c.family = "opt";
  c.n_layers = r.integer("num_hidden_layers");
  c.d_model = r.integer("hidden_size");
  c.n_heads = c.n_kv_heads = r.integer("num_attention_heads");
  c.d_head = even_head(c, r.file());
  c.d_mlp = r.integer("ffn_dim");
  c.vocab_size = r.integer("vocab_size");
  c.max_positions = r.integer("max_position_embeddings");
  layer_norm(1e-5, c);
  const bool bias = r.flag_or("enable_bias", true);
  c.qkv_bias = c.o_bias = c.mlp_bias = bias;
  c.norm_weight = c.norm_bias = r.flag_or("layer_norm_elementwise_affine", true);
  c.activation = activation_of(r, "activation_function", "relu");
  c.tied_head = r.flag_or("tie_word_embeddings", true);
  c.d_rotary = 0;
  c.position_offset = 2;
  c.n_learned_positions = c.max_positions + c.position_offset;
  r.need("do_layer_norm_before", r.flag_or("do_layer_norm_before", true));
  r.need("_remove_final_layer_norm", !r.flag_or("_remove_final_layer_norm", false));
  r.need("word_embed_proj_dim", r.integer_or("word_embed_proj_dim", c.d_model) == c.d_model);
  read_special_ids(r, c);
  return c;
}

Stored stored_gpt2(const std::string& canonical) {
  const auto [layer, part] = split(canonical);
  const auto [base, suffix] = split_bias(part);
  if (canonical == "embedding") return {.name = "wte.weight"};
  if (canonical == "positions") return {.name = "wpe.weight"};
  if (canonical == "head") return {.name = "lm_head.weight"};
  if (base == "final_norm") return {.name = "ln_f" + suffix};
  const std::string root = "h." + layer + ".";
  if (base == "attn_norm") return {.name = root + "ln_1" + suffix};
  if (base == "mlp_norm") return {.name = root + "ln_2" + suffix};
  if (base == "q" || base == "k" || base == "v")
    return {.name = root + "attn.c_attn" + suffix,
            .lie = Lie::kThirdOfColumns,
            .third = base == "q"   ? 0
                     : base == "k" ? 1
                                   : 2};
  const std::string name = base == "o" ? "attn.c_proj" : base == "up" ? "mlp.c_fc" : "mlp.c_proj";
  return {.name = root + name + suffix,
          .lie = suffix == ".weight" ? Lie::kTransposed : Lie::kWhole};
}

Stored stored_gptj(const std::string& canonical) {
  static const std::map<std::string, std::string> kParts = {
      {"attn_norm", "ln_1"},  {"q", "attn.q_proj"}, {"k", "attn.k_proj"},  {"v", "attn.v_proj"},
      {"o", "attn.out_proj"}, {"up", "mlp.fc_in"},  {"down", "mlp.fc_out"}};
  const auto [layer, part] = split(canonical);
  const auto [base, suffix] = split_bias(part);
  if (canonical == "embedding") return {.name = "wte.weight"};
  if (base == "head") return {.name = "lm_head" + suffix};
  if (base == "final_norm") return {.name = "ln_f" + suffix};
  return {.name = "h." + layer + "." + kParts.at(base) + suffix};
}

Stored stored_gpt_neox(const std::string& canonical) {
  static const std::map<std::string, std::string> kParts = {
      {"attn_norm", "input_layernorm"},
      {"mlp_norm", "post_attention_layernorm"},
      {"o", "attention.dense"},
      {"up", "mlp.dense_h_to_4h"},
      {"down", "mlp.dense_4h_to_h"}};
  const auto [layer, part] = split(canonical);
  const auto [base, suffix] = split_bias(part);
  if (canonical == "embedding") return {.name = "embed_in.weight"};
  if (canonical == "head") return {.name = "embed_out.weight"};
  if (base == "final_norm") return {.name = "final_layer_norm" + suffix};
  const std::string root = "layers." + layer + ".";
  if (base == "q" || base == "k" || base == "v")
    return {.name = root + "attention.query_key_value" + suffix,
            .lie = Lie::kHeadMajorThird,
            .third = base == "q"   ? 0
                     : base == "k" ? 1
                                   : 2};
  return {.name = root + kParts.at(base) + suffix};
}

Stored stored_opt(const std::string& canonical) {
  static const std::map<std::string, std::string> kParts = {{"attn_norm", "self_attn_layer_norm"},
                                                            {"mlp_norm", "final_layer_norm"},
                                                            {"q", "self_attn.q_proj"},
                                                            {"k", "self_attn.k_proj"},
                                                            {"v", "self_attn.v_proj"},
                                                            {"o", "self_attn.out_proj"},
                                                            {"up", "fc1"},
                                                            {"down", "fc2"}};
  const auto [layer, part] = split(canonical);
  const auto [base, suffix] = split_bias(part);
  if (canonical == "embedding") return {.name = "embed_tokens.weight"};
  if (canonical == "positions") return {.name = "embed_positions.weight"};
  if (canonical == "head") return {.name = "lm_head.weight"};
  if (base == "final_norm") return {.name = "final_layer_norm" + suffix};
  return {.name = "layers." + layer + "." + kParts.at(base) + suffix};
}

}  // namespace

Family gpt2_family() {
  return {.architecture = "GPT2LMHeadModel",
          .model_type = "gpt2",
          .config = gpt2,
          .stored = stored_gpt2,
          .prefixes = {"transformer.", ""},
          .buffers = {".attn.bias", ".attn.masked_bias"}};
}

Family gptj_family() {
  return {.architecture = "GPTJForCausalLM",
          .model_type = "gptj",
          .config = gptj,
          .stored = stored_gptj,
          .prefixes = {"transformer.", ""},
          .buffers = {".attn.bias", ".attn.masked_bias"}};
}

Family gpt_neox_family() {
  return {
      .architecture = "GPTNeoXForCausalLM",
      .model_type = "gpt_neox",
      .config = gpt_neox,
      .stored = stored_gpt_neox,
      .prefixes = {"gpt_neox.", ""},
      .buffers = {".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"}};
}

Family opt_family() {
  return {.architecture = "OPTForCausalLM",
          .model_type = "opt",
          .config = opt,
          .stored = stored_opt,
          .prefixes = {"model.decoder.", "decoder.", ""},
          .buffers = {}};
}

}  // namespace headcount::models
