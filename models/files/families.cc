// The list of families and what their tables share.
#include "models/files/families.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {

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
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},
      {"gelu_python", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh},
      {"gelu_accurate", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"gelu_python_tanh", Activation::kGeluTanh},
      {"relu", Activation::kRelu},
      {"relu2", Activation::kReluSquared}};
  const auto found = kNames.find(r.text_or(key, otherwise));
  r.need(key, found != kNames.end());
  return found->second;
}

void read_special_ids(const JsonReader& r, Config& c) {
  // Small models keep the ids of a large vocabulary: a token they do not have.
  const auto known = [&](int64_t id) { return id >= 0 && id < c.vocab_size; };
  const auto id_at = [&](const std::string& key) {
    const int64_t id = r.integer_or(key, -1);
    return known(id) ? id : -1;
  };
  c.bos_id = id_at("bos_token_id");
  c.pad_id = id_at("pad_token_id");
  for (const int64_t id : r.ids("eos_token_id")) {
    if (known(id)) c.stop_ids.push_back(id);
  }
  c.eos_id = c.stop_ids.empty() ? -1 : c.stop_ids.front();
}

int64_t read_head_width(const JsonReader& r, const Config& c) {
  return r.has("head_dim") ? r.integer("head_dim") : even_head(c, r.file());
}

namespace {

/// What config.json says about rotary positions beside its own fields.
struct RopeObject {
  explicit RopeObject(const JsonReader& r)
      : key(r.has("rope_parameters") ? "rope_parameters" : "rope_scaling"), reader(r.object(key)) {
    // An older reader would follow the one, a newer one the other.
    r.need("rope_scaling", !r.has("rope_scaling") || r.same("rope_scaling", key));
    // A setting for every kind of layer.
    for (const std::string& name : reader.keys()) reader.need(name, !reader.is_object(name));
  }
  void need(const JsonReader& r, const std::string& field, bool holds) const {
    (r.has(field) ? r : reader).need(field, holds);
  }

  std::string key;
  JsonReader reader;
};

constexpr const char* kShare = "partial_rotary_factor";

/// A number of config.json itself or of that object; where both have it, they must agree.
double read_either(const JsonReader& r, const RopeObject& rope, const std::string& key,
                   double otherwise) {
  const double inner = rope.reader.number_or(key, otherwise);
  const double outer = r.number_or(key, inner);
  r.need(key, outer == inner || !rope.reader.has(key));
  return outer;
}

}  // namespace

void read_rope(const JsonReader& r, Config& c) {
  const RopeObject rope(r);
  const JsonReader& in = rope.reader;
  c.rope_theta = read_either(r, rope, "rope_theta", c.rope_theta);
  // Older files say "type". A factor of no type is a scaling nobody can know.
  const std::string type = in.text_or("rope_type", in.text_or("type", "default"));
  r.need(rope.key, in.has("rope_type") || in.has("type") || !in.has("factor"));
  if (type == "default") return;
  r.need(rope.key, type == "llama3");
  RopeScaling& s = c.rope_scaling;
  s.factor = in.number_or("factor", 0);
  s.low_freq_factor = in.number_or("low_freq_factor", 0);
  s.high_freq_factor = in.number_or("high_freq_factor", 0);
  s.original_positions = in.integer("original_max_position_embeddings");
  r.need(rope.key, s.factor >= 1 && s.low_freq_factor > 0 &&
                       s.high_freq_factor > s.low_freq_factor && s.original_positions > 0);
}

double read_rotary_share(const JsonReader& r, const std::string& key, double otherwise) {
  const RopeObject rope(r);
  const double newer = read_either(r, rope, kShare, r.number_or(key, otherwise));
  const double share = r.number_or(key, newer);
  rope.need(r, r.has(key) ? key : kShare, share >= 0 && share <= 1 && share == newer);
  return share;
}

void need_whole_rotary(const JsonReader& r) {
  const RopeObject rope(r);
  rope.need(r, kShare, read_either(r, rope, kShare, 1) == 1);
}

void read_layer_types(const JsonReader& r, Config& c) {
  const std::string key = "layer_types";
  if (!r.has(key)) return;
  const std::vector<std::string> types = r.texts(key);
  const std::string full = "full_attention", sliding = "sliding_attention";
  const auto first = std::find(types.begin(), types.end(), sliding);
  const bool known = std::all_of(types.begin(), first, [&](const auto& t) { return t == full; }) &&
                     std::all_of(first, types.end(), [&](const auto& t) { return t == sliding; });
  r.need(key, known && static_cast<int64_t>(types.size()) == c.n_layers &&
                  (first == types.end() || c.window > 0));
  if (first == types.end()) c.window = 0;
  c.first_window_layer = c.window > 0 ? first - types.begin() : 0;
}

}  // namespace headcount::models
