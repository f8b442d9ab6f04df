// Writing the test folder. Part of the test program only.
#include "experiments/test_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "models/files/config.h"
#include "schemas/error.h"

namespace headcount::experiments {

namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

/// A LLaDA directory with weights of zero, in the addition vocabulary.
void write_masked(const fs::path& directory, int64_t n_layers, int64_t n_heads) {
  fs::create_directory(directory);
  models::Config config;
  config.family = "llada";
  config.n_layers = n_layers;
  config.n_heads = config.n_kv_heads = n_heads;
  config.d_head = 2;
  config.d_model = 2 * n_heads;
  config.d_mlp = 4;
  config.vocab_size = 16;
  const auto number = [](int64_t value) { return std::to_string(value); };
  write(directory / "config.json",
        R"({"model_type": "llada", "n_layers": )" + number(n_layers) + R"(, "n_heads": )" +
            number(n_heads) + R"(, "n_kv_heads": )" + number(n_heads) + R"(, "d_model": )" +
            number(config.d_model) +
            R"(, "mlp_hidden_size": 4, "vocab_size": 16, "embedding_size": 16,)"
            R"( "block_type": "llama", "layer_norm_type": "rms", "activation_type": "silu",)"
            R"( "rope": true, "weight_tying": false,)"
            R"( "max_sequence_length": 32, "mask_token_id": 15})");
  std::string header = "{";
  size_t size = 0;
  for (const auto& weight : models::weight_shapes(config)) {
    size_t bytes = 4;
    std::string shape;
    for (const int64_t extent : weight.shape) {
      bytes *= static_cast<size_t>(extent);
      shape += (shape.empty() ? "" : ",") + number(extent);
    }
    header += (size == 0 ? "\"" : ",\"") + models::published_name(config, weight.name) +
              R"(":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[)" +
              std::to_string(size) + "," + std::to_string(size + bytes) + "]}";
    size += bytes;
  }
  header += "}";
  write(directory / "model.safetensors",
        raw<uint64_t>(header.size()) + header + std::string(size, '\0'));
}

/// A llama2.c directory with weights of zero and a tokenizer of single bytes.
void write_causal(const fs::path& directory) {
  fs::create_directory(directory);
  constexpr std::array<int32_t, 7> header = {4, 4, 2, 2, 2, 259, 32};
  models::Config config;
  config.d_model = config.d_mlp = 4;
  config.n_layers = config.n_heads = config.n_kv_heads = 2;
  config.d_head = 2;
  config.vocab_size = 259;
  config.tied_head = true;
  size_t n_floats = size_t{32} * 2;  // the rotary tables
  for (const auto& weight : models::weight_shapes(config)) {
    size_t n = 1;
    for (const int64_t extent : weight.shape) n *= static_cast<size_t>(extent);
    n_floats += n;
  }
  std::string bytes;
  for (const int32_t value : header) bytes += raw(value);
  write(directory / "model.bin", bytes + std::string(4 * n_floats, '\0'));
  std::string tokens = raw<uint32_t>(6);
  for (int id = 0; id < 259; ++id) {
    const std::string piece = "t" + std::to_string(id);
    tokens += raw(0.0f) + raw(static_cast<int32_t>(piece.size())) + piece;
  }
  write(directory / "tok259.bin", tokens);
}

void write_broken_models(const fs::path& root) {
  fs::create_directory(root / "empty-folder");
  fs::create_directory(root / "other-family");
  write(root / "other-family" / "config.json", R"({"model_type": "mamba"})");
  fs::copy(root / "masked", root / "truncated");
  fs::resize_file(root / "truncated" / "model.safetensors", 3000);
}

void write_datasets(const fs::path& root) {
  std::string story;
  for (int i = 0; i < 100; ++i) story += "Once upon a time. ";
  write(root / "story.txt", story);
  write(root / "empty.txt", "");
  write(
      root / "labels.jsonl",
      "{\"ids\": [1, 2, 3], \"labels\": [2, 3, -100]}\n{\"ids\": [1, 4], \"labels\": [4, -100]}\n");
  write(root / "choices.jsonl",
        "{\"ids\": [1, 2], \"choices\": [[3], [4]], \"label\": 0}\n"
        "{\"ids\": [1, 5], \"choices\": [[3], [4]], \"label\": 1}\n");
  write(root / "broken.jsonl", "{\"ids\": [1, 2, 3], \"labels\": [2, 3, -100]}\n{\"ids\": [1, 2\n");
  write(root / "outside.jsonl", "{\"ids\": [1, 999], \"labels\": [2, -100]}\n");
}

}  // namespace

TestFiles::TestFiles() {
  std::string pattern = (fs::temp_directory_path() / "headcount-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw Error("cannot make " + pattern);
  root_ = pattern;
  write_masked(root_ / "masked", 2, 2);
  write_masked(root_ / "masked-wide", 3, 4);
  write_causal(root_ / "causal");
  write_broken_models(root_);
  write_datasets(root_);
  fs::create_directory(root_ / "builtin");
  fs::copy(root_ / "masked", root_ / "builtin" / "addition");
  fs::copy(root_ / "masked-wide", root_ / "builtin" / "addition-gqa");
  if (const char* before = std::getenv("HEADCOUNT_BUILTIN")) builtin_before_ = before;
  ::setenv("HEADCOUNT_BUILTIN", (root_ / "builtin").c_str(), 1);
}

TestFiles::~TestFiles() {
  if (builtin_before_) {
    ::setenv("HEADCOUNT_BUILTIN", builtin_before_->c_str(), 1);
  } else {
    ::unsetenv("HEADCOUNT_BUILTIN");
  }
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

std::string TestFiles::without_root(std::string text) const {
  for (size_t at = 0; (at = text.find(root(), at)) != std::string::npos;) {
    text.replace(at, root().size(), "ROOT");
  }
  return text;
}

namespace {

TEST(TestFiles, GoodModelsOpen) {
  const TestFiles files;
  EXPECT_TRUE(models::open_model(files.root() + "/masked").config.masked());
  EXPECT_EQ(models::open_model(files.root() + "/masked-wide").config.n_heads, 4);
  const auto causal = models::open_model(files.root() + "/causal");
  EXPECT_TRUE(causal.config.causal);
  EXPECT_NE(causal.tokenizer, "");
}

}  // namespace
}  // namespace headcount::experiments
