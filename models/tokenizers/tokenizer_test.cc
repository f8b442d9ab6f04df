// Small tokenizers of our own, laws (what was encoded decodes to itself, long words come out as a
// plain merge loop would have them), utf8proc as witness, and the refusals.
#include "models/tokenizers/tokenizer.h"

#include <nlohmann/json.hpp>
#include <random>

#include "models/tokenizers/merge.h"
#include "models/tokenizers/test_tokenizers.h"
#include "models/tokenizers/utf8.h"
#ifdef HEADCOUNT_UNICODE
#include <utf8proc.h>

#include "models/tokenizers/pipeline/byte_level.h"
#include "models/tokenizers/pipeline/pre_tokenizer.h"
#include "models/tokenizers/pipeline/unicode.h"
#endif

namespace headcount::models {
namespace {

using nlohmann::json;

/// llama2.c's format: three special pieces, 256 bytes, then `pieces` with falling scores.
std::string llama2c_file(const std::vector<std::string>& pieces) {
  std::vector<std::string> all = {"<unk>", "\n<s>\n", "\n</s>\n"};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    all.push_back(name);
  }
  all.insert(all.end(), pieces.begin(), pieces.end());
  std::string file(4, '\0');
  for (size_t i = 0; i < all.size(); ++i) {
    const float score = -static_cast<float>(i);
    const auto size = static_cast<int32_t>(all[i].size());
    file.append(reinterpret_cast<const char*>(&score), sizeof score);
    file.append(reinterpret_cast<const char*>(&size), sizeof size);
    file += all[i];
  }
  return file;
}

TEST_F(Tokenizers, Llama2cJoinsByScoreAndWritesStrangersAsBytes) {
  const std::string path = write("tok.bin", llama2c_file({" a", "ab", " ", "a", "b", "c"}));
  const Tokenizer tokenizer = Tokenizer::open(path);
  EXPECT_EQ(tokenizer.size(), 265);
  EXPECT_THAT(tokenizer.encode("abc"), ElementsAre(259, 263, 264)) << "' a' before 'ab'";
  EXPECT_THAT(tokenizer.encode("c\u00E9", true), ElementsAre(1, 261, 264, 3 + 0xC3, 3 + 0xA9));
  EXPECT_THAT(tokenizer.encode("", true), ElementsAre(1));
  EXPECT_EQ(tokenizer.decode(Ids{1, 261, 264, 3 + 0xC3, 3 + 0xA9}), "c\u00E9");
  EXPECT_EQ(tokenizer.decode(Ids{264, 3 + 0xC3}), "c\uFFFD");
  EXPECT_EQ(tokenizer.decode(Ids{-1, 264, 99999}), "c");
  EXPECT_EQ(tokenizer.decode(Ids{1, 0, 264, 2}, true), "c");
  EXPECT_EQ(tokenizer.id_of("ab"), 260);
  StreamDecoder stream(tokenizer, false);
  EXPECT_EQ(stream.push(3 + 0xC3), "");
  EXPECT_EQ(stream.push(3 + 0xA9), "\u00E9");
}

TEST_F(Tokenizers, Llama2cRefusesWhatIsNoSuchFile) {
  const std::string good = llama2c_file({"a"});
  const auto refusal = [&](const std::string& bytes) {
    return error_of([&] { Tokenizer::open(write("tok.bin", bytes)); });
  };
  EXPECT_EQ(refusal(good), "(no error)");
  EXPECT_THAT(refusal(good.substr(0, good.size() - 1)), HasSubstr("ends behind the file"));
  EXPECT_THAT(refusal(std::string(12, '\xFF')), HasSubstr("tok.bin is no llama2.c tokenizer"));
  EXPECT_THAT(refusal(""), HasSubstr("truncated"));
  EXPECT_THAT(error_of([&] { Tokenizer::open(folder_ / "none.bin"); }),
              HasSubstr("none.bin does not exist"));
  EXPECT_THAT(error_of([&] { Tokenizer::open(write("weights.gguf", "x")); }),
              HasSubstr("not named as any tokenizer file"));
  fs::create_directory(folder_ / "empty");
  EXPECT_THAT(error_of([&] { Tokenizer::open(folder_ / "empty"); }), HasSubstr("has no tokenizer"));
}

TEST(Merge, LongWordsComeOutAsAPlainLoopHasThem) {
  std::mt19937 random(7);
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  for (int round = 0; round < 300; ++round) {
    Merges merges;
    for (uint32_t rank = 0; rank < 40; ++rank)
      merges.set(below(12), below(12), {rank, 4 + below(8)});
    std::vector<int32_t> symbols(1 + random() % 150);
    for (int32_t& symbol : symbols) symbol = static_cast<int32_t>(random() % 4);
    std::vector<int32_t> plain = symbols;
    while (true) {
      const Merges::Value* best = nullptr;
      size_t at = 0;
      for (size_t i = 0; i + 1 < plain.size(); ++i) {
        const auto* found =
            merges.find(static_cast<uint32_t>(plain[i]), static_cast<uint32_t>(plain[i + 1]));
        if (found != nullptr && (best == nullptr || found->first < best->first)) {
          best = found;
          at = i;
        }
      }
      if (best == nullptr) break;
      plain[at] = static_cast<int32_t>(best->second);
      plain.erase(plain.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    MergeWorkspace work;
    merge(merges, symbols, work);
    EXPECT_EQ(symbols, plain);
  }
}

TEST(Utf8, EveryMaximalInvalidPartBecomesOneReplacement) {
  EXPECT_EQ(utf8::to_valid("a\xC3\xA9\x80\xE4\xB8z\xF0\x9F\x98"), "a\u00E9\uFFFD\uFFFDz\uFFFD");
  EXPECT_EQ(utf8::to_valid("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD") << "no surrogates";
  EXPECT_EQ(utf8::to_valid("\xC0\xAF"), "\uFFFD\uFFFD") << "nothing overlong";
}

#ifdef HEADCOUNT_UNICODE

/// Byte-level BPE over all 256 bytes with a few merges and an added token.
json byte_level_json() {
  json vocab;
  const auto add = [&](const std::string& token) {
    const auto id = vocab.size();
    vocab[token] = id;
  };
  for (int byte = 0; byte < 256; ++byte)
    add(byte_level::from_bytes(std::string(1, static_cast<char>(byte))));
  for (const char* token : {"he", "ll", "hell", "\u0120w"}) add(token);
  return {{"added_tokens",
           {{{"id", 260}, {"content", "<end>"}, {"special", true}, {"normalized", false}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"vocab", vocab}, {"merges", {"h e", "l l", "he ll", "\u0120 w"}}}}};
}

TEST_F(Tokenizers, ByteLevelBpeMergesInOrderAndFindsAddedTokens) {
  const Tokenizer tokenizer = open(byte_level_json().dump());
  EXPECT_THAT(tokenizer.encode("hello w<end>"), ElementsAre(258, 'o', 259, 260));
  EXPECT_EQ(tokenizer.decode(Ids{258, 260}), "hell<end>");
  EXPECT_EQ(tokenizer.decode(Ids{258, 260}, true), "hell");
  EXPECT_EQ(tokenizer.size(), 261);
  EXPECT_EQ(tokenizer.id_of("<end>"), 260);
  EXPECT_EQ(tokenizer.id_of("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.description(), "byte-level BPE, 261 tokens, tokenizer.json");
}

TEST_F(Tokenizers, WhatWasEncodedDecodesToItself) {
  const Tokenizer tokenizer = open(byte_level_json().dump());
  std::mt19937 random(3);
  for (size_t size = 0; size < 400; ++size) {
    const std::string text = mixed_unicode(random, size);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a\xFF\xE4\xB8z")), "a\uFFFD\uFFFDz");
}

TEST_F(Tokenizers, AddedTokensTakeTheirSpacesTheLongestFirst) {
  json file = byte_level_json();
  const auto add = [&](const char* content, const char* flag) {
    json token = {{"id", 260 + file["added_tokens"].size()}, {"content", content}};
    if (*flag != 0) token[flag] = true;
    file["added_tokens"].push_back(token);
  };
  add("<end>>", "special");
  add("<l>", "lstrip");
  add("<r>", "rstrip");
  add("word", "single_word");
  file["added_tokens"].push_back(
      {{"id", 265}, {"content", "Up"}, {"normalized", true}, {"special", false}});
  file["normalizer"] = {{"type", "Lowercase"}};
  const Tokenizer tokenizer = open(file.dump());
  EXPECT_THAT(tokenizer.encode("<end>><end>"), ElementsAre(261, 260));
  EXPECT_THAT(tokenizer.encode("A \u00A0<l> a"), ElementsAre('a', 262, ' ', 'a'));
  EXPECT_THAT(tokenizer.encode("<r> \n a"), ElementsAre(263, 'a'));
  EXPECT_EQ(tokenizer.encode("word").size(), 1u);
  EXPECT_EQ(tokenizer.encode("sword").size(), 5u);
  EXPECT_THAT(tokenizer.encode("uP"), ElementsAre(265)) << "found in the normalized text";
}

TEST_F(Tokenizers, SavedTruncationPaddingAndTemplatesAreHonoured) {
  json file = byte_level_json();
  file["truncation"] = {{"max_length", 4}, {"strategy", "LongestFirst"}, {"stride", 0}};
  file["padding"] = {{"strategy", {{"Fixed", 6}}}, {"direction", "Left"}, {"pad_id", 7}};
  file["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single",
                             {{{"SpecialToken", {{"id", "<end>"}, {"type_id", 0}}}},
                              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
                            {"special_tokens", {{"<end>", {{"id", "<end>"}, {"ids", {260}}}}}}};
  const Tokenizer tokenizer = open(file.dump());
  EXPECT_THAT(tokenizer.encode("abcdefg"), ElementsAre(7, 7, 'a', 'b', 'c', 'd'));
  EXPECT_THAT(tokenizer.encode("abcdefg", true), ElementsAre(7, 7, 260, 'a', 'b', 'c'));
}

TEST_F(Tokenizers, RefusesByName) {
  const json good = byte_level_json();
  const auto with = [&](const char* pointer, const json& value) {
    json file = good;
    file[json::json_pointer(pointer)] = value;
    return error_of([&] { open(file.dump()); });
  };
  EXPECT_NO_THROW(open(good.dump()));
  EXPECT_THAT(with("/model/type", "Unigram"), HasSubstr("model of type \"Unigram\""));
  EXPECT_THAT(with("/normalizer", {{"type", "Precompiled"}}), HasSubstr("\"Precompiled\""));
  EXPECT_THAT(with("/pre_tokenizer", {{"type", "UnicodeScripts"}}),
              HasSubstr("\"UnicodeScripts\""));
  EXPECT_THAT(with("/decoder", {{"type", "CTC"}}), HasSubstr("\"CTC\""));
  EXPECT_THAT(with("/post_processor", {{"type", "Other"}}), HasSubstr("\"Other\""));
  EXPECT_THAT(with("/model/dropout", 0.1), HasSubstr("model.dropout is not 0"));
  EXPECT_THAT(with("/model/merges/1", "l ll l"),
              HasSubstr("merge 2, \"l ll l\", is not two parts"));
  EXPECT_THAT(with("/model/merges/1", "x zz"), HasSubstr("its part \"zz\" is not in the vocab"));
  EXPECT_THAT(with("/model/merges/1", "x y"), HasSubstr("its result \"xy\" is not in the vocab"));
  EXPECT_THAT(with("/model/merges/1", {"x"}), HasSubstr("not two parts"));
  EXPECT_THAT(with("/model/vocab/he", 3), HasSubstr("gives the id 3 to two tokens"));
  EXPECT_THAT(with("/model/vocab/he", -1), HasSubstr("the id -1"));
  EXPECT_THAT(with("/model/vocab/he", 1 << 30), HasSubstr("lie in 0 to"));
  EXPECT_THAT(with("/model/vocab/he", 1.5), HasSubstr("no integer"));
  EXPECT_THAT(with("/model/vocab/he", 18446744073709551615u), HasSubstr("too large"));
  EXPECT_THAT(with("/added_tokens/0/id", 5), HasSubstr("\"<end>\" the id 5"));
  EXPECT_THAT(with("/added_tokens/0/content", "he"), HasSubstr("its vocabulary"));
  EXPECT_THAT(with("/model/vocab", nullptr), HasSubstr("vocab is missing"));
  EXPECT_THAT(with("/truncation", {{"max_length", -1}}), HasSubstr("truncation.max_length"));
  const std::string split = R"(a[b&&c])";
  EXPECT_THAT(with("/pre_tokenizer",
                   {{"type", "Split"}, {"pattern", {{"Regex", split}}}, {"behavior", "Isolated"}}),
              HasSubstr("&& inside a set"));
  EXPECT_THAT(with("/pre_tokenizer",
                   {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}}),
              HasSubstr("a pattern this program cannot run"));

  const auto bytes = [&](const std::string& text) { return error_of([&] { open(text); }); };
  EXPECT_THAT(bytes(good.dump().substr(0, 1000)), HasSubstr("no valid JSON"));
  EXPECT_THAT(bytes(std::string(1 << 20, '[')), HasSubstr("deeper than 64"));
  EXPECT_THAT(bytes(R"({"model":{"vocab":{"a":0,"a":1},"merges":[]}})"),
              HasSubstr("key \"a\" twice"));
  EXPECT_THAT(bytes("[]"), HasSubstr("no JSON object"));
}

TEST_F(Tokenizers, ReadsTheFormatsThatSayLess) {
  const json model = byte_level_json()["model"];
  write("vocab.json", model["vocab"].dump());
  write("merges.txt", "#version: 0.2\nh e\nl l\nhe ll\n\u0120 w\n");
  EXPECT_THAT(Tokenizer::open(folder_).encode("hello w"), ElementsAre(258, 'o', 259));
  write("added_tokens.json", R"({"<|endoftext|>": 260, "<|padding|>": 261, "  ": 262})");
  EXPECT_EQ(Tokenizer::open(folder_).decode(Ids{260, 261, 262, 258}, true), "  hell");
  fs::remove(folder_ / "added_tokens.json");
  write("merges.txt", "h e\nl x\n");
  EXPECT_THAT(error_of([&] { Tokenizer::open(folder_); }), HasSubstr("merge 2, \"l\" and \"x\""));

  const std::string ranks = write("a.tiktoken", "YQ== 0\nYg== 1\nYWI= 2\n");
  EXPECT_THAT(Tokenizer::open(ranks).encode("abb<|im_start|>"), ElementsAre(2, 1, 4));
  EXPECT_THAT(Tokenizer::open(write("tokenizer.model", "YQ== 0\nYg== 1\nYWI= 2\n"))
                  .encode("ab<|eot_id|>", true),
              ElementsAre(3, 2, 12));
  EXPECT_THAT(error_of([&] { Tokenizer::open(write("b.tiktoken", "YQ== 0\nYg= 1\n")); }),
              HasSubstr("line 2 is not"));
  EXPECT_THAT(error_of([&] { Tokenizer::open(write("b.tiktoken", "YQ== 0\nYg== 0\n")); }),
              HasSubstr("the rank 0 to two tokens"));
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer.model"})
    fs::remove(folder_ / name);
  EXPECT_THAT(error_of([&] { Tokenizer::open(folder_); }), HasSubstr("several tokenizers"));

  write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\nun\n##able\n!\n\xE4\xB8\xAD\n");
  const Tokenizer words = Tokenizer::open(folder_ / "vocab.txt");
  EXPECT_THAT(words.encode("\u00DCN\u00E1ble!zz\u4E2D", true), ElementsAre(1, 3, 4, 5, 0, 6, 2));
  EXPECT_THAT(words.encode("U\u0308nable !"), ElementsAre(3, 4, 5));
  EXPECT_EQ(words.decode(Ids{3, 4, 5, 6}), "unable! \u4E2D");
}

std::vector<std::string> cut(const PreTokenizer& step, const std::string& text) {
  const Pieces found = pieces({step}, text, true);
  std::vector<std::string> out;
  for (const auto& piece : found.list) out.emplace_back(found.view(piece));
  return out;
}

TEST(PreTokenizers, SplitsInEveryWay) {
  const std::string text = "the-final--countdown";
  const auto split = [&](Behavior behavior, bool invert = false) {
    return cut(Split{std::string("-"), behavior, invert}, text);
  };
  EXPECT_THAT(split(Behavior::kRemoved), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(split(Behavior::kIsolated), ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(split(Behavior::kMergedWithPrevious),
              ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(split(Behavior::kMergedWithNext), ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(split(Behavior::kContiguous), ElementsAre("the", "-", "final", "--", "countdown"));
  EXPECT_THAT(split(Behavior::kRemoved, true), ElementsAre("-", "-", "-"));
  EXPECT_THAT(cut(Split{Regex("x*", "f"), Behavior::kIsolated, false}, "axxb"),
              ElementsAre("a", "xx", "b"));
}

TEST(PreTokenizers, PatternsMeanWhatTheOriginalDialectMeans) {
  const auto found = [](const char* pattern, const std::string& text) {
    return cut(Split{Regex(pattern, "f"), Behavior::kRemoved, true}, text);
  };
  EXPECT_THAT(found(R"(\h+)", "xBEEF g"), ElementsAre("BEEF")) << "hex digits";
  EXPECT_THAT(found(R"(\s)", "a\u180Eb\u0085"), ElementsAre("\u0085"));
  EXPECT_THAT(found(R"((?m:a.b))", "a\nb"), ElementsAre("a\nb"));
  EXPECT_THAT(found(R"(^.)", "a\nb"), ElementsAre("a", "b"));
  EXPECT_THAT(found(R"(\u0062{,2})", "abbb"), ElementsAre("bb", "b"));
  EXPECT_THAT(found(R"(\bcat\b)", "cat cats \u00E9cat"), ElementsAre("cat"));
  EXPECT_THAT(found(R"((?i:'S))", "it's"), ElementsAre("'s"));
  EXPECT_THAT(found(R"([^\s\p{L}]+)", "ab12 3"), ElementsAre("12", "3"));
  for (const char* refused : {"a{2}+", "a{2}?", "[a[b]]", "[[:alpha:]]", "(?R)", "(*F)", "a(?i)b",
                              R"(\Qa\E)", R"([\W])", R"(\g<1>)", "a\\"})
    EXPECT_THAT(error_of([&] { Regex(refused, "FILE"); }), HasSubstr("FILE has a pattern"))
        << refused;
}

TEST(PreTokenizers, AHostilePatternEndsInAnError) {
  const Regex regex("(x+x+)+[yz]", "FILE");
  EXPECT_THAT(error_of([&] { regex.find(std::string(60, 'x'), 0); }), HasSubstr("takes too long"));
}

TEST(Unicode, NormalFormsAreUtf8procs) {
  std::mt19937 random(5);
  const std::pair<unicode::Form, int> forms[] = {
      {unicode::Form::kNfc, UTF8PROC_COMPOSE},
      {unicode::Form::kNfd, UTF8PROC_DECOMPOSE},
      {unicode::Form::kNfkc, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
      {unicode::Form::kNfkd, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
  for (int round = 0; round < 400; ++round) {
    std::string text = mixed_unicode(random, 60);
    for (int i = 0; i < 6; ++i) {
      text += static_cast<char>('a' + random() % 26);
      utf8::append(text, 0x300 + static_cast<char32_t>(random() % 0x70));
      utf8::append(text, 0x1100 + static_cast<char32_t>(random() % 0x100));
    }
    for (const auto& [form, options] : forms) {
      utf8proc_uint8_t* expected = nullptr;
      const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                     static_cast<utf8proc_ssize_t>(text.size()), &expected,
                                     static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
      ASSERT_GE(size, 0);
      EXPECT_EQ(unicode::normalized(text, form),
                std::string(reinterpret_cast<char*>(expected), static_cast<size_t>(size)));
      std::free(expected);
    }
  }
}

TEST_F(Tokenizers, AWordOfTenMillionLettersTakesSeconds) {
  const Tokenizer tokenizer = open(byte_level_json().dump());
  const std::string text(10'000'000, 'l');
  EXPECT_EQ(tokenizer.encode(text).size(), text.size() / 2);
}

TEST(SharedTokenizers, TenMegabytesOfMixedUnicodeComeBack) {
  std::mt19937 random(11);
  const std::string text = mixed_unicode(random, 10'000'000);
  for (const char* name : {"tokenizers/gpt2", "tokenizers/llama3"}) {
    const fs::path folder = shared(name);
    SKIP_WITHOUT(folder);
    const Tokenizer tokenizer = Tokenizer::open(folder);
    const Ids ids = tokenizer.encode(text);
    EXPECT_TRUE(tokenizer.decode(ids) == text) << name;
  }
}

#endif
}  // namespace
}  // namespace headcount::models
