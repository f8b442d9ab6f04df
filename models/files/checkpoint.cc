// Reads a checkpoint's headers and finds every weight in them.
#include "models/files/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "models/files/formats.h"
#include "models/files/safetensors.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, TensorPlace>;

std::string text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

Tensors by_name(std::vector<TensorPlace> places) {
  Tensors tensors;
  for (TensorPlace& place : places) {
    std::string name = place.name;
    tensors.emplace(std::move(name), std::move(place));
  }
  return tensors;
}

/// Every tensor the index places, each from the shard it names; the others of these shards are
/// unlisted.
void read_shards(const fs::path& directory, Checkpoint& checkpoint) {
  const std::string& index_file = checkpoint.listed_in;
  const JsonReader index(index_file);
  if (!index.is_object("weight_map")) throw Error(index_file + " has no \"weight_map\" object");
  const JsonReader map = index.object("weight_map");
  std::map<std::string, Tensors> shards;
  for (const std::string& name : map.keys()) {
    const std::string shard = map.text_or(name, "");
    if (shard.empty() || shard[0] == '.' || shard.find('/') != std::string::npos) {
      throw Error(index_file + " places \"" + name + "\" in no file of this directory");
    }
    if (!shards.count(shard)) {
      const std::string file = (directory / shard).string();
      if (!is_there(file))
        throw Error(file + " is missing, which " + index_file + " names; fetch it too");
      shards[shard] = by_name(read_safetensors(file));
    }
    auto found = shards[shard].extract(name);
    if (found.empty()) {
      throw Error((directory / shard).string() + " lacks tensor \"" + name + "\", which " +
                  index_file + " places there");
    }
    checkpoint.tensors.insert(std::move(found));
  }
  for (const auto& [shard, left] : shards)
    for (const auto& [name, place] : left)
      if (!checkpoint.tensors.count(name)) checkpoint.unlisted.push_back(name);
}

[[noreturn]] void refuse_without_weights(const fs::path& directory) {
  std::error_code error;
  bool shards = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    shards = shards || (name.find("-of-") != std::string::npos && name.ends_with(".safetensors"));
  }
  if (shards)
    throw Error(directory.string() +
                " has shards of a model, but no model.safetensors.index.json, which says what is "
                "in them; fetch it too");
  throw Error(directory.string() +
              " has no weights: neither model.safetensors nor model.safetensors.index.json "
              "(pickled .bin weights must be converted to safetensors first)");
}

void choose_prefix(Checkpoint& checkpoint) {
  const std::vector<std::string>& prefixes = checkpoint.family->prefixes;
  const std::string embedding = checkpoint.family->stored("embedding").name;
  const auto used = std::find_if(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) {
    return checkpoint.tensors.count(prefix + embedding) > 0;
  });
  checkpoint.prefix = used == prefixes.end() ? prefixes.front() : *used;
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

/// The name the weight usually has in this checkpoint.
std::string usual_name(const Checkpoint& checkpoint, const std::string& canonical) {
  const bool head = canonical == "head" || canonical == "head_bias";
  const bool prefixed = !head || checkpoint.family->head_has_prefix;
  return (prefixed ? checkpoint.prefix : "") + checkpoint.family->stored(canonical).name;
}

TensorPlace place_weight(const Checkpoint& checkpoint, const WeightShape& weight, const Config& c,
                         const std::string& config_file) {
  const Stored stored = checkpoint.family->stored(weight.name);
  const TensorPlace* found = checkpoint.find(stored.name);
  // Of two tied tensors some programs keep the one, some the other.
  if (found == nullptr && c.tied_head && weight.name == "embedding")
    found = checkpoint.find(checkpoint.family->stored("head").name);
  if (found == nullptr) {
    throw Error(checkpoint.listed_in + " lacks tensor \"" + usual_name(checkpoint, weight.name) +
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

}  // namespace

const TensorPlace* Checkpoint::find(const std::string& name) const {
  for (const std::string& full : {prefix + name, name}) {
    if (const auto it = tensors.find(full); it != tensors.end()) return &it->second;
  }
  return nullptr;
}

Checkpoint read_checkpoint(const std::string& directory, const Family& family) {
  const std::string single = (fs::path(directory) / "model.safetensors").string();
  const std::string index = (fs::path(directory) / "model.safetensors.index.json").string();
  if (is_there(single)) return read_checkpoint_file(single, family);
  if (!is_there(index)) refuse_without_weights(directory);
  Checkpoint checkpoint{.listed_in = index, .family = &family};
  read_shards(directory, checkpoint);
  choose_prefix(checkpoint);
  return checkpoint;
}

Checkpoint read_checkpoint_file(const std::string& file, const Family& family) {
  Checkpoint checkpoint{
      .tensors = by_name(read_safetensors(file)), .listed_in = file, .family = &family};
  choose_prefix(checkpoint);
  return checkpoint;
}

void place_weights(const Checkpoint& checkpoint, const std::string& config_file,
                   ModelFiles& files) {
  std::set<std::string> used;
  for (const WeightShape& weight : weight_shapes(files.config)) {
    files.tensors.push_back(place_weight(checkpoint, weight, files.config, config_file));
    used.insert(files.tensors.back().stored);
  }
  const auto name_if_foreign = [&](const std::string& name) {
    if (!used.count(name) && !is_buffer(*checkpoint.family, name)) files.extra.push_back(name);
  };
  for (const auto& [name, place] : checkpoint.tensors) name_if_foreign(name);
  for (const std::string& name : checkpoint.unlisted) name_if_foreign(name);
}

}  // namespace headcount::models
