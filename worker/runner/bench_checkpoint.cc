// Part of worker/runner/bench.h.
// Checkpoints as large as the published ones. Weights are drawn and written a piece at a time, so
// that 16 GB need no 16 GB of memory.
#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/files/config.h"
#include "models/files/safetensors.h"
#include "schemas/error.h"
#include "schemas/new_file.h"
#include "schemas/philox.h"
#include "worker/runner/bench.h"

namespace headcount {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Options {
  std::string shape = "llada-8b", output;
  int64_t layers = 0;  // 0: the published number
  uint64_t seed = 1;
};

/// A published checkpoint: its config.json and into how many files it is cut.
struct Published {
  ordered_json config;
  const char* layers_key;
  size_t n_files;
};

Published published(const std::string& shape) {
  if (shape == "llada-8b") {
    return {{{"architectures", {"LLaDAModelLM"}},
             {"model_type", "llada"},
             {"block_type", "llama"},
             {"block_group_size", 1},
             {"d_model", 4096},
             {"n_layers", 32},
             {"n_heads", 32},
             {"n_kv_heads", 32},
             {"mlp_hidden_size", 12288},
             {"vocab_size", 126464},
             {"embedding_size", 126464},
             {"max_sequence_length", 4096},
             {"layer_norm_type", "rms"},
             {"layer_norm_with_affine", true},
             {"rms_norm_eps", 1e-5},
             {"rope", true},
             {"rope_full_precision", true},
             {"rope_theta", 500000.0},
             {"activation_type", "silu"},
             {"alibi", false},
             {"attention_layer_norm", false},
             {"include_bias", false},
             {"include_qkv_bias", false},
             {"bias_for_layer_norm", false},
             {"input_emb_norm", false},
             {"scale_logits", false},
             {"weight_tying", false},
             {"mask_token_id", 126336},
             {"eos_token_id", 126081},
             {"pad_token_id", 126081},
             {"torch_dtype", "bfloat16"}},
            "n_layers",
            6};
  }
  return {{{"architectures", {"DreamModel"}},
           {"model_type", "Dream"},
           {"hidden_size", 3584},
           {"num_hidden_layers", 28},
           {"num_attention_heads", 28},
           {"num_key_value_heads", 4},
           {"intermediate_size", 18944},
           {"vocab_size", 152064},
           {"max_position_embeddings", 131072},
           {"hidden_act", "silu"},
           {"rms_norm_eps", 1e-6},
           {"rope_theta", 1000000.0},
           {"rope_scaling", nullptr},
           {"tie_word_embeddings", false},
           {"use_sliding_window", false},
           {"sliding_window", nullptr},
           {"max_window_layers", 28},
           {"attention_dropout", 0.0},
           {"mask_token_id", 151666},
           {"bos_token_id", 151643},
           {"eos_token_id", 151643},
           {"pad_token_id", 151643},
           {"torch_dtype", "bfloat16"}},
          "num_hidden_layers",
          4};
}

/// The Config of a config.json whose weights are not written yet.
models::Config config_of(const Published& form, int64_t layers) {
  const ordered_json& j = form.config;
  models::Config c;
  const bool llada = j["model_type"] == "llada";
  const auto number = [&](const char* a, const char* b) { return j[llada ? a : b].get<int64_t>(); };
  c.family = llada ? "llada" : "dream";
  c.n_layers = layers;
  c.d_model = number("d_model", "hidden_size");
  c.n_heads = number("n_heads", "num_attention_heads");
  c.n_kv_heads = number("n_kv_heads", "num_key_value_heads");
  c.d_head = c.d_model / c.n_heads;
  c.d_mlp = number("mlp_hidden_size", "intermediate_size");
  c.vocab_size = number("vocab_size", "vocab_size");
  c.qkv_bias = !llada;
  return c;
}

struct Weight {
  std::string name;  // published
  std::vector<int64_t> shape;
  bool norm;
  uint32_t number;
  int64_t n_elements() const {
    int64_t n = 1;
    for (const int64_t size : shape) n *= size;
    return n;
  }
};

std::vector<Weight> weights_of(const models::Config& config) {
  std::vector<Weight> all;
  for (const auto& [name, shape] : models::weight_shapes(config))
    all.push_back({models::published_name(config, name), shape, name.ends_with("norm"),
                   static_cast<uint32_t>(all.size())});
  return all;
}

/// bfloat16 by the sum of a word's four bytes: mean 0, standard deviation 0.02.
std::array<c10::BFloat16, 1021> bell() {
  std::array<c10::BFloat16, 1021> values;
  const double deviation = std::sqrt(4 * (256.0 * 256.0 - 1) / 12);
  for (size_t sum = 0; sum < values.size(); ++sum)
    values[sum] = static_cast<float>((static_cast<double>(sum) - 510) / deviation * 0.02);
  return values;
}

/// Elements from `first`, a multiple of four, of one weight.
void draw(const Weight& weight, uint64_t seed, int64_t first, std::vector<c10::BFloat16>& out) {
  static const auto kBell = bell();
  if (weight.norm) return std::fill(out.begin(), out.end(), c10::BFloat16(1.0f));
  const auto n = static_cast<int64_t>(out.size());
  at::parallel_for(0, (n + 3) / 4, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const auto number = static_cast<uint64_t>(first / 4 + block);
      const auto words = philox(
          {static_cast<uint32_t>(number), static_cast<uint32_t>(number >> 32), weight.number, 0},
          {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
      for (int64_t i = 0; i < 4 && 4 * block + i < n; ++i) {
        const uint32_t w = words[static_cast<size_t>(i)];
        out[static_cast<size_t>(4 * block + i)] =
            kBell[(w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24)];
      }
    }
  });
}

void write_weights(const std::string& path, const std::vector<Weight>& weights, uint64_t seed) {
  std::vector<models::TensorForm> forms;
  for (const Weight& weight : weights) forms.push_back({weight.name, "BF16", weight.shape});
  NewFile file(path);
  file.write(models::safetensors_header(forms, {{"format", "pt"}}));
  constexpr int64_t kPiece = 16 << 20;
  for (const Weight& weight : weights) {
    const int64_t n = weight.n_elements();
    for (int64_t first = 0; first < n; first += kPiece) {
      std::vector<c10::BFloat16> piece(static_cast<size_t>(std::min(kPiece, n - first)));
      draw(weight, seed, first, piece);
      file.write({reinterpret_cast<const char*>(piece.data()), 2 * piece.size()});
    }
  }
  file.replace();
}

std::string file_name(size_t i, size_t n) {
  char name[96];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, n);
  return name;
}

/// Files of about the same size; fewer than `n` where single weights are larger.
std::vector<std::vector<Weight>> cut(const std::vector<Weight>& weights, int64_t total, size_t n) {
  std::vector<std::vector<Weight>> files(n);
  int64_t at = 0;
  for (const Weight& weight : weights) {
    files[static_cast<size_t>(static_cast<double>(at) / static_cast<double>(total) *
                              static_cast<double>(n))]
        .push_back(weight);
    at += 2 * weight.n_elements();
  }
  std::erase_if(files, [](const auto& file) { return file.empty(); });
  return files;
}

ordered_json write_checkpoint(const Options& o) {
  const auto begin = std::chrono::steady_clock::now();
  Published form = published(o.shape);
  if (o.layers > 0) form.config[form.layers_key] = o.layers;
  const models::Config config = config_of(form, form.config[form.layers_key].get<int64_t>());
  const std::vector<Weight> weights = weights_of(config);
  int64_t total = 0;
  for (const Weight& weight : weights) total += 2 * weight.n_elements();
  std::error_code failed;
  fs::create_directories(o.output, failed);
  const uint64_t room = fs::space(o.output, failed).available;
  if (failed) throw Error("cannot write into " + o.output + ": " + failed.message());
  if (room < static_cast<uint64_t>(total) + (64u << 20))
    throw Error(o.output + " has room for " + std::to_string(room / 1'000'000) +
                " MB, the checkpoint takes " + std::to_string(total / 1'000'000) +
                " MB: name another folder or fewer --layers");
  const std::vector<std::vector<Weight>> files = cut(weights, total, form.n_files);
  ordered_json map = ordered_json::object();
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string name = file_name(i, files.size());
    for (const Weight& weight : files[i]) map[weight.name] = name;
    std::fprintf(stderr, "%s: %zu tensors\n", name.c_str(), files[i].size());
    write_weights((fs::path(o.output) / name).string(), files[i], o.seed);
  }
  const ordered_json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  write_file(o.output + "/model.safetensors.index.json", index.dump(2) + "\n");
  write_file(o.output + "/config.json", form.config.dump(2) + "\n");
  models::open_model(o.output);
  return {
      {"bench", "checkpoint"},
      {"shape", o.shape},
      {"n_layers", config.n_layers},
      {"tensors", weights.size()},
      {"parameters", total / 2},
      {"bytes", total},
      {"files", files.size()},
      {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()}};
}

}  // namespace

int bench_checkpoint(const std::vector<std::string>& args) {
  Options o;
  CLI::App app("Random weights in a published layout", "headcount-runner bench checkpoint");
  app.add_option("--shape", o.shape)
      ->check(CLI::IsMember({"llada-8b", "dream-7b"}))
      ->capture_default_str();
  app.add_option("--output", o.output, "the folder to write")->required();
  app.add_option("--layers", o.layers, "fewer layers than published")->check(CLI::Range(1, 32));
  app.add_option("--seed", o.seed)->capture_default_str();
  std::vector<std::string> reversed(args.rbegin(), args.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  std::printf("%s\n", write_checkpoint(o).dump().c_str());
  return 0;
}

}  // namespace headcount
