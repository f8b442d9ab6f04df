// The list of families and what their tables share.
#include "models/files/families.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>

#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {

using nlohmann::json;

const std::vector<Family>& families() {
  static const std::vector<Family> all = {
      llada_family(), dream_family(), llama_family(),    mistral_family(),
      qwen2_family(), qwen3_family(), gpt2_family(),     gpt_neox_family(),
      gptj_family(),  opt_family(),   tinydiff_family(),
  };
  return all;
}

std::string published_name(const Config& config, const std::string& canonical) {
  for (const Family& family : families()) {
    std::string name = family.model_type;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (name != config.family) continue;
    const bool head = canonical == "head" || canonical == "head_bias";
    const bool prefixed = !head || family.head_has_prefix;
    return (prefixed ? family.prefixes.front() : "") + family.stored(canonical).name;
  }
  throw Error("weights of a " + config.family + " model have no published names");
}

CanonicalName split(const std::string& canonical) {
  const size_t dot = canonical.rfind('.');
  if (dot == std::string::npos) return {"", canonical};
  return {canonical.substr(7, dot - 7), canonical.substr(dot + 1)};  // behind "layers."
}

PartName split_bias(const std::string& part) {
  const std::string bias = "_bias";
  if (!part.ends_with(bias)) return {part, ".weight"};
  return {part.substr(0, part.size() - bias.size()), ".bias"};
}

Activation activation_of(const JsonReader& r, const std::string& key,
                         const std::string& otherwise) {
  static const std::map<std::string, Activation> kNames = {
      {"silu", Activation::kSilu},          {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},          {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh}, {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"relu", Activation::kRelu},          {"relu2", Activation::kReluSquared}};
  const auto found = kNames.find(r.text_or(key, otherwise));
  r.need(key, found != kNames.end());
  return found->second;
}

void read_special_ids(const JsonReader& r, Config& c) {
  c.bos_id = r.integer_or("bos_token_id", -1);
  c.stop_ids = r.ids("eos_token_id");
  c.eos_id = c.stop_ids.empty() ? -1 : c.stop_ids.front();
  c.pad_id = r.integer_or("pad_token_id", -1);
}

void read_heads(const JsonReader& r, const std::string& kv_key, Config& c) {
  c.n_kv_heads = r.integer_or(kv_key, c.n_heads);
  c.d_head = r.has("head_dim") ? r.integer("head_dim") : even_head(c, r.file());
}

void read_rope(const JsonReader& r, Config& c) {
  // Newer files keep all of it in one object; rope_scaling held "type" before "rope_type".
  const std::string key = r.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const json object = r.object(key);
  const JsonReader scaling(r.file() + ": " + key, object);
  c.rope_theta = r.number_or("rope_theta", scaling.number_or("rope_theta", c.rope_theta));
  const double share =
      r.number_or("partial_rotary_factor", scaling.number_or("partial_rotary_factor", 1.0));
  r.need("partial_rotary_factor", share > 0 && share <= 1);
  if (share != 1.0) c.d_rotary = static_cast<int64_t>(static_cast<double>(c.d_head) * share);
  const std::string type = scaling.text_or("rope_type", scaling.text_or("type", "default"));
  if (type == "default") return;
  r.need(key, type == "llama3");
  RopeScaling& s = c.rope_scaling;
  s.factor = scaling.number_or("factor", 0);
  s.low_freq_factor = scaling.number_or("low_freq_factor", 0);
  s.high_freq_factor = scaling.number_or("high_freq_factor", 0);
  s.original_positions = scaling.integer("original_max_position_embeddings");
  r.need(key, s.factor >= 1 && s.low_freq_factor > 0 && s.high_freq_factor > s.low_freq_factor &&
                  s.original_positions > 0);
}

}  // namespace headcount::models
