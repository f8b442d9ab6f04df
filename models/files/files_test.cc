// Models on disk: what is read from good directories, and the one sentence every bad one gets.
#include <nlohmann/json.hpp>

#include "models/files/formats.h"
#include "models/files/mapped_file.h"
#include "models/files/safetensors.h"
#include "models/files/test_directory.h"

namespace headcount::models {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

using Files = TestDirectory;

/// A one-layer LLaDA model: its config and the F32 tensors it asks for.
json tiny_config() {
  return {{"model_type", "llada"},
          {"n_layers", 1},
          {"n_heads", 4},
          {"n_kv_heads", 2},
          {"d_model", 16},
          {"mlp_hidden_size", 24},
          {"vocab_size", 10},
          {"embedding_size", 12},
          {"max_sequence_length", 32},
          {"mask_token_id", 11},
          {"rope_theta", 500000.0},
          {"weight_tying", false},
          {"block_type", "llama"},
          {"layer_norm_type", "rms"},
          {"activation_type", "silu"},
          {"rope", true}};
}

Config tiny_shape() {
  Config c;
  c.family = "llada";
  c.n_layers = 1;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.d_model = 16;
  c.d_head = 4;
  c.d_mlp = 24;
  c.vocab_size = 12;
  return c;
}

std::string tiny_weights(const std::function<void(json&)>& change = {}) {
  json header = json::object();
  uint64_t end = 0;
  for (const auto& [name, shape] : weight_shapes(tiny_shape())) {
    uint64_t size = 4;
    for (const int64_t extent : shape) size *= static_cast<uint64_t>(extent);
    header[published_name(tiny_shape(), name)] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", {end, end + size}}};
    end += size;
  }
  if (change) change(header);
  return safetensors(header.dump(), end);
}

TEST_F(Files, OpensALladaDirectoryWithFewerKeyValueHeads) {
  write("config.json", tiny_config().dump());
  write("model.safetensors", tiny_weights());
  const ModelFiles files = open_model(directory_);
  EXPECT_EQ(files.config.family, "llada");
  EXPECT_EQ(files.config.n_kv_heads, 2);
  EXPECT_EQ(files.config.d_head, 4);
  EXPECT_EQ(files.config.vocab_size, 12) << "the embedding has embedding_size rows";
  EXPECT_EQ(files.config.mask_id, 11);
  EXPECT_FALSE(files.config.causal);
  ASSERT_EQ(files.tensors.size(), weight_shapes(files.config).size());
  EXPECT_EQ(files.tensors[3].name, "layers.0.k");
  EXPECT_EQ(files.tensors[3].shape, (std::vector<int64_t>{8, 16}));
}

TEST_F(Files, RefusesAWrongConfigNamingTheKey) {
  write("model.safetensors", tiny_weights());
  const auto refused = [&](const std::string& key, const json& value) {
    json config = tiny_config();
    if (value.is_discarded()) {
      config.erase(key);
    } else {
      config[key] = value;
    }
    write("config.json", config.dump());
    return error_of([&] { open_model(directory_); });
  };
  EXPECT_THAT(refused("model_type", "mamba"), HasSubstr("model_type \"mamba\" is not a family"));
  EXPECT_THAT(refused("n_layers", json(json::value_t::discarded)), HasSubstr("lacks \"n_layers\""));
  EXPECT_THAT(refused("n_layers", "three"),
              HasSubstr("\"n_layers\" must be an integer, found \"three\""));
  EXPECT_THAT(refused("n_layers", -1), HasSubstr("the number of layers is -1"));
  EXPECT_THAT(refused("n_layers", 9'000'000'000'000'000), HasSubstr("the number of layers"));
  EXPECT_THAT(refused("n_layers", 2),
              HasSubstr("lacks tensor \"model.transformer.blocks.1.attn_norm.weight\""));
  EXPECT_THAT(refused("n_heads", 0), HasSubstr("the number of heads is 0"));
  EXPECT_THAT(refused("n_heads", 3), HasSubstr("not a multiple"));
  EXPECT_THAT(refused("n_kv_heads", 3), HasSubstr("not a multiple"));
  EXPECT_THAT(refused("mlp_hidden_size", 32), HasSubstr("has shape [24, 16]"));
  EXPECT_THAT(refused("mask_token_id", 12), HasSubstr("mask token is outside the vocabulary"));
  EXPECT_THAT(refused("mask_token_id", nullptr), HasSubstr("lacks \"mask_token_id\""));
  EXPECT_THAT(refused("layer_norm_type", "low_precision"), HasSubstr("does not compute"));
  EXPECT_THAT(refused("alibi", true), HasSubstr("\"alibi\" is true"));
  EXPECT_THAT(refused("rms_norm_eps", 0), HasSubstr("epsilon"));
}

TEST_F(Files, RefusesConfigsThatAreNoJson) {
  write("model.safetensors", tiny_weights());
  const auto refused = [&](const std::string& text) {
    write("config.json", text);
    return error_of([&] { open_model(directory_); });
  };
  EXPECT_THAT(refused(tiny_config().dump().substr(0, 60)),
              HasSubstr("config.json is not valid JSON; it may be truncated"));
  EXPECT_THAT(refused("[1]"), HasSubstr("config.json is not a JSON object"));
  EXPECT_THAT(refused(""), HasSubstr("config.json is not valid JSON"));
  EXPECT_THAT(refused(std::string(100'000, '[')), HasSubstr("config.json is nested too deeply"));
}

TEST_F(Files, RefusesWhatIsNoModelDirectory) {
  EXPECT_THAT(error_of([&] { open_model(directory_ + "/absent"); }),
              HasSubstr("absent does not exist"));
  EXPECT_THAT(error_of([&] { open_model(directory_); }), HasSubstr("holds no model"));
  EXPECT_THAT(error_of([&] { open_model(write("file", "x")); }),
              HasSubstr("is a file; a model is a directory"));
  EXPECT_THAT(error_of([&] { open_model("builtin:nosuch"); }),
              HasSubstr("there is no built-in model \"nosuch\""));
  EXPECT_THAT(error_of([&] { open_model("builtin:../x"); }), HasSubstr("names no built-in model"));
  write("config.json", tiny_config().dump());
  EXPECT_THAT(error_of([&] { open_model(directory_); }), HasSubstr(directory_ + " has no weights"));
}

TEST_F(Files, RefusesTensorsTheConfigDoesNotMean) {
  write("config.json", tiny_config().dump());
  const auto refused = [&](const std::function<void(json&)>& change) {
    write("model.safetensors", tiny_weights(change));
    return error_of([&] { open_model(directory_); });
  };
  const std::string q = "model.transformer.blocks.0.q_proj.weight";
  EXPECT_THAT(refused([&](json& h) {
                h["renamed"] = h[q];
                h.erase(q);
              }),
              HasSubstr("lacks tensor \"" + q + "\""));
  EXPECT_THAT(refused([&](json& h) {
                h[q]["shape"] = {8, 32};
              }),
              HasSubstr("\"" + q + "\" has shape [8, 32]"));
  EXPECT_THAT(refused([&](json& h) { h[q]["dtype"] = "I32"; }),
              HasSubstr("has dtype I32; weights must be"));
}

TEST_F(Files, RefusesMalformedSafetensorsInOneSentence) {
  const auto refused = [&](const std::string& bytes) {
    const std::string file = write("bad.safetensors", bytes);
    const std::string message = error_of([&] { read_safetensors(file); });
    EXPECT_THAT(message, HasSubstr(file));
    return message;
  };
  const auto two = [](const std::string& first, const std::string& second) {
    return "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + first +
           "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + second + "}}";
  };
  const auto one = [](const std::string& entry) { return safetensors("{\"a\":" + entry + "}", 4); };
  EXPECT_THAT(refused(""), HasSubstr("only 0 bytes"));
  EXPECT_THAT(refused(u64(1000) + "{}"), HasSubstr("more bytes than the file has"));
  EXPECT_THAT(refused(u64(UINT64_MAX)), HasSubstr("more than 100 MB"));
  EXPECT_THAT(refused(safetensors("{\"a\":", 0)), HasSubstr("not valid JSON"));
  EXPECT_THAT(refused(safetensors("\xff\xfe{}", 0)), HasSubstr("not valid JSON"));
  EXPECT_THAT(refused(safetensors("[]", 0)), HasSubstr("not a JSON object"));
  EXPECT_THAT(refused(safetensors(std::string(100'000, '['), 0)), HasSubstr("nested too deeply"));
  EXPECT_THAT(refused(safetensors(two("[0,4]", "[2,6]"), 8)), HasSubstr("overlaps another"));
  EXPECT_THAT(refused(safetensors(two("[0,4]", "[6,10]"), 10)),
              HasSubstr("hole before tensor \"b\""));
  EXPECT_THAT(refused(safetensors(two("[0,4]", "[4,8]"), 9)),
              HasSubstr("1 bytes after the last tensor"));
  EXPECT_THAT(refused(safetensors(two("[0,4]", "[4,8]"), 7)),
              HasSubstr("\"b\" ends beyond the file"));
  EXPECT_THAT(refused(safetensors("{\"a\":{},\"a\":{}}", 0)), HasSubstr("\"a\" stands twice"));
  EXPECT_THAT(refused(one("{\"dtype\":\"Q4\",\"shape\":[4],\"data_offsets\":[0,4]}")),
              HasSubstr("unknown dtype Q4"));
  EXPECT_THAT(refused(one("{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,4]}")),
              HasSubstr("does not fill its bytes"));
  EXPECT_THAT(refused(one("{\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]}")),
              HasSubstr("impossible shape"));
  EXPECT_THAT(
      refused(one("{\"dtype\":\"F64\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}")),
      HasSubstr("impossible shape"));
  EXPECT_THAT(refused(one("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,0]}")),
              HasSubstr("does not fill"));
  EXPECT_THAT(refused(one("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,8]}")),
              HasSubstr("lacks a dtype"));
  EXPECT_THAT(refused(one("7")), HasSubstr("lacks a dtype"));
}

/// A llama2.c file of zeros with this header.
std::string llama2c(std::vector<int32_t> header, int64_t floats) {
  std::string bytes(28, '\0');
  std::memcpy(bytes.data(), header.data(), 28);
  return bytes + std::string(static_cast<size_t>(floats) * 4, '\0');
}

TEST_F(Files, ReadsTheShapeOfALlama2cFileFromItsHeader) {
  // dim 8, hidden 12, 1 layer, 2 heads, 1 key/value head, vocabulary 5, 6 positions; embedding 40,
  // norms 8 + 8 + 8, q 64, k 32, v 32, o 64, w1 w2 w3 288, tables 24; untied: a head of 40 more.
  const int64_t tied = 40 + 24 + 64 + 32 + 32 + 64 + 288 + 24;
  write("model.bin", llama2c({8, 12, 1, 2, 1, 5, 6}, tied));
  EXPECT_TRUE(open_model(directory_).config.tied_head);
  write("model.bin", llama2c({8, 12, 1, 2, 1, -5, 6}, tied + 40));
  const ModelFiles files = open_model(directory_);
  EXPECT_FALSE(files.config.tied_head);
  EXPECT_EQ(files.config.vocab_size, 5);
  EXPECT_TRUE(files.config.causal);
  EXPECT_EQ(files.tensors.back().name, "head");
  EXPECT_EQ(files.tensors.back().offset, 28u + static_cast<uint64_t>(tied) * 4);

  const auto refused = [&](const std::string& bytes) {
    write("model.bin", bytes);
    return error_of([&] { open_model(directory_); });
  };
  EXPECT_THAT(refused(llama2c({8, 12, 1, 2, 1, 5, 6}, tied - 1)), HasSubstr("truncated"));
  EXPECT_THAT(refused(llama2c({8, 12, 1, 2, 1, 5, 6}, tied + 1)), HasSubstr("another format"));
  EXPECT_THAT(refused(llama2c({8, 12, 1, 0, 1, 5, 6}, tied)),
              HasSubstr("the number of heads is 0"));
  EXPECT_THAT(refused("short"), HasSubstr("shorter than its header"));
  EXPECT_THAT(refused(llama2c({INT32_MAX, INT32_MAX, INT32_MAX, 1, 1, INT32_MIN, 1}, 0)),
              HasSubstr("describes no model"));
  write("other.bin", "x");
  EXPECT_THAT(error_of([&] { open_model(directory_); }), HasSubstr("several .bin files"));
}

TEST_F(Files, BytesThatVanishAfterOpeningAreAnError) {
  write("config.json", tiny_config().dump());
  write("model.safetensors", tiny_weights());
  const ModelFiles files = open_model(directory_);
  const TensorPlace& last = files.tensors.back();
  EXPECT_EQ(MappedFile(last.file).at(last).size(), last.size_bytes);
  fs::resize_file(directory_ + "/model.safetensors", 100);
  EXPECT_THAT(error_of([&] { MappedFile(last.file).at(last); }),
              HasSubstr("model.safetensors ends before weight head"));
}

}  // namespace
}  // namespace headcount::models
