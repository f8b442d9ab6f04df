// Published layouts of the weights: names, prefixes, fused and transposed tensors, shards, and what
// files hold besides. The names here are written from the published checkpoints, not by the tables
// that are tested.
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "models/files/safetensors.h"
#include "models/files/test_directory.h"

namespace headcount::models {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

json published(const std::string& family) { return json::parse(published_text(family)); }

using Checkpoints = TestDirectory;

Shapes llama_shapes() {
  const std::string layer = "model.layers.0.";
  return {{"model.embed_tokens.weight", {32, 8}},
          {layer + "input_layernorm.weight", {8}},
          {layer + "self_attn.q_proj.weight", {8, 8}},
          {layer + "self_attn.q_proj.bias", {8}},
          {layer + "self_attn.k_proj.weight", {4, 8}},
          {layer + "self_attn.k_proj.bias", {4}},
          {layer + "self_attn.v_proj.weight", {4, 8}},
          {layer + "self_attn.v_proj.bias", {4}},
          {layer + "self_attn.o_proj.weight", {8, 8}},
          {layer + "self_attn.o_proj.bias", {8}},
          {layer + "post_attention_layernorm.weight", {8}},
          {layer + "mlp.gate_proj.weight", {16, 8}},
          {layer + "mlp.gate_proj.bias", {16}},
          {layer + "mlp.up_proj.weight", {16, 8}},
          {layer + "mlp.up_proj.bias", {16}},
          {layer + "mlp.down_proj.weight", {8, 16}},
          {layer + "mlp.down_proj.bias", {8}},
          {"model.norm.weight", {8}},
          {"lm_head.weight", {32, 8}}};
}

Shapes gpt2_shapes(const std::string& prefix) {
  const std::string layer = prefix + "h.0.";
  return {{prefix + "wte.weight", {32, 8}},
          {prefix + "wpe.weight", {16, 8}},
          {layer + "ln_1.weight", {8}},
          {layer + "ln_1.bias", {8}},
          {layer + "attn.c_attn.weight", {8, 24}},
          {layer + "attn.c_attn.bias", {24}},
          {layer + "attn.c_proj.weight", {8, 8}},
          {layer + "attn.c_proj.bias", {8}},
          {layer + "attn.bias", {1, 1, 16, 16}},
          {layer + "attn.masked_bias", {}},
          {layer + "ln_2.weight", {8}},
          {layer + "ln_2.bias", {8}},
          {layer + "mlp.c_fc.weight", {8, 32}},
          {layer + "mlp.c_fc.bias", {32}},
          {layer + "mlp.c_proj.weight", {32, 8}},
          {layer + "mlp.c_proj.bias", {8}},
          {prefix + "ln_f.weight", {8}},
          {prefix + "ln_f.bias", {8}}};
}

Shapes gpt_neox_shapes() {
  const std::string root = "gpt_neox.", layer = root + "layers.0.";
  return {{root + "embed_in.weight", {32, 8}},
          {layer + "input_layernorm.weight", {8}},
          {layer + "input_layernorm.bias", {8}},
          {layer + "post_attention_layernorm.weight", {8}},
          {layer + "post_attention_layernorm.bias", {8}},
          {layer + "attention.query_key_value.weight", {24, 8}},
          {layer + "attention.query_key_value.bias", {24}},
          {layer + "attention.dense.weight", {8, 8}},
          {layer + "attention.dense.bias", {8}},
          {layer + "attention.rotary_emb.inv_freq", {1}},
          {layer + "mlp.dense_h_to_4h.weight", {16, 8}},
          {layer + "mlp.dense_h_to_4h.bias", {16}},
          {layer + "mlp.dense_4h_to_h.weight", {8, 16}},
          {layer + "mlp.dense_4h_to_h.bias", {8}},
          {root + "final_layer_norm.weight", {8}},
          {root + "final_layer_norm.bias", {8}},
          {"embed_out.weight", {32, 8}}};
}

void remove(Shapes& shapes, const std::string& name) {
  std::erase_if(shapes, [&](const auto& entry) { return entry.first == name; });
}

const TensorPlace& weight(const ModelFiles& files, const std::string& name) {
  for (const TensorPlace& place : files.tensors)
    if (place.name == name) return place;
  throw Error("no weight " + name);
}

/// The element of the stored tensor at which the canonical weight's element [row, column] lies.
int64_t stored_element(const TensorPlace& place, int64_t row, int64_t column) {
  uint64_t start = 0;
  for (const TensorPlace& stored : read_safetensors(place.file))
    if (stored.name == place.stored) start = stored.offset;
  int64_t flat = row * place.shape[1] + column;
  int64_t element = static_cast<int64_t>((place.offset - start) / dtype_size(place.dtype));
  std::vector<int64_t> strides = place.strides;
  if (strides.empty()) strides = {place.shape[1], 1};
  for (size_t i = place.sizes.size(); i-- > 0;) {
    element += flat % place.sizes[i] * strides[i];
    flat /= place.sizes[i];
  }
  return element;
}

TEST_F(Checkpoints, OfGpt2LieTransposedAndFusedByColumns) {
  write("config.json", published("gpt2").dump());
  write("model.safetensors", safetensors(gpt2_shapes("")));
  const ModelFiles files = open_model(directory_);
  EXPECT_THAT(files.extra, IsEmpty()) << "stored masks are no weights";
  EXPECT_EQ(stored_element(weight(files, "layers.0.k"), 3, 5), 5 * 24 + 8 + 3);
  EXPECT_EQ(stored_element(weight(files, "layers.0.v"), 7, 7), 7 * 24 + 16 + 7);
  EXPECT_EQ(stored_element(weight(files, "layers.0.up"), 30, 2), 2 * 32 + 30);
  EXPECT_EQ(stored_element(weight(files, "layers.0.down"), 2, 30), 30 * 8 + 2);
  EXPECT_EQ(stored_element(weight(files, "embedding"), 2, 3), 2 * 8 + 3);
  const TensorPlace& v_bias = weight(files, "layers.0.v_bias");
  EXPECT_EQ(v_bias.offset - weight(files, "layers.0.q_bias").offset, 16 * sizeof(float));
  EXPECT_EQ(v_bias.size_bytes, 8 * sizeof(float));
}

TEST_F(Checkpoints, OfGptNeoXAreFusedHeadByHead) {
  write("config.json", published("gpt_neox").dump());
  write("model.safetensors", safetensors(gpt_neox_shapes(), "F16"));
  const ModelFiles files = open_model(directory_);
  EXPECT_THAT(files.extra, IsEmpty());
  for (const int64_t head : {0, 1}) {
    EXPECT_EQ(stored_element(weight(files, "layers.0.q"), head * 4 + 3, 5),
              (head * 12 + 3) * 8 + 5);
    EXPECT_EQ(stored_element(weight(files, "layers.0.k"), head * 4, 0), (head * 12 + 4) * 8);
    EXPECT_EQ(stored_element(weight(files, "layers.0.v"), head * 4 + 1, 7),
              (head * 12 + 9) * 8 + 7);
  }
}

TEST_F(Checkpoints, AreFoundWithAndWithoutTheirPrefix) {
  write("config.json", published("gpt2").dump());
  for (const char* prefix : {"transformer.", ""}) {
    write("model.safetensors", safetensors(gpt2_shapes(prefix)));
    const ModelFiles files = open_model(directory_);
    EXPECT_EQ(weight(files, "embedding").stored, std::string(prefix) + "wte.weight");
    EXPECT_THAT(files.extra, IsEmpty());
  }
}

TEST_F(Checkpoints, OfEveryDtypeOfNumbersOpen) {
  write("config.json", published("llama").dump());
  for (const char* dtype : {"F64", "F32", "BF16", "F16"}) {
    write("model.safetensors", safetensors(llama_shapes(), dtype));
    const ModelFiles files = open_model(directory_);
    EXPECT_EQ(weight(files, "layers.0.q").size_bytes, 64 * dtype_size(dtype));
    EXPECT_EQ(weight(files, "layers.0.k").shape, (std::vector<int64_t>{4, 8}));
  }
}

TEST_F(Checkpoints, WithTiedTensorsMayHoldEitherOrBoth) {
  json config = published("llama");
  config["tie_word_embeddings"] = true;
  write("config.json", config.dump());
  write("model.safetensors", safetensors(llama_shapes()));
  EXPECT_THAT(open_model(directory_).extra, ElementsAre("lm_head.weight"));

  Shapes one = llama_shapes();
  remove(one, "lm_head.weight");
  write("model.safetensors", safetensors(one));
  EXPECT_THAT(open_model(directory_).extra, IsEmpty());

  one = llama_shapes();
  remove(one, "model.embed_tokens.weight");
  write("model.safetensors", safetensors(one));
  EXPECT_EQ(weight(open_model(directory_), "embedding").stored, "lm_head.weight");
}

TEST_F(Checkpoints, NameWhatIsMissingMisshapenOrForeign) {
  write("config.json", published("llama").dump());
  const auto opened = [&](const std::function<void(Shapes&)>& change) {
    Shapes shapes = llama_shapes();
    change(shapes);
    write("model.safetensors", safetensors(shapes));
    return refusal();
  };
  EXPECT_THAT(opened([](Shapes& s) { remove(s, "lm_head.weight"); }),
              AllOf(HasSubstr("model.safetensors lacks tensor \"lm_head.weight\""),
                    HasSubstr("config.json asks for")));
  EXPECT_THAT(opened([](Shapes& s) { remove(s, "model.layers.0.self_attn.v_proj.bias"); }),
              HasSubstr("lacks tensor \"model.layers.0.self_attn.v_proj.bias\""));
  EXPECT_THAT(opened([](Shapes& s) {
                s[0].second = {31, 8};
              }),
              AllOf(HasSubstr("\"model.embed_tokens.weight\" has shape [31, 8]"),
                    HasSubstr("asks for [32, 8]")));
  EXPECT_THAT(opened([](Shapes& s) { s[0].second = {256}; }), HasSubstr("has shape [256]"));

  Shapes shapes = llama_shapes();
  shapes.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {2}});
  shapes.push_back({"model.layers.1.mlp.up_proj.weight", {16, 8}});
  shapes.push_back({"value_head.weight", {1, 8}});
  write("model.safetensors", safetensors(shapes));
  EXPECT_THAT(open_model(directory_).extra,
              ElementsAre("model.layers.1.mlp.up_proj.weight", "value_head.weight"));
}

/// Two shards and their index, changed.
class Shards : public Checkpoints {
 protected:
  std::string opened(const std::function<void(json&)>& change = {}) {
    write("config.json", published("llama").dump());
    const Shapes all = llama_shapes();
    json map = json::object();
    for (size_t i = 0; i < all.size(); ++i) map[all[i].first] = i < 9 ? kFirst : kSecond;
    write(kFirst, safetensors(Shapes(all.begin(), all.begin() + 9)));
    Shapes second(all.begin() + 9, all.end());
    second.push_back({"nobody", {1}});
    write(kSecond, safetensors(second));
    if (change) change(map);
    write("model.safetensors.index.json",
          json{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}.dump());
    return refusal();
  }

  static constexpr const char* kFirst = "model-00001-of-00002.safetensors";
  static constexpr const char* kSecond = "model-00002-of-00002.safetensors";
};

TEST_F(Shards, AreReadThroughTheirIndex) {
  ASSERT_EQ(opened(), "(no error)");
  const ModelFiles files = open_model(directory_);
  EXPECT_EQ(weight(files, "embedding").file, directory_ + "/" + kFirst);
  EXPECT_EQ(weight(files, "head").file, directory_ + "/" + kSecond);
  EXPECT_THAT(files.extra, ElementsAre("nobody")) << "in a shard, but not in the index";
}

TEST_F(Shards, MustAgreeWithTheirIndex) {
  const auto placed = [&](const char* name, const json& shard) {
    return opened([&](json& map) { map[name] = shard; });
  };
  EXPECT_THAT(placed("lm_head.weight", kFirst),
              HasSubstr(std::string(kFirst) + " lacks tensor \"lm_head.weight\""));
  EXPECT_THAT(placed("lm_head.weight", "gone.safetensors"),
              HasSubstr("/gone.safetensors is missing, which"));
  for (const json& outside :
       {json("../x.safetensors"), json("/etc/passwd"), json(".hidden"), json(""), json(nullptr)})
    EXPECT_THAT(placed("lm_head.weight", outside),
                HasSubstr("places \"lm_head.weight\" in no file of this directory"));
  EXPECT_THAT(opened([](json& map) { map.erase("lm_head.weight"); }),
              HasSubstr("index.json lacks tensor \"lm_head.weight\""));
  EXPECT_THAT(opened([](json& map) { map = json::array(); }), HasSubstr("no \"weight_map\""));
}

TEST_F(Shards, WithoutTheirIndexAreRefusedWithTheFix) {
  opened();
  fs::remove(directory_ + "/model.safetensors.index.json");
  EXPECT_THAT(refusal(), HasSubstr("no model.safetensors.index.json, which says what is in them"));
}

TEST_F(Shards, ThatAreNoFilesNeitherLoopNorWait) {
  opened();
  const fs::path first = fs::path(directory_) / kFirst;
  fs::remove(first);
  fs::create_symlink(kFirst, first);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("cannot open"), HasSubstr("symbolic links")));
  fs::remove(first);
  fs::create_directory(first);
  EXPECT_THAT(refusal(), HasSubstr("not a regular file"));
  fs::remove(first);
  ASSERT_EQ(::mkfifo(first.c_str(), 0600), 0);
  EXPECT_THAT(refusal(), HasSubstr("not a regular file"));
  fs::create_symlink("nowhere", fs::path(directory_) / "model.safetensors");
  EXPECT_THAT(refusal(), HasSubstr("cannot open " + directory_ + "/model.safetensors"));
}

TEST_F(Checkpoints, OfTinydiffOpenWithAConfigOfTheirOwn) {
  const std::string bare = shared("data/weights/no_licence/tinydiff_student_1M");
  SKIP_WITHOUT(bare);
  const ModelFiles without = open_model(bare);
  EXPECT_EQ(without.config.n_layers, 5);
  EXPECT_EQ(without.config.n_heads, 4);
  EXPECT_EQ(without.config.n_time_steps, 128);
  EXPECT_THAT(without.extra, IsEmpty());

  write("config.json", json{{"model_type", "tinydiff"},
                            {"n_layers", 5},
                            {"n_heads", 4},
                            {"d_model", 128},
                            {"d_mlp", 512},
                            {"vocab_size", 128},
                            {"max_positions", 256},
                            {"n_time_steps", 128},
                            {"mask_token_id", 0}}
                           .dump());
  fs::copy_file(without.tensors[0].file, directory_ + "/model.safetensors");
  EXPECT_EQ(fingerprint(open_model(directory_)), fingerprint(without));
}

}  // namespace
}  // namespace headcount::models
