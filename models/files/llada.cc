// LLaDA directories as published (GSAI-ML/LLaDA-8B-*): config.json with model_type llada and the
// names of its safetensors.
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "models/files/formats.h"
#include "models/files/safetensors.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr uint64_t kMaxJsonBytes = 64u << 20;
constexpr int kMaxDepth = 16;

json read_json(const std::string& file) {
  const uint64_t size = file_size(file);
  if (size > kMaxJsonBytes) throw Error(file + " is larger than any JSON file of a model (64 MiB)");
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) throw Error(file + " is nested too deeply");
    return true;
  };
  try {
    json value = json::parse(read_range(file, 0, size), shallow);
    if (!value.is_object()) throw Error(file + " is not a JSON object");
    return value;
  } catch (const json::exception&) {
    throw Error(file + " is not valid JSON; it may be truncated");
  }
}

/// Typed access to config.json; null counts as absent.
class Reader {
 public:
  Reader(const std::string& file, const json& object) : file_(file), object_(object) {}

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }

  int64_t integer(const char* key) const {
    if (!has(key)) throw Error(file_ + " lacks \"" + key + "\"");
    return integer_or(key, 0);
  }
  int64_t integer_or(const char* key, int64_t otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_number_integer()) wrong(key, "an integer");
    return object_[key].get<int64_t>();
  }
  double number_or(const char* key, double otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_number()) wrong(key, "a number");
    return object_[key].get<double>();
  }
  bool flag_or(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_boolean()) wrong(key, "true or false");
    return object_[key].get<bool>();
  }
  std::string text_or(const char* key, const std::string& otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_string()) wrong(key, "a string");
    return object_[key].get<std::string>();
  }
  /// Refuses a variant of the architecture this program does not compute.
  void need(const char* key, bool holds) const {
    if (holds) return;
    throw Error(file_ + ": \"" + key + "\" is " + object_[key].dump().substr(0, 60) +
                ", which this program does not compute");
  }

 private:
  [[noreturn]] void wrong(const char* key, const char* expected) const {
    throw Error(file_ + ": \"" + key + "\" must be " + expected + ", found " +
                object_[key].dump().substr(0, 60));
  }
  const std::string& file_;
  const json& object_;
};

void need_llama_block(const Reader& r) {
  r.need("block_type", r.text_or("block_type", "llama") == "llama");
  r.need("block_group_size", r.integer_or("block_group_size", 1) == 1);
  r.need("layer_norm_type", r.text_or("layer_norm_type", "rms") == "rms");
  r.need("layer_norm_with_affine", r.flag_or("layer_norm_with_affine", true));
  r.need("activation_type", r.text_or("activation_type", "silu") == "silu");
  r.need("rope", r.flag_or("rope", true));
  for (const char* key : {"alibi", "include_bias", "include_qkv_bias", "bias_for_layer_norm",
                          "scale_logits", "input_emb_norm", "attention_layer_norm"}) {
    r.need(key, !r.flag_or(key, false));
  }
  r.need("clip_qkv", !r.has("clip_qkv"));
  r.need("rope_scaling", !r.has("rope_scaling"));
}

Config config_of(const std::string& file, const json& object) {
  const Reader r(file, object);
  const std::string type = r.text_or("model_type", "");
  if (type != "llada") {
    throw Error(file + ": model_type \"" + type + "\" is not a family this program knows (llada)");
  }
  need_llama_block(r);
  Config c;
  c.family = "llada";
  c.n_layers = r.integer("n_layers");
  c.n_heads = r.integer("n_heads");
  c.n_kv_heads =
      r.integer_or("n_kv_heads", r.flag_or("multi_query_attention", false) ? 1 : c.n_heads);
  c.d_model = r.integer("d_model");
  c.d_head = c.n_heads > 0 ? c.d_model / c.n_heads : 0;
  c.d_mlp =
      r.has("mlp_hidden_size")
          ? r.integer("mlp_hidden_size")
          : static_cast<int64_t>(r.number_or("mlp_ratio", 4) * static_cast<double>(c.d_model));
  c.vocab_size = r.integer_or("embedding_size", r.integer("vocab_size"));
  c.max_positions = r.integer("max_sequence_length");
  c.norm_eps = r.number_or("rms_norm_eps", 1e-5);
  c.rope_theta = r.number_or("rope_theta", 1e4);
  c.tied_head = r.flag_or("weight_tying", false);
  c.mask_id = r.integer("mask_token_id");
  if (c.mask_id < 0) throw Error(file + ": \"mask_token_id\" must not be negative");
  c.bos_id = r.integer_or("bos_token_id", -1);
  c.eos_id = r.integer_or("eos_token_id", -1);
  c.pad_id = r.integer_or("pad_token_id", -1);
  check_shape(c, file);
  return c;
}

std::map<std::string, TensorPlace> by_name(const std::vector<TensorPlace>& places) {
  std::map<std::string, TensorPlace> map;
  for (const TensorPlace& place : places) map[place.name] = place;
  return map;
}

/// Every tensor of a sharded checkpoint that its index places, each read from the file the index
/// names.
std::map<std::string, TensorPlace> read_sharded(const fs::path& directory,
                                                const std::string& index_file) {
  const json index = read_json(index_file);
  if (!index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw Error(index_file + " has no \"weight_map\" object");
  }
  std::map<std::string, std::map<std::string, TensorPlace>> shards;
  std::map<std::string, TensorPlace> all;
  for (const auto& [name, entry] : index["weight_map"].items()) {
    const std::string shard = entry.is_string() ? entry.get<std::string>() : "";
    if (shard.empty() || shard[0] == '.' || shard.find('/') != std::string::npos) {
      throw Error(index_file + " places \"" + name + "\" in no file of this directory");
    }
    if (!shards.count(shard))
      shards[shard] = by_name(read_safetensors((directory / shard).string()));
    const auto found = shards[shard].find(name);
    if (found == shards[shard].end()) {
      throw Error((directory / shard).string() + " lacks tensor \"" + name + "\", which " +
                  index_file + " places there");
    }
    all[name] = found->second;
  }
  return all;
}

std::string text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

}  // namespace

std::string llada_name(const std::string& canonical) {
  static const std::map<std::string, std::string> kParts = {
      {"attn_norm", "attn_norm"}, {"q", "q_proj"},         {"k", "k_proj"},     {"v", "v_proj"},
      {"o", "attn_out"},          {"mlp_norm", "ff_norm"}, {"gate", "ff_proj"}, {"up", "up_proj"},
      {"down", "ff_out"}};
  const std::string root = "model.transformer.";
  if (canonical == "embedding") return root + "wte.weight";
  if (canonical == "final_norm") return root + "ln_f.weight";
  if (canonical == "head") return root + "ff_out.weight";
  const size_t dot = canonical.rfind('.');
  const std::string layer = canonical.substr(7, dot - 7);  // after "layers."
  return root + "blocks." + layer + "." + kParts.at(canonical.substr(dot + 1)) + ".weight";
}

ModelFiles open_llada(const std::string& directory) {
  const fs::path dir = directory;
  const std::string config_file = (dir / "config.json").string();
  ModelFiles files;
  files.directory = directory;
  files.config = config_of(config_file, read_json(config_file));

  const std::string single = (dir / "model.safetensors").string();
  const std::string index = (dir / "model.safetensors.index.json").string();
  const bool sharded = !fs::exists(single) && fs::exists(index);
  const auto tensors = sharded ? read_sharded(dir, index) : by_name(read_safetensors(single));
  for (const auto& [name, shape] : weight_shapes(files.config)) {
    const std::string published = llada_name(name);
    const auto found = tensors.find(published);
    if (found == tensors.end()) {
      throw Error((sharded ? index : single) + " lacks tensor \"" + published + "\", which " +
                  config_file + " asks for");
    }
    TensorPlace place = found->second;
    if (place.shape != shape) {
      throw Error(place.file + ": tensor \"" + published + "\" has shape " + text(place.shape) +
                  ", but " + config_file + " asks for " + text(shape));
    }
    if (place.dtype != "F64" && place.dtype != "F32" && place.dtype != "BF16" &&
        place.dtype != "F16") {
      throw Error(place.file + ": tensor \"" + published + "\" has dtype " + place.dtype +
                  "; weights must be F64, F32, BF16 or F16");
    }
    place.name = name;
    files.tensors.push_back(place);
  }
  return files;
}

}  // namespace headcount::models
