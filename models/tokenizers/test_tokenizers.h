// What the tests of tokenizers share: the data of ../shared, texts of every script, a folder each.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "models/tokenizers/tokenizer.h"
#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

inline fs::path shared(const std::string& path) {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  return fs::path(given != nullptr ? given : HEADCOUNT_SOURCE_DIR "/../shared") / "data" / path;
}

#define SKIP_WITHOUT(path) \
  if (!fs::exists(path)) GTEST_SKIP() << (path) << " is not there"

inline std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

/// Text of many scripts, white space, marks, controls, private and unassigned code points.
inline std::string mixed_unicode(std::mt19937& random, size_t size) {
  static const std::string_view kWords[] = {"the ",      " of",          "don't", "1234",
                                            "\n\n",      "\t",           "  ",    "<|endoftext|",
                                            "caf\u00E9", "\u4E2D\u6587", ".",     "{}"};
  const auto below = [&](uint32_t n) { return static_cast<char32_t>(random() % n); };
  std::string text;
  while (text.size() < size) {
    switch (random() % 6) {
      case 0:
        text += kWords[below(std::size(kWords))];
        break;
      case 1:
        utf8::append(text, below(0x80));
        break;
      case 2:
        utf8::append(text, below(0x600));
        break;
      case 3:
        utf8::append(text, below(0xD800));
        break;
      case 4:
        utf8::append(text, 0xE000 + below(0x110000 - 0xE000));
        break;
      default:
        utf8::append(text, 0x1F300 + below(0x400));
    }
  }
  return text;
}

inline std::string streamed(const Tokenizer& tokenizer, const Ids& ids, bool skip) {
  StreamDecoder decoder(tokenizer, skip);
  std::string text;
  for (const int32_t id : ids) {
    text += decoder.push(id);
    EXPECT_TRUE(utf8::is_valid(text));
  }
  return text + decoder.finish();
}

class Tokenizers : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "headcount-tokenizers-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return (folder_ / name).string();
  }
  /// The tokenizer of a tokenizer.json of this text.
  Tokenizer open(const std::string& text) { return Tokenizer::open(write("tokenizer.json", text)); }

  fs::path folder_;
};

}  // namespace headcount::models
