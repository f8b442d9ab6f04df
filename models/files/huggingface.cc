// Hugging Face directories: config.json chooses the family, whose table says which tensors of
// model.safetensors (or of the shards its index names) are which weights.
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "models/files/families.h"
#include "models/files/formats.h"
#include "models/files/safetensors.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using Tensors = std::map<std::string, TensorPlace>;

std::string text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

std::string known_families() {
  std::string names;
  for (const Family& family : families()) names += (names.empty() ? "" : ", ") + family.model_type;
  return names;
}

const Family& family_of(const JsonReader& r, const json& object) {
  const std::string type = r.text_or("model_type", "");
  const auto found = std::find_if(families().begin(), families().end(),
                                  [&](const Family& f) { return f.model_type == type; });
  if (found == families().end()) {
    throw Error(r.file() + ": model_type \"" + type + "\" is not a family this program knows (" +
                known_families() + ")");
  }
  // A classifier or an encoder of the same type has other weights behind the blocks.
  if (object.contains("architectures") && object["architectures"].is_array() &&
      !object["architectures"].empty()) {
    const json& names = object["architectures"];
    r.need("architectures",
           std::find(names.begin(), names.end(), json(found->architecture)) != names.end());
  }
  return *found;
}

/// What no family computes, whatever its other fields say.
void refuse_what_none_computes(const JsonReader& r) {
  for (const char* key : {"quantization_config", "compression_config", "num_local_experts",
                          "num_experts", "n_routed_experts", "moe_intermediate_size"})
    r.need(key, !r.has(key));
  r.need("is_encoder_decoder", !r.flag_or("is_encoder_decoder", false));
}

Tensors by_name(const std::vector<TensorPlace>& places) {
  Tensors tensors;
  for (const TensorPlace& place : places) tensors[place.name] = place;
  return tensors;
}

/// Every tensor of a sharded checkpoint that its index places, each read from the file the index
/// names.
Tensors read_sharded(const fs::path& directory, const std::string& index_file) {
  const json index = read_json(index_file);
  if (!index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw Error(index_file + " has no \"weight_map\" object");
  }
  std::map<std::string, Tensors> shards;
  Tensors all;
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

/// The shape the tensor holding this weight must have in the file.
std::vector<int64_t> stored_shape(const std::vector<int64_t>& shape, Lie lie) {
  switch (lie) {
    case Lie::kWhole:
      return shape;
    case Lie::kTransposed:
      return {shape[1], shape[0]};
    case Lie::kThirdOfColumns:
      if (shape.size() == 1) return {3 * shape[0]};
      return {shape[1], 3 * shape[0]};
    case Lie::kHeadMajorThird:
      if (shape.size() == 1) return {3 * shape[0]};
      return {3 * shape[0], shape[1]};
  }
  return {};
}

/// The weight of that shape inside `whole`, the tensor that holds it.
TensorPlace view_of(TensorPlace whole, const WeightShape& weight, const Stored& stored,
                    const Config& c) {
  const std::vector<int64_t>& shape = weight.shape;
  const int64_t in = shape.size() > 1 ? shape[1] : 1;
  int64_t first = 0;  // element
  TensorPlace place = std::move(whole);
  place.stored = place.name;
  place.name = weight.name;
  place.shape = shape;
  switch (stored.lie) {
    case Lie::kWhole:
      place.sizes = shape;
      return place;
    case Lie::kTransposed:
      place.sizes = shape;
      place.strides = {1, shape[0]};
      break;
    case Lie::kThirdOfColumns:
      place.sizes = shape;
      first = stored.third * shape[0];
      place.strides =
          shape.size() == 1 ? std::vector<int64_t>{1} : std::vector<int64_t>{1, 3 * shape[0]};
      break;
    case Lie::kHeadMajorThird:
      first = stored.third * c.d_head * in;
      place.sizes = {c.n_heads, c.d_head};
      place.strides = {3 * c.d_head * in, in};
      if (shape.size() > 1) {
        place.sizes.push_back(in);
        place.strides.push_back(1);
      }
      break;
  }
  int64_t last = 0;
  for (size_t i = 0; i < place.sizes.size(); ++i) last += (place.sizes[i] - 1) * place.strides[i];
  const uint64_t element = dtype_size(place.dtype);
  place.offset += static_cast<uint64_t>(first) * element;
  place.size_bytes = static_cast<uint64_t>(last + 1) * element;
  return place;
}

bool is_float(const std::string& dtype) {
  return dtype == "F64" || dtype == "F32" || dtype == "BF16" || dtype == "F16";
}

/// The tensors of a directory and the family's way of naming them.
struct Checkpoint {
  Tensors tensors;
  std::string listed_in;  // the file that says which there are
  std::string prefix;     // the one of the family's this checkpoint uses
  const Family* family = nullptr;

  /// The head of most families stands outside the prefix.
  const TensorPlace* find(const std::string& name) const {
    for (const std::string& full : {prefix + name, name}) {
      if (const auto it = tensors.find(full); it != tensors.end()) return &it->second;
    }
    return nullptr;
  }
};

Checkpoint read_checkpoint(const fs::path& directory, const Family& family) {
  const std::string single = (directory / "model.safetensors").string();
  const std::string index = (directory / "model.safetensors.index.json").string();
  Checkpoint checkpoint;
  checkpoint.family = &family;
  const bool sharded = !fs::exists(single) && fs::exists(index);
  checkpoint.listed_in = sharded ? index : single;
  if (!sharded && !fs::exists(single)) {
    throw Error(directory.string() +
                " has no weights: neither model.safetensors nor model.safetensors.index.json "
                "(pickled .bin weights must be converted to safetensors first)");
  }
  checkpoint.tensors = sharded ? read_sharded(directory, index) : by_name(read_safetensors(single));
  checkpoint.prefix = family.prefixes.front();
  for (const std::string& prefix : family.prefixes) {
    if (checkpoint.tensors.count(prefix + family.stored("embedding").name)) {
      checkpoint.prefix = prefix;
      break;
    }
  }
  return checkpoint;
}

TensorPlace place_weight(const Checkpoint& checkpoint, const WeightShape& weight, const Config& c,
                         const std::string& config_file) {
  const Stored stored = checkpoint.family->stored(weight.name);
  const TensorPlace* const found = checkpoint.find(stored.name);
  if (found == nullptr) {
    throw Error(checkpoint.listed_in + " lacks tensor \"" + checkpoint.prefix + stored.name +
                "\", which " + config_file + " asks for");
  }
  const std::vector<int64_t> expected = stored_shape(weight.shape, stored.lie);
  if (found->shape != expected) {
    throw Error(found->file + ": tensor \"" + found->name + "\" has shape " + text(found->shape) +
                ", but " + config_file + " asks for " + text(expected));
  }
  if (!is_float(found->dtype)) {
    throw Error(found->file + ": tensor \"" + found->name + "\" has dtype " + found->dtype +
                "; weights must be F64, F32, BF16 or F16");
  }
  return view_of(*found, weight, stored, c);
}

bool is_buffer(const Family& family, const std::string& name) {
  return std::any_of(family.buffers.begin(), family.buffers.end(),
                     [&](const std::string& end) { return name.ends_with(end); });
}

/// Every weight's place, and the names that are nobody's.
void place_weights(const Checkpoint& checkpoint, const std::string& config_file,
                   ModelFiles& files) {
  std::set<std::string> used;
  for (const WeightShape& weight : weight_shapes(files.config)) {
    files.tensors.push_back(place_weight(checkpoint, weight, files.config, config_file));
    used.insert(files.tensors.back().stored);
  }
  for (const auto& [name, place] : checkpoint.tensors) {
    if (!used.count(name) && !is_buffer(*checkpoint.family, name)) files.extra.push_back(name);
  }
}

/// generation_config.json may name more ids that end a text than config.json does.
void read_generation_config(const fs::path& directory, Config& c) {
  const std::string file = (directory / "generation_config.json").string();
  if (!fs::exists(file)) return;
  const json object = read_json(file);
  for (const int64_t id : JsonReader(file, object).ids("eos_token_id")) {
    const bool known = std::find(c.stop_ids.begin(), c.stop_ids.end(), id) != c.stop_ids.end();
    if (!known && id >= 0 && id < c.vocab_size) c.stop_ids.push_back(id);
  }
}

/// The directory itself where it holds a tokenizer of any format.
std::string tokenizer_in(const fs::path& directory) {
  for (const char* name : {"tokenizer.json", "vocab.json", "tokenizer.model", "vocab.txt"})
    if (fs::exists(directory / name)) return directory.string();
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error))
    if (entry.path().extension() == ".tiktoken") return directory.string();
  return "";
}

}  // namespace

ModelFiles open_huggingface(const std::string& directory) {
  const std::string config_file = (fs::path(directory) / "config.json").string();
  const json object = read_json(config_file);
  const JsonReader reader(config_file, object);
  const Family& family = family_of(reader, object);
  refuse_what_none_computes(reader);
  ModelFiles files;
  files.directory = directory;
  files.config = family.config(reader);
  check_shape(files.config, config_file);
  read_generation_config(directory, files.config);
  files.tokenizer = tokenizer_in(directory);

  place_weights(read_checkpoint(directory, family), config_file, files);
  return files;
}

ModelFiles open_bare_tinydiff(const std::string& directory, const std::string& file) {
  const Family& family = families().back();
  HC_CHECK(family.model_type == "tinydiff");
  const Checkpoint checkpoint{.tensors = by_name(read_safetensors(file)),
                              .listed_in = file,
                              .prefix = "",
                              .family = &family};
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
