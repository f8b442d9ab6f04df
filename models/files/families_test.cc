// What config.json may say and what is refused: small configs of every family (the fuzzers'
// seeds), each changed in one field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "models/files/config.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

json published(const std::string& family) {
  return json::parse(std::ifstream(HEADCOUNT_SOURCE_DIR "/tests/fuzz/corpus/config/" + family));
}

/// A directory whose weights' file holds no tensor: opening it fails at the config where that is
/// refused, at the first weight where it is accepted.
class Families : public testing::Test {
 protected:
  Families() { fs::create_directories(path_); }
  ~Families() override { fs::remove_all(path_); }

  std::string refusal(const json& config) {
    std::ofstream(path_ / "config.json") << config.dump();
    std::ofstream(path_ / "model.safetensors").write("\x02\0\0\0\0\0\0\0{}", 10);
    try {
      open_model(path_.string());
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  std::string refusal_with(const std::string& family, const json& change) {
    json config = published(family);
    config.merge_patch(change);
    return refusal(config);
  }

 private:
  fs::path path_ = fs::temp_directory_path() / ("headcount-families-" + std::to_string(::getpid()));
};

constexpr const char* kAll[] = {"llada", "dream", "llama", "mistral", "qwen2",
                                "qwen3", "gpt2",  "gptj",  "opt",     "gpt_neox"};

TEST_F(Families, AreAllKnown) {
  for (const char* family : kAll)
    EXPECT_THAT(refusal(published(family)), HasSubstr("lacks tensor")) << family;
}

TEST_F(Families, RefuseByNameWhatTheyDoNotCompute) {
  const std::tuple<const char*, json, const char*> kRefused[] = {
      {"llama", {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}}}, "\"rope_scaling\""},
      {"mistral", {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}}, "\"rope_scaling\""},
      {"llama", {{"hidden_act", "gelu_10"}}, "\"hidden_act\" is \"gelu_10\""},
      {"llama", {{"quantization_config", {{"bits", 4}}}}, "\"quantization_config\""},
      {"llama", {{"num_local_experts", 8}}, "\"num_local_experts\" is 8"},
      {"llama", {{"architectures", {"LlamaForSequenceClassification"}}}, "\"architectures\""},
      {"llama", {{"partial_rotary_factor", 1.5}}, "\"partial_rotary_factor\""},
      {"dream", {{"use_sliding_window", true}}, "\"use_sliding_window\" is true"},
      {"llada", {{"alibi", true}}, "\"alibi\" is true"},
      {"llada", {{"layer_norm_type", "default"}}, "\"layer_norm_type\""},
      {"llada", {{"block_group_size", 2}}, "\"block_group_size\" is 2"},
      {"gpt2", {{"scale_attn_by_inverse_layer_idx", true}}, "\"scale_attn_by_inverse_layer_idx\""},
      {"gpt2", {{"add_cross_attention", true}}, "\"add_cross_attention\""},
      {"opt", {{"do_layer_norm_before", false}}, "\"do_layer_norm_before\" is false"},
      {"opt", {{"word_embed_proj_dim", 4}}, "\"word_embed_proj_dim\" is 4"},
      {"mistral", {{"sliding_window", 0}}, "\"sliding_window\" is 0"}};
  for (const auto& [family, change, named] : kRefused)
    EXPECT_THAT(refusal_with(family, change), AllOf(HasSubstr("config.json"), HasSubstr(named)))
        << family << " " << change;
}

TEST_F(Families, RefuseShapesThatAreNone) {
  const std::tuple<const char*, json, const char*> kRefused[] = {
      {"llama", {{"num_key_value_heads", 3}}, "multiple of the number of key/value heads"},
      {"llama", {{"hidden_size", nullptr}}, "lacks \"hidden_size\""},
      {"llama", {{"hidden_size", "8"}}, "must be an integer"},
      {"llama", {{"hidden_size", 1e30}}, "must be an integer"},
      {"llama", {{"num_hidden_layers", -1}}, "the number of layers is -1"},
      {"llama", {{"eos_token_id", 99}}, "special token is outside the vocabulary"},
      {"gptj", {{"rotary_dim", 3}}, "rotary"},
      {"gptj", {{"rotary_dim", 6}}, "rotary"},
      {"llama", {{"num_attention_heads", 3}, {"num_key_value_heads", 3}}, "multiple of the number"},
      {"dream", {{"mask_token_id", nullptr}}, "lacks \"mask_token_id\""},
      {"dream", {{"mask_token_id", 32}}, "mask token is outside the vocabulary"}};
  for (const auto& [family, change, named] : kRefused)
    EXPECT_THAT(refusal_with(family, change), HasSubstr(named)) << family << " " << change;
}

TEST_F(Families, ThatNobodyKnowsAreRefusedWithTheListOfThose) {
  EXPECT_THAT(refusal({{"model_type", "mamba"}}),
              AllOf(HasSubstr("\"mamba\""), HasSubstr("llada, Dream, llama, mistral, qwen2")));
}

TEST(Goldens, OpenWithNothingLeftOver) {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  const fs::path root =
      fs::path(given != nullptr ? given : HEADCOUNT_SOURCE_DIR "/../shared") / "data/goldens";
  if (!fs::exists(root)) GTEST_SKIP() << root << " is not there";
  int opened = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(root)) {
    const ModelFiles files = open_model(entry.path().string());
    EXPECT_EQ(files.tensors.size(), weight_shapes(files.config).size());
    EXPECT_THAT(files.extra, testing::IsEmpty()) << entry.path();
    ++opened;
  }
  EXPECT_EQ(opened, 12);
}

}  // namespace
}  // namespace headcount::models
