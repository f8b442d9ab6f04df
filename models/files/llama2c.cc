// Part of models/files/formats.h.
// llama2.c version-0 checkpoints (karpathy/llama2.c, export.py legacy_export, run.c
// memory_map_weights). Header: int32 dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size
// (negative: the head is a tensor of its own at the end), seq_len. Then float32: embedding, all
// layers' attention norms, all wq, wk, wv, wo, all MLP norms, all w1 (gate), w2 (down), w3 (up),
// the final norm, two rotary tables [seq_len, d_head / 2] that nothing reads, the head.
#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <map>

#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kHeaderBytes = 7 * sizeof(int32_t);

Config config_of(const std::string& file) {
  if (file_size(file) < kHeaderBytes)
    throw Error(file + " is no llama2.c model: it is shorter than its header");
  std::array<int32_t, 7> header{};
  std::memcpy(header.data(), read_range(file, 0, kHeaderBytes).data(), kHeaderBytes);
  Config c;
  c.family = "llama2c";
  c.d_model = header[0];
  c.d_mlp = header[1];
  c.n_layers = header[2];
  c.n_heads = header[3];
  c.n_kv_heads = header[4];
  c.vocab_size = std::abs(static_cast<int64_t>(header[5]));
  c.max_positions = header[6];

  c.d_head = even_head(c, file);
  c.rotary = RotaryStyle::kInterleaved;
  c.causal = true;
  c.tied_head = header[5] > 0;
  c.bos_id = 1;
  c.eos_id = 2;
  c.stop_ids = {1};  // texts follow each other, each behind a BOS
  check_shape(c, file);
  return c;
}

/// Cuts the file into tensors, in its own order.
std::map<std::string, TensorPlace> places_of(const std::string& file, const Config& c) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const WeightShape& weight : weight_shapes(c)) shapes[weight.name] = weight.shape;
  std::map<std::string, TensorPlace> places;
  uint64_t offset = kHeaderBytes;
  const auto take = [&](const std::string& name) {
    uint64_t size = sizeof(float);
    for (const int64_t extent : shapes.at(name)) size *= static_cast<uint64_t>(extent);
    TensorPlace& place = places[name];
    place = {};
    place.name = place.stored = name;
    place.file = file;
    place.dtype = "F32";
    place.shape = place.sizes = shapes.at(name);
    place.offset = offset;
    place.size_bytes = size;
    offset += size;
  };
  const auto take_of_all_layers = [&](const std::string& part) {
    for (int64_t i = 0; i < c.n_layers; ++i) take("layers." + std::to_string(i) + "." + part);
  };
  take("embedding");
  for (const char* part : {"attn_norm", "q", "k", "v", "o", "mlp_norm", "gate", "down", "up"})
    take_of_all_layers(part);
  take("final_norm");
  offset += static_cast<uint64_t>(c.max_positions * c.d_head) * sizeof(float);
  if (!c.tied_head) take("head");

  const uint64_t size = file_size(file);
  if (size != offset) {
    throw Error(file + " has " + std::to_string(size) +
                " bytes, but a llama2.c version-0 model with its header has " +
                std::to_string(offset) +
                (size < offset ? "; it is truncated, fetch it again" : "; it is another format"));
  }
  return places;
}

}  // namespace

ModelFiles open_llama2c(const std::string& directory, const std::string& file) {
  ModelFiles files;
  files.directory = directory;
  files.config = config_of(file);
  const auto places = places_of(file, files.config);
  for (const WeightShape& weight : weight_shapes(files.config))
    files.tensors.push_back(places.at(weight.name));

  std::vector<std::string> tokenizers;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".bin" && name.rfind("tok", 0) == 0)
      tokenizers.push_back(entry.path().string());
  }
  std::sort(tokenizers.begin(), tokenizers.end());
  if (!tokenizers.empty()) files.tokenizer = tokenizers[0];
  return files;
}

}  // namespace headcount::models
