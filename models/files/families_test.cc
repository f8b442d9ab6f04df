// What config.json may say and what is refused: small configs of every family (the fuzzers'
// seeds), each changed in one field.
#include "models/files/families.h"

#include <nlohmann/json.hpp>
#include <set>

#include "models/files/formats.h"
#include "models/files/test_directory.h"

namespace headcount::models {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

json published(const std::string& family) { return json::parse(published_text(family)); }

/// A directory whose weights' file holds no tensor: opening it fails at the config where that is
/// refused, at the first weight where it is accepted.
class Families : public TestDirectory {
 protected:
  std::string refusal_of(const json& config) {
    write("config.json", config.dump());
    write("model.safetensors", safetensors("{}", 0));
    return refusal();
  }

  std::string refusal_with(const std::string& family, const json& change) {
    return refusal_of(changed(family, change));
  }

  /// The family's config with these fields changed; those that are "absent" removed.
  static json changed(const std::string& family, const json& change) {
    json config = published(family);
    for (const auto& [key, value] : change.items()) {
      config[key] = value;
      if (value == "absent") config.erase(key);
    }
    return config;
  }

  Config config_of(const std::string& name, const json& change) {
    const json object = changed(name, change);
    const JsonReader reader("config.json", object.dump());
    for (const Family& family : families())
      if (family.model_type == object["model_type"]) return family.config(reader);
    throw Error("no family " + name);
  }
};

constexpr const char* kAll[] = {"llada", "dream", "llama", "mistral", "qwen2",
                                "qwen3", "gpt2",  "gptj",  "opt",     "gpt_neox"};

TEST_F(Families, AreAllKnown) {
  for (const char* family : kAll)
    EXPECT_THAT(refusal_of(published(family)), HasSubstr("lacks tensor")) << family;
}

TEST_F(Families, RefuseByNameWhatTheyDoNotCompute) {
  const std::tuple<const char*, json, const char*> kRefused[] = {
      {"llama", {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}}}, "\"rope_scaling\""},
      {"mistral", {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}}, "\"rope_scaling\""},
      {"qwen2", {{"rope_scaling", {{"factor", 2.0}}}}, "\"rope_scaling\""},
      {"llama", {{"hidden_act", "gelu_10"}}, "\"hidden_act\" is \"gelu_10\""},
      {"llama", {{"quantization_config", {{"bits", 4}}}}, "\"quantization_config\""},
      {"llama", {{"num_local_experts", 8}}, "\"num_local_experts\" is 8"},
      {"llama", {{"architectures", {"LlamaForSequenceClassification"}}}, "\"architectures\""},
      {"llama", {{"partial_rotary_factor", 1.5}}, "\"partial_rotary_factor\""},
      {"dream", {{"use_sliding_window", true}}, "\"use_sliding_window\" is true"},
      {"llada", {{"alibi", true}}, "\"alibi\" is true"},
      {"llada", {{"layer_norm_type", "gemma_rms"}}, "\"layer_norm_type\" is \"gemma_rms\""},
      {"llada", {{"layer_norm_type", "absent"}}, "\"layer_norm_type\" is missing"},
      {"llada", {{"block_type", "sequential"}}, "\"block_type\" is \"sequential\""},
      {"llada", {{"activation_type", "swiglu"}}, "\"activation_type\" is \"swiglu\""},
      {"llada", {{"rope", false}}, "\"rope\" is false"},
      {"llada", {{"attention_layer_norm", true}}, "\"attention_layer_norm\" is true"},
      {"llada", {{"input_emb_norm", true}}, "\"input_emb_norm\" is true"},
      {"llada", {{"scale_logits", true}}, "\"scale_logits\" is true"},
      {"llada", {{"clip_qkv", 8.0}}, "\"clip_qkv\" is 8.0"},
      {"llada", {{"rope_scaling", {{"type", "linear"}}}}, "\"rope_scaling\""},
      {"llada", {{"multi_query_attention", true}}, "\"multi_query_attention\" is true"},
      {"llada", {{"embedding_size", 31}}, "\"embedding_size\" is 31"},
      {"llada", {{"block_group_size", 2}}, "\"block_group_size\" is 2"},
      {"gpt2", {{"scale_attn_by_inverse_layer_idx", true}}, "\"scale_attn_by_inverse_layer_idx\""},
      {"gpt2", {{"add_cross_attention", true}}, "\"add_cross_attention\""},
      {"opt", {{"do_layer_norm_before", false}}, "\"do_layer_norm_before\" is false"},
      {"opt", {{"word_embed_proj_dim", 4}}, "\"word_embed_proj_dim\" is 4"},
      {"mistral", {{"sliding_window", 0}}, "\"sliding_window\" is 0"},
      {"mistral", {{"attention_bias", true}}, "\"attention_bias\" is true"},
      {"mistral", {{"layer_types", {"full_attention"}}}, "\"layer_types\""},
      {"qwen2", {{"layer_types", {"chunked_attention"}}}, "\"layer_types\""},
      {"qwen2", {{"layer_types", {"full_attention", "full_attention"}}}, "\"layer_types\""},
      {"qwen3", {{"layer_types", {"sliding_attention"}}}, "\"layer_types\""},
      {"llama", {{"layer_types", {"sliding_attention"}}}, "\"layer_types\""},
      {"qwen3", {{"mlp_bias", true}}, "\"mlp_bias\" is true"},
      {"llama", {{"rope_parameters", {{"rope_type", "default"}}}}, "\"rope_scaling\""},
      {"qwen2", {{"rope_parameters", {{"rope_theta", 5.0}}}}, "\"rope_theta\" is 10000.0"},
      {"qwen2", {{"rope_parameters", {{"full_attention", json::object()}}}}, "\"full_attention\""},
      {"qwen2", {{"rope_parameters", {{"partial_rotary_factor", 0.5}}}}, "partial_rotary_factor"},
      {"gpt_neox", {{"rope_parameters", {{"partial_rotary_factor", 0.25}}}}, "\"rotary_pct\""},
      {"gpt_neox", {{"rotary_pct", 1e300}}, "\"rotary_pct\""},
      {"gptj", {{"rotary_dim", nullptr}}, "\"rotary_dim\""},
      {"gpt2", {{"scale_attn_weights", false}}, "\"scale_attn_weights\" is false"},
      {"gpt2", {{"pruned_heads", {{"0", {1}}}}}, "\"pruned_heads\""},
      {"opt", {{"_remove_final_layer_norm", true}}, "\"_remove_final_layer_norm\" is true"},
      {"llama", {{"is_causal", false}}, "\"is_causal\" is false"},
      {"llama", {{"final_logit_softcapping", 30.0}}, "\"final_logit_softcapping\" is 30.0"}};
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
      {"llama", {{"intermediate_size", 1e16}}, "must be an integer"},
      {"gpt2", {{"n_embd", 9223372036854775807}}, "\"n_embd\" must be an integer"},
      {"opt", {{"max_position_embeddings", 9007199254740992}}, "the number of positions is 9007"},
      {"gptj", {{"rotary_dim", 3}}, "rotary"},
      {"gptj", {{"rotary_dim", 6}}, "rotary"},
      {"gptj", {{"rotary_dim", 0}}, "\"rotary_dim\" is 0"},
      {"gpt2", {{"num_attention_heads", 4}}, "\"num_attention_heads\" is 4"},
      {"gptj", {{"num_hidden_layers", 9}}, "\"num_hidden_layers\" is 9"},
      {"llama", {{"num_attention_heads", 3}, {"num_key_value_heads", 3}}, "multiple of the number"},
      {"dream", {{"mask_token_id", nullptr}}, "lacks \"mask_token_id\""},
      {"dream", {{"mask_token_id", 32}}, "mask token is outside the vocabulary"}};
  for (const auto& [family, change, named] : kRefused)
    EXPECT_THAT(refusal_with(family, change), HasSubstr(named)) << family << " " << change;
}

TEST_F(Families, ThatNobodyKnowsAreRefusedWithTheListOfThose) {
  EXPECT_THAT(refusal_of({{"model_type", "mamba"}}),
              AllOf(HasSubstr("\"mamba\""), HasSubstr("llada, Dream, llama, mistral, qwen2")));
}

TEST_F(Families, AcceptFieldsWithoutEffect) {
  const json none = {{"attention_dropout", 0.1},
                     {"initializer_range", 0.5},
                     {"use_cache", false},
                     {"torch_dtype", "float16"},
                     {"dtype", "bfloat16"},
                     {"transformers_version", "4.99"},
                     {"_name_or_path", "x"},
                     {"auto_map", {{"AutoConfig", "x.y"}}},
                     {"quantization_config", nullptr},
                     {"pretraining_tp", 2},
                     {"rope_scaling", nullptr},
                     {"pruned_heads", json::object()},
                     {"output_attentions", true},
                     {"architectures", nullptr}};
  for (const char* family : kAll)
    EXPECT_THAT(refusal_with(family, none), HasSubstr("lacks tensor")) << family;
}

TEST_F(Families, AreKnownByArchitectureWhereNoTypeIsGiven) {
  EXPECT_THAT(refusal_with("opt", {{"model_type", "absent"}}),
              HasSubstr("lacks tensor \"model.decoder.embed_tokens.weight\""));
}

TEST_F(Families, ReadEveryBiasFlag) {
  const auto biases = [&](const char* family, const json& change) {
    const Config c = config_of(family, change);
    return std::vector<bool>{c.qkv_bias, c.o_bias, c.mlp_bias, c.norm_bias, c.head_bias};
  };
  using Flags = std::vector<bool>;
  const json none = {{"attention_bias", false}, {"mlp_bias", false}};
  EXPECT_EQ(biases("llama", none), Flags({0, 0, 0, 0, 0}));
  EXPECT_EQ(biases("llama", {{"mlp_bias", false}}), Flags({1, 1, 0, 0, 0}));
  EXPECT_EQ(biases("llama", {{"attention_bias", "absent"}}), Flags({0, 0, 1, 0, 0}));
  EXPECT_EQ(biases("qwen2", json::object()), Flags({1, 0, 0, 0, 0}));
  EXPECT_EQ(biases("qwen3", {{"attention_bias", true}}), Flags({1, 1, 0, 0, 0}));
  EXPECT_EQ(biases("dream", json::object()), Flags({1, 0, 0, 0, 0}));
  EXPECT_EQ(biases("gpt_neox", {{"attention_bias", false}}), Flags({0, 0, 1, 1, 0}));
  EXPECT_EQ(biases("gpt_neox", json::object()), Flags({1, 1, 1, 1, 0}));
  EXPECT_EQ(biases("gptj", json::object()), Flags({0, 0, 1, 1, 1}));
  EXPECT_EQ(biases("opt", {{"enable_bias", false}}), Flags({0, 0, 0, 1, 0}));
  EXPECT_EQ(biases("opt", {{"layer_norm_elementwise_affine", false}}), Flags({1, 1, 1, 0, 0}));
  EXPECT_EQ(biases("llada", {{"include_qkv_bias", true}}), Flags({1, 0, 0, 0, 0}));
  const json all = {{"include_bias", true}};
  EXPECT_EQ(biases("llada", all), Flags({1, 1, 1, 1, 1})) << "norms' too, unless it says otherwise";
  EXPECT_EQ(biases("llada", {{"include_bias", true}, {"bias_for_layer_norm", false}}),
            Flags({1, 1, 1, 0, 1}));
  EXPECT_EQ(biases("llada", {{"include_bias", true}, {"weight_tying", true}}),
            Flags({1, 1, 1, 1, 0}));
}

TEST_F(Families, ReadNormsActivationsAndHeadsOfLladaBlocks) {
  EXPECT_EQ(config_of("llada", {{"layer_norm_type", "default"}}).norm, NormKind::kLayer);
  EXPECT_FALSE(config_of("llada", {{"layer_norm_with_affine", false}}).norm_weight);
  EXPECT_EQ(config_of("llada", {{"activation_type", "gelu"}}).activation, Activation::kGelu);
  const json one = {{"n_kv_heads", nullptr}, {"multi_query_attention", true}};
  EXPECT_EQ(config_of("llada", one).n_kv_heads, 1);
  EXPECT_EQ(config_of("llada", {{"n_kv_heads", nullptr}}).n_kv_heads, 2);
  EXPECT_EQ(config_of("llada", {{"embedding_size", nullptr}}).vocab_size, 32);
  EXPECT_EQ(config_of("llada", {{"embedding_size", 128}}).vocab_size, 128);
  EXPECT_EQ(config_of("llada", {{"mlp_hidden_size", nullptr}, {"mlp_ratio", 3}}).d_mlp, 24);
}

TEST_F(Families, ReadWindowsAsThePublishedCodeDoes) {
  const auto windows = [&](const char* family, json change) {
    change["num_hidden_layers"] = 3;
    const Config c = config_of(family, change);
    return std::vector<int64_t>{c.window_of(0), c.window_of(1), c.window_of(2)};
  };
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(windows("mistral", json::object()), Windows({4, 4, 4}));
  EXPECT_EQ(windows("mistral", {{"sliding_window", nullptr}}), Windows({0, 0, 0}));
  EXPECT_EQ(windows("mistral", {{"sliding_window", "absent"}}), Windows({4096, 4096, 4096}));
  EXPECT_EQ(windows("qwen2", {{"max_window_layers", 1}}), Windows({0, 4, 4}));
  EXPECT_EQ(windows("qwen2", {{"max_window_layers", "absent"}}), Windows({0, 0, 0}));
  EXPECT_EQ(windows("qwen2", {{"sliding_window", nullptr}}), Windows({0, 0, 0}));
  EXPECT_EQ(windows("qwen2", {{"use_sliding_window", false}}), Windows({0, 0, 0}));
  EXPECT_EQ(windows("qwen3", {{"sliding_window", 4}}), Windows({0, 0, 0}));
  const std::string full = "full_attention", sliding = "sliding_attention";
  EXPECT_EQ(windows("qwen2", {{"layer_types", {full, full, sliding}}}), Windows({0, 0, 4}));
  EXPECT_EQ(windows("qwen2", {{"layer_types", {full, full, full}}}), Windows({0, 0, 0}));
}

TEST_F(Families, ReadHeadsAndSizes) {
  EXPECT_EQ(config_of("llama", {{"num_key_value_heads", "absent"}}).n_kv_heads, 2);
  EXPECT_EQ(config_of("llama", {{"head_dim", 6}, {"hidden_size", 7}}).d_head, 6);
  EXPECT_EQ(config_of("mistral", {{"head_dim", nullptr}}).d_head, 4);
  EXPECT_EQ(config_of("qwen3", {{"head_dim", "absent"}, {"hidden_size", 7}}).d_head, 128);
  EXPECT_EQ(config_of("gpt2", {{"n_inner", 20}}).d_mlp, 20);
  EXPECT_EQ(config_of("gpt2", json::object()).d_mlp, 32);
  const Config opt = config_of("opt", json::object());
  EXPECT_EQ(opt.n_learned_positions, 18);
  EXPECT_EQ(opt.position_offset, 2);
}

TEST_F(Families, ReadHowHeadsTurn) {
  const Config llama = config_of("llama", json::object());
  EXPECT_EQ(llama.rope_scaling.factor, 8);
  EXPECT_EQ(llama.rope_scaling.original_positions, 8);
  const json newer = {{"rope_type", "llama3"},   {"rope_theta", 7e5},
                      {"factor", 8.0},           {"low_freq_factor", 1.0},
                      {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8}};
  const Config same = config_of(
      "llama", {{"rope_scaling", "absent"}, {"rope_theta", "absent"}, {"rope_parameters", newer}});
  EXPECT_EQ(same.rope_theta, 7e5);
  EXPECT_EQ(same.rope_scaling.factor, 8);
  EXPECT_EQ(config_of("qwen2", {{"rope_scaling", {{"type", "default"}}}}).rope_scaling.factor, 1);

  EXPECT_EQ(config_of("gpt_neox", json::object()).d_rotary, 2);
  EXPECT_EQ(config_of("gpt_neox", {{"rotary_pct", "absent"}}).d_rotary, 1);
  const json share = {{"rotary_pct", "absent"},
                      {"rotary_emb_base", "absent"},
                      {"rope_parameters", {{"partial_rotary_factor", 1.0}, {"rope_theta", 5e3}}}};
  EXPECT_EQ(config_of("gpt_neox", share).d_rotary, 4);
  EXPECT_EQ(config_of("gpt_neox", share).rope_theta, 5e3);
  EXPECT_EQ(config_of("gptj", json::object()).rotary, RotaryStyle::kInterleaved);
}

TEST_F(Families, ReadEveryIdThatEndsAText) {
  const Config c = config_of("llama", {{"bos_token_id", 1}, {"pad_token_id", nullptr}});
  EXPECT_EQ(c.stop_ids, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(c.eos_id, 2);
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_EQ(c.pad_id, -1);
  EXPECT_EQ(config_of("dream", {{"eos_token_id", 5}}).stop_ids, (std::vector<int64_t>{5}));
  EXPECT_TRUE(config_of("gpt2", json::object()).stop_ids.empty());
  // Small models that keep a large one's ids have no such token.
  const Config small = config_of("gpt2", {{"bos_token_id", 50256}, {"eos_token_id", {50256, 3}}});
  EXPECT_EQ(small.bos_id, -1);
  EXPECT_EQ(small.stop_ids, (std::vector<int64_t>{3}));
}

TEST_F(Families, NameEveryWeightTheirConfigsCanAskFor) {
  const json all_biases = {{"include_bias", true},
                           {"bias_for_layer_norm", true},
                           {"attention_bias", true},
                           {"mlp_bias", true}};
  std::set<std::string> named;
  for (const std::string name : kAll) {
    const bool has_fields = name == "llada" || name == "llama";
    const Config c = config_of(name, has_fields ? all_biases : json::object());
    const auto family = std::find_if(families().begin(), families().end(), [&](const Family& one) {
      return one.model_type == published(name)["model_type"];
    });
    for (const WeightShape& weight : weight_shapes(c))
      named.insert(family->stored(weight.name).name);
  }
  EXPECT_THAT(named, testing::IsSupersetOf({"ln_f.bias", "blocks.0.attn_norm.bias", "norm.weight",
                                            "layers.0.mlp.down_proj.bias"}));
}

TEST(Goldens, OpenWithNothingLeftOver) {
  const fs::path root = shared("data/goldens");
  SKIP_WITHOUT(root);
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
