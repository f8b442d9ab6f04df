// Names, layouts and config.json of every family, as its published code has them.
#include "models/published_test.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "models/files/safetensors.h"
#include "schemas/new_file.h"
#include "schemas/philox.h"

namespace headcount::models {
namespace {

using nlohmann::json;

/// Whole numbers from a seed.
class Dice {
 public:
  explicit Dice(uint64_t seed) : seed_(seed) {}
  int64_t below(int64_t n) {
    return static_cast<int64_t>(random_bits(seed_, Purpose::kTraining, 0, 0, next_++) %
                                static_cast<uint64_t>(n));
  }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool coin() { return below(2) == 1; }
  template <class T>
  T of(const std::vector<T>& values) {
    return values[static_cast<size_t>(below(static_cast<int64_t>(values.size())))];
  }

 private:
  uint64_t seed_;
  uint32_t next_ = 0;
};

bool is(const Config& c, std::initializer_list<const char*> families) {
  for (const char* family : families) {
    if (c.family == family) return true;
  }
  return false;
}

bool like_llama(const Config& c) { return is(c, {"llama", "mistral", "qwen2", "qwen3", "dream"}); }

/// The families whose code has no fields for these.
void layer_norm_family(Config& c, Dice& dice) {
  c.norm = NormKind::kLayer;
  c.norm_bias = true;
  c.gated_mlp = false;
  c.mlp_bias = true;
  c.causal = true;
  if (is(c, {"gpt2", "opt"})) {
    c.d_rotary = 0;
    c.qkv_bias = c.o_bias = true;
    c.activation = c.family == "opt" ? Activation::kRelu : Activation::kGeluTanh;
    c.position_offset = c.family == "opt" ? 2 : 0;
    c.n_learned_positions = c.max_positions + c.position_offset;
  }
  if (c.family == "opt") {
    c.norm_eps = 1e-5;
    c.qkv_bias = c.o_bias = c.mlp_bias = dice.coin();
    c.norm_weight = c.norm_bias = dice.coin();
  }
  if (c.family == "gptj") {
    c.residual = Residual::kParallelOneNorm;
    c.rotary = RotaryStyle::kInterleaved;
    c.activation = Activation::kGeluTanh;
    c.d_rotary = 2 * dice.between(1, c.d_head / 2);
    c.rope_theta = 1e4;
    c.head_bias = true;
  }
  if (c.family == "gpt_neox") {
    c.residual = dice.coin() ? Residual::kParallel : Residual::kSequential;
    c.activation = dice.coin() ? Activation::kGelu : Activation::kGeluTanh;
    c.d_rotary = 2 * dice.between(1, c.d_head / 2);
    c.qkv_bias = c.o_bias = dice.coin();
  }
}

void rms_norm_family(Config& c, Dice& dice) {
  c.causal = like_llama(c) && c.family != "dream";
  if (is(c, {"qwen2", "dream"})) c.qkv_bias = true;
  if (is(c, {"llama", "qwen3"})) c.qkv_bias = c.o_bias = dice.coin();
  if (c.family == "llama") {
    c.mlp_bias = dice.coin();
    if (dice.coin()) c.rope_scaling = {4, 1, 3, 16};
  }
  if (c.family == "llada") {
    c.qkv_bias = dice.coin();
    c.o_bias = c.mlp_bias = c.qkv_bias && dice.coin();
    c.head_bias = c.o_bias && !c.tied_head;
  }
  if (c.family == "qwen3") c.qk_norm = true;
  if (c.family == "mistral" && dice.coin()) c.window = dice.between(1, 20);
  if (is(c, {"qwen2", "qwen3"}) && dice.coin()) {
    c.window = dice.between(1, 20);
    c.first_window_layer = dice.between(0, c.n_layers);
  }
  if (c.family == "dream") c.shifted = true;
  if (!c.causal) c.mask_id = dice.below(c.vocab_size);
}

/// The published name of a weight's module, with no ".weight" or ".bias".
std::string module_of(const Config& c, const std::string& layer, const std::string& part) {
  using Names = std::map<std::string, std::string>;
  static const Names llama = {
      {"attn_norm", "input_layernorm"}, {"mlp_norm", "post_attention_layernorm"},
      {"q", "self_attn.q_proj"},        {"k", "self_attn.k_proj"},
      {"v", "self_attn.v_proj"},        {"o", "self_attn.o_proj"},
      {"q_norm", "self_attn.q_norm"},   {"k_norm", "self_attn.k_norm"},
      {"gate", "mlp.gate_proj"},        {"up", "mlp.up_proj"},
      {"down", "mlp.down_proj"}};
  static const Names opt = {{"attn_norm", "self_attn_layer_norm"},
                            {"mlp_norm", "final_layer_norm"},
                            {"q", "self_attn.q_proj"},
                            {"k", "self_attn.k_proj"},
                            {"v", "self_attn.v_proj"},
                            {"o", "self_attn.out_proj"},
                            {"up", "fc1"},
                            {"down", "fc2"}};
  static const Names gpt2 = {{"attn_norm", "ln_1"}, {"mlp_norm", "ln_2"}, {"qkv", "attn.c_attn"},
                             {"o", "attn.c_proj"},  {"up", "mlp.c_fc"},   {"down", "mlp.c_proj"}};
  static const Names gptj = {{"attn_norm", "ln_1"}, {"q", "attn.q_proj"},   {"k", "attn.k_proj"},
                             {"v", "attn.v_proj"},  {"o", "attn.out_proj"}, {"up", "mlp.fc_in"},
                             {"down", "mlp.fc_out"}};
  static const Names neox = {
      {"attn_norm", "input_layernorm"},     {"mlp_norm", "post_attention_layernorm"},
      {"qkv", "attention.query_key_value"}, {"o", "attention.dense"},
      {"up", "mlp.dense_h_to_4h"},          {"down", "mlp.dense_4h_to_h"}};
  static const Names llada = {{"attn_norm", "attn_norm"},
                              {"mlp_norm", "ff_norm"},
                              {"q", "q_proj"},
                              {"k", "k_proj"},
                              {"v", "v_proj"},
                              {"o", "attn_out"},
                              {"gate", "ff_proj"},
                              {"up", "up_proj"},
                              {"down", "ff_out"}};
  struct Family {
    std::string root, layers, embedding, positions, final_norm, head;
    Names parts;
  };
  const Family f =
      c.family == "opt" ? Family{"model.decoder.",
                                 "layers.",
                                 "embed_tokens",
                                 "embed_positions",
                                 "final_layer_norm",
                                 "lm_head",
                                 opt}
      : c.family == "llada"
          ? Family{"model.transformer.", "blocks.", "wte", "", "ln_f", "ff_out", llada}
      : c.family == "gpt2" ? Family{"transformer.", "h.", "wte", "wpe", "ln_f", "lm_head", gpt2}
      : c.family == "gptj" ? Family{"transformer.", "h.", "wte", "", "ln_f", "lm_head", gptj}
      : c.family == "gpt_neox"
          ? Family{"gpt_neox.", "layers.", "embed_in", "", "final_layer_norm", "embed_out", neox}
          : Family{"model.", "layers.", "embed_tokens", "", "norm", "lm_head", llama};
  if (part == "head") return f.head;
  if (part == "embedding") return f.root + f.embedding;
  if (part == "positions") return f.root + f.positions;
  if (part == "final_norm") return f.root + f.final_norm;
  return f.root + f.layers + layer + "." + f.parts.at(part);
}

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Queries, keys and values as GPT-2 ([in, 3 out]) and GPT-NeoX ([heads, 3, d_head, in]) fuse them.
at::Tensor fused(const Config& c, const std::vector<at::Tensor>& three) {
  if (c.family == "gpt2") {
    const at::Tensor rows = at::cat(three);
    return rows.dim() == 2 ? rows.t() : rows;
  }
  std::vector<at::Tensor> parts;
  for (const at::Tensor& t : three)
    parts.push_back(t.unflatten(0, at::IntArrayRef({c.n_heads, c.d_head})));
  return at::stack(parts, 1).flatten(0, 2);
}

Tensors published_tensors(const Config& c, const std::vector<at::Tensor>& weights) {
  Tensors all;
  std::vector<at::Tensor> three;
  const std::vector<WeightShape> shapes = weight_shapes(c);
  for (size_t i = 0; i < shapes.size(); ++i) {
    const std::string& name = shapes[i].name;
    const size_t dot = name.rfind('.');
    const std::string layer = dot == std::string::npos ? "" : name.substr(7, dot - 7);
    std::string part = name.substr(dot + 1), suffix = ".weight";
    if (part.ends_with("_bias")) part.resize(part.size() - 5), suffix = ".bias";
    at::Tensor value = weights[i];
    if (is(c, {"gpt2", "gpt_neox"}) && (part == "q" || part == "k" || part == "v")) {
      three.push_back(value);
      if (three.size() < 3) continue;
      value = fused(c, three);
      three.clear();
      part = "qkv";
    } else if (c.family == "gpt2" && !layer.empty() && value.dim() == 2) {
      value = value.t();
    }
    all.emplace_back(module_of(c, layer, part) + suffix, value);
  }
  return all;
}

const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_new";
    case Activation::kRelu:
      return "relu";
    case Activation::kReluSquared:
      return "relu2";
  }
  return "";
}

json llama_config(const Config& c) {
  json j = {{"hidden_size", c.d_model},
            {"intermediate_size", c.d_mlp},
            {"num_hidden_layers", c.n_layers},
            {"num_attention_heads", c.n_heads},
            {"num_key_value_heads", c.n_kv_heads},
            {"max_position_embeddings", c.max_positions},
            {"rms_norm_eps", c.norm_eps},
            {"rope_theta", c.rope_theta},
            {"hidden_act", "silu"},
            {"tie_word_embeddings", c.tied_head},
            {"rope_scaling", nullptr}};
  if (c.d_head * c.n_heads != c.d_model || c.family == "qwen3") j["head_dim"] = c.d_head;
  if (is(c, {"llama", "qwen3"})) j["attention_bias"] = c.qkv_bias;
  if (c.family == "llama") j["mlp_bias"] = c.mlp_bias;
  if (c.rope_scaling.factor != 1)
    j["rope_scaling"] = {{"rope_type", "llama3"},
                         {"factor", c.rope_scaling.factor},
                         {"low_freq_factor", c.rope_scaling.low_freq_factor},
                         {"high_freq_factor", c.rope_scaling.high_freq_factor},
                         {"original_max_position_embeddings", c.rope_scaling.original_positions}};
  if (c.family == "mistral") j["sliding_window"] = c.window > 0 ? json(c.window) : json(nullptr);
  if (is(c, {"qwen2", "qwen3", "dream"})) {
    j["use_sliding_window"] = c.window > 0;
    j["sliding_window"] = c.window > 0 ? c.window : 7;
    j["max_window_layers"] = c.first_window_layer;
  }
  return j;
}

json llada_config(const Config& c) {
  return {{"d_model", c.d_model},
          {"n_heads", c.n_heads},
          {"n_kv_heads", c.n_kv_heads},
          {"n_layers", c.n_layers},
          {"mlp_hidden_size", c.d_mlp},
          {"embedding_size", c.vocab_size},
          {"vocab_size", std::max<int64_t>(c.mask_id + 1, c.vocab_size - 3)},
          {"max_sequence_length", c.max_positions},
          {"rms_norm_eps", c.norm_eps},
          {"rope_theta", c.rope_theta},
          {"weight_tying", c.tied_head},
          {"activation_type", "silu"},
          {"block_type", "llama"},
          {"layer_norm_type", "rms"},
          {"rope", true},
          {"alibi", false},
          {"include_bias", c.o_bias},
          {"bias_for_layer_norm", false},
          {"include_qkv_bias", c.qkv_bias}};
}

json gpt_config(const Config& c) {
  json j = {{"n_embd", c.d_model},
            {"n_head", c.n_heads},
            {"n_layer", c.n_layers},
            {"n_inner", c.d_mlp == 4 * c.d_model ? json(nullptr) : json(c.d_mlp)},
            {"n_positions", c.max_positions},
            {"layer_norm_epsilon", c.norm_eps},
            {"activation_function", name_of(c.activation)},
            {"tie_word_embeddings", c.tied_head}};
  if (c.family == "gptj") j["rotary_dim"] = c.d_rotary;
  return j;
}

json neox_config(const Config& c) {
  return {{"hidden_size", c.d_model},
          {"intermediate_size", c.d_mlp},
          {"num_hidden_layers", c.n_layers},
          {"num_attention_heads", c.n_heads},
          {"max_position_embeddings", c.max_positions},
          {"layer_norm_eps", c.norm_eps},
          {"rotary_emb_base", c.rope_theta},
          {"rotary_pct", static_cast<double>(c.d_rotary) / static_cast<double>(c.d_head)},
          {"hidden_act", name_of(c.activation)},
          {"use_parallel_residual", c.residual == Residual::kParallel},
          {"attention_bias", c.qkv_bias},
          {"tie_word_embeddings", c.tied_head}};
}

json opt_config(const Config& c) {
  return {{"hidden_size", c.d_model},
          {"ffn_dim", c.d_mlp},
          {"num_hidden_layers", c.n_layers},
          {"num_attention_heads", c.n_heads},
          {"max_position_embeddings", c.max_positions},
          {"activation_function", name_of(c.activation)},
          {"do_layer_norm_before", true},
          {"word_embed_proj_dim", c.d_model},
          {"enable_bias", c.qkv_bias},
          {"layer_norm_elementwise_affine", c.norm_weight},
          {"tie_word_embeddings", c.tied_head}};
}

json config_json(const Config& c) {
  static const std::map<std::string, std::pair<const char*, const char*>> kNames = {
      {"llama", {"LlamaForCausalLM", "llama"}},
      {"mistral", {"MistralForCausalLM", "mistral"}},
      {"qwen2", {"Qwen2ForCausalLM", "qwen2"}},
      {"qwen3", {"Qwen3ForCausalLM", "qwen3"}},
      {"dream", {"DreamModel", "Dream"}},
      {"llada", {"LLaDAModelLM", "llada"}},
      {"gpt2", {"GPT2LMHeadModel", "gpt2"}},
      {"gptj", {"GPTJForCausalLM", "gptj"}},
      {"gpt_neox", {"GPTNeoXForCausalLM", "gpt_neox"}},
      {"opt", {"OPTForCausalLM", "opt"}}};
  json j = c.family == "llada"      ? llada_config(c)
           : like_llama(c)          ? llama_config(c)
           : c.family == "gpt_neox" ? neox_config(c)
           : c.family == "opt"      ? opt_config(c)
                                    : gpt_config(c);
  j["architectures"] = {kNames.at(c.family).first};
  j["model_type"] = kNames.at(c.family).second;
  if (!j.contains("vocab_size")) j["vocab_size"] = c.vocab_size;
  if (c.mask_id >= 0) j["mask_token_id"] = c.mask_id;
  return j;
}

std::string stored_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble     ? "F64"
         : dtype == at::kFloat    ? "F32"
         : dtype == at::kBFloat16 ? "BF16"
                                  : "F16";
}

void write_safetensors(const Tensors& tensors, const std::string& file) {
  std::vector<TensorForm> forms;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor rows = tensor.contiguous();
    data.append(static_cast<const char*>(rows.data_ptr()), rows.nbytes());
    forms.push_back({name, stored_dtype(rows.scalar_type()), rows.sizes().vec()});
  }
  write_file(file, safetensors_header(forms, {{"format", "pt"}}) + data);
}

}  // namespace

const std::vector<std::string>& published_families() {
  static const std::vector<std::string> all = {"llama", "mistral", "qwen2", "qwen3",    "dream",
                                               "llada", "gpt2",    "gptj",  "gpt_neox", "opt"};
  return all;
}

Config family_config(const std::string& family, uint64_t seed) {
  Dice dice(seed);
  Config c;
  c.family = family;
  c.n_layers = dice.between(1, 3);
  c.n_kv_heads = dice.between(1, 3);
  c.n_heads = c.n_kv_heads * dice.between(1, 4);
  c.d_head = 2 * dice.between(2, 6);
  c.d_model = c.n_heads * c.d_head;
  if (is(c, {"llama", "mistral", "qwen3"}) && dice.coin()) c.d_model = dice.between(7, 50);
  c.d_mlp = dice.between(5, 60);
  c.vocab_size = 2 * dice.between(15, 50) + 1;
  c.max_positions = 64;
  c.norm_eps = dice.of<double>({1e-5, 1e-6, 1e-3});
  c.rope_theta = dice.of<double>({1e4, 5e5, 1e6});
  c.tied_head = dice.coin();
  if (like_llama(c) || family == "llada") {
    rms_norm_family(c, dice);
  } else {
    c.n_kv_heads = c.n_heads;
    layer_norm_family(c, dice);
  }
  return c;
}

std::vector<at::Tensor> random_weights(const Config& config, uint64_t seed) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  std::vector<at::Tensor> weights;
  for (const auto& [name, shape] : weight_shapes(config)) {
    at::Tensor weight = at::randn(shape, generator, at::TensorOptions(at::kDouble));
    if (name.ends_with("norm")) weight = 1 + 0.3 * weight;
    if (name.ends_with("_bias")) weight = 0.3 * weight;
    const bool looked_up = name == "embedding" || name == "positions";
    if (shape.size() == 2 && !looked_up)
      weight = weight * (1.5 / std::sqrt(static_cast<double>(shape[1])));
    weights.push_back(weight);
  }
  return weights;
}

void publish(const Config& config, const std::vector<at::Tensor>& weights,
             const std::string& directory, int64_t n_files) {
  std::filesystem::create_directories(directory);
  std::ofstream(directory + "/config.json") << config_json(config).dump(2);
  const Tensors tensors = published_tensors(config, weights);
  if (n_files == 1) return write_safetensors(tensors, directory + "/model.safetensors");
  json map = json::object();
  for (int64_t i = 0; i < n_files; ++i) {
    const std::string name = "model-0000" + std::to_string(i + 1) + "-of-0000" +
                             std::to_string(n_files) + ".safetensors";
    Tensors part;
    for (size_t t = static_cast<size_t>(i); t < tensors.size(); t += static_cast<size_t>(n_files)) {
      part.push_back(tensors[t]);
      map[tensors[t].first] = name;
    }
    write_safetensors(part, directory + "/" + name);
  }
  std::ofstream(directory + "/model.safetensors.index.json")
      << json{{"metadata", {{"total_size", 0}}}, {"weight_map", map}}.dump();
}

}  // namespace headcount::models
