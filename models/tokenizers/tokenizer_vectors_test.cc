// Every tokenizer of ../shared against what its original library answered: ids, and text from ids,
// whole and token by token.
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "models/tokenizers/test_tokenizers.h"

namespace headcount::models {
namespace {

using nlohmann::json;

#ifdef HEADCOUNT_UNICODE
#define SKIP_WITHOUT_UNICODE
#else
#define SKIP_WITHOUT_UNICODE GTEST_SKIP() << "built without PCRE2 and utf8proc"
#endif

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Vectors : public Tokenizers {
 protected:
  /// tokenizer.json of a folder of ../shared, unpacked where it is packed.
  fs::path tokenizer_json(const fs::path& folder) {
    if (fs::exists(folder / "tokenizer.json")) return folder / "tokenizer.json";
    const fs::path out = folder_ / "tokenizer.json";
    const std::string command =
        "gzip -dc '" + (folder / "tokenizer.json.gz").string() + "' > '" + out.string() + "'";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return out;
  }
};

/// Lines of vectors.jsonl or decode.jsonl, none where the file is absent.
std::vector<json> lines(const fs::path& path) {
  std::vector<json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

void expect_decodes(const Tokenizer& tokenizer, const json& line) {
  const Ids ids = line["ids"];
  for (const bool skip : {false, true}) {
    const std::string expected = line[skip ? "decoded_skip" : "decoded"];
    EXPECT_EQ(tokenizer.decode(ids, skip), expected) << line.dump();
    EXPECT_EQ(streamed(tokenizer, ids, skip), expected) << line.dump();
  }
}

size_t expect_vectors(const Tokenizer& tokenizer, const fs::path& folder) {
  size_t n = 0;
  for (const json& line : lines(folder / "vectors.jsonl")) {
    const std::string text = line["text"];
    EXPECT_EQ(tokenizer.encode(text, line["add_special_tokens"]), line["ids"].get<Ids>())
        << line.dump();
    expect_decodes(tokenizer, line);
    ++n;
  }
  for (const json& line : lines(folder / "decode.jsonl")) {
    expect_decodes(tokenizer, line);
    ++n;
  }
  return n;
}

class TokenizerJson : public Vectors, public testing::WithParamInterface<const char*> {};

TEST_P(TokenizerJson, ReproducesEveryLine) {
  SKIP_WITHOUT_UNICODE;
  const fs::path folder = shared("tokenizer_json") / GetParam();
  SKIP_WITHOUT(folder);
  const Tokenizer tokenizer = Tokenizer::open(tokenizer_json(folder).string());
  EXPECT_GT(expect_vectors(tokenizer, folder), 200u);
}

INSTANTIATE_TEST_SUITE_P(, TokenizerJson,
                         testing::Values("gpt2", "tinyllama", "tinyllama_metaspace", "gpt_neox",
                                         "bert_base_uncased", "mistral", "qwen2", "llama3",
                                         "falcon", "clip", "phi3_mini"),
                         [](const auto& name) { return std::string(name.param); });

TEST_F(Vectors, DreamsFolderOfVocabularyAndMergesReproducesEveryLine) {
  SKIP_WITHOUT_UNICODE;
  const fs::path dream = shared("tokenizer_json/dream");
  SKIP_WITHOUT(dream);
  const json qwen2 =
      json::parse(std::ifstream(tokenizer_json(shared("tokenizer_json/qwen2"))))["model"];
  fs::remove(folder_ / "tokenizer.json");
  std::ofstream(folder_ / "vocab.json") << qwen2["vocab"].dump();
  std::ofstream merges(folder_ / "merges.txt");
  merges << "#version: 0.2\n";
  for (const json& merge : qwen2["merges"]) merges << merge.get<std::string>() << "\n";
  merges.close();
  for (const char* name : {"tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"})
    fs::copy_file(dream / name, folder_ / name);
  const Tokenizer tokenizer = Tokenizer::open(folder_.string());
  EXPECT_EQ(expect_vectors(tokenizer, dream), 44u);
  EXPECT_EQ(tokenizer.id_of("<|mask|>"), 151666);
  EXPECT_EQ(tokenizer.size(), 151667);
}

class LlamaCpp : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(LlamaCpp, All46VectorsAreReproduced) {
  SKIP_WITHOUT_UNICODE;
  const auto& [name, file] = GetParam();
  const fs::path folder = shared("tokenizers") / name;
  SKIP_WITHOUT(folder);
  const Tokenizer tokenizer = Tokenizer::open((folder / file).string());
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::string texts = contents(folder / "vectors.inp");
  std::ifstream answers(folder / "vectors.out");
  int n = 0;
  for (std::string answer; std::getline(answers, answer); ++n) {
    const size_t end = texts.find(separator);
    ASSERT_NE(end, std::string::npos);
    const std::string text = texts.substr(0, end);
    texts.erase(0, end + separator.size());
    std::istringstream numbers(answer);
    const Ids expected{std::istream_iterator<int32_t>(numbers), {}};
    EXPECT_EQ(tokenizer.encode(text), expected) << text;
  }
  EXPECT_EQ(n, 46);
}

INSTANTIATE_TEST_SUITE_P(, LlamaCpp,
                         testing::Values(std::pair("gpt2", ""), std::pair("gpt_neox", ""),
                                         std::pair("llama3", ""), std::pair("qwen2", ""),
                                         std::pair("llama2", "tokenizer.model"),
                                         std::pair("llama2", "tokenizer.bin"),
                                         std::pair("bert_uncased", "")),
                         [](const auto& name) {
                           const std::string file = name.param.second;
                           return std::string(name.param.first) +
                                  (file.empty() ? "" : "_" + file.substr(file.rfind('.') + 1));
                         });

TEST(Llama2c, EncodesAsRunCDoes) {
  const fs::path folder = shared("weights/stories260K");
  SKIP_WITHOUT(folder);
  const Tokenizer tokenizer = Tokenizer::open(folder.string());
  int n = 0;
  for (const json& line : lines(folder / "tok512_vectors.jsonl")) {
    const Ids ids = tokenizer.encode(line["text"].get<std::string>(), true);
    EXPECT_EQ(ids, line["ids"].get<Ids>());
    EXPECT_EQ(tokenizer.decode(ids), line["text"]);
    ++n;
  }
  EXPECT_EQ(n, 7);
  EXPECT_EQ(tokenizer.size(), 512);
}

TEST(SharedTokenizers, ThreadsEncodeWhatOneDoes) {
  SKIP_WITHOUT_UNICODE;
  const fs::path texts = shared("lm_text/wikitext-2_test.txt");
  for (const char* name : {"tokenizers/gpt2", "tokenizers/llama2", "weights/stories260K"}) {
    SKIP_WITHOUT(shared(name));
    SKIP_WITHOUT(texts);
    const Tokenizer tokenizer = Tokenizer::open(shared(name).string());
    const std::string text = contents(texts).substr(0, 100'000);
    const Ids alone = tokenizer.encode(text);
    std::vector<std::future<Ids>> together;
    for (int i = 0; i < 4; ++i)
      together.push_back(std::async(std::launch::async, [&] { return tokenizer.encode(text); }));
    for (auto& ids : together) EXPECT_EQ(ids.get(), alone) << name;
  }
}

}  // namespace
}  // namespace headcount::models
