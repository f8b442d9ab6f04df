// Every spec in tests/specs/bad gets exactly the messages in the .txt beside it; every example
// checks clean. HEADCOUNT_REGENERATE=1 writes the .txt files anew: read the difference before you
// commit it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "experiments/sweep.h"
#include "experiments/test_files.h"

namespace headcount::experiments {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<fs::path> specs_in(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".toml") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool regenerate() { return std::getenv("HEADCOUNT_REGENERATE") != nullptr; }

TEST(BadSpecs, EachGetsExactlyItsMessages) {
  const TestFiles files;
  const auto specs = specs_in(fs::path(HEADCOUNT_SOURCE_DIR) / "tests/specs/bad");
  EXPECT_GE(specs.size(), 40u);
  for (const auto& spec : specs) {
    const Prepared prepared = prepare(read(spec), spec.filename().string(), files.root());
    EXPECT_FALSE(prepared.sweep) << spec;
    const std::string messages = files.without_root(to_string(prepared.problems));
    fs::path expected = spec;
    expected.replace_extension(".txt");
    if (regenerate()) std::ofstream(expected, std::ios::binary) << messages;
    EXPECT_EQ(messages, read(expected)) << spec;
  }
}

TEST(BadSpecs, ATextBeyondTheLimitIsRefusedUnread) {
  const std::string text = "name = \"x\"\n#" + std::string(kMaxSpecBytes, '#');
  const Prepared prepared = prepare(text, "huge.toml", ".");
  EXPECT_EQ(to_string(prepared.problems),
            "huge.toml:1:1: the spec is 1048588 bytes; at most 1048576 are read\n");
}

TEST(BadSpecs, WhateverIsWrongTheFileIsNamedAndThePlaceIsInIt) {
  const TestFiles files;
  for (const auto& spec : specs_in(fs::path(HEADCOUNT_SOURCE_DIR) / "tests/specs/bad")) {
    const std::string text = read(spec);
    const auto n_lines = std::count(text.begin(), text.end(), '\n') + 1;
    for (const auto& problem : prepare(text, "named.toml", files.root()).problems) {
      EXPECT_EQ(problem.file, "named.toml");
      EXPECT_GE(problem.at.line, 1) << spec << ": " << to_string(problem);
      EXPECT_LE(problem.at.line, n_lines) << spec << ": " << to_string(problem);
      EXPECT_GE(problem.at.column, 1) << spec << ": " << to_string(problem);
    }
  }
}

/// The example's text, its `../shared` where this machine has it; nullopt where it needs that and
/// there is none.
std::optional<std::string> example(const fs::path& path) {
  std::string text = read(path);
  const char* given = std::getenv("HEADCOUNT_SHARED");
  const std::string shared =
      given != nullptr ? given : std::string(HEADCOUNT_SOURCE_DIR) + "/../shared";
  for (size_t at = 0; (at = text.find("\"../shared", at)) != std::string::npos; ++at) {
    if (!fs::is_directory(shared)) return std::nullopt;
    text.replace(at + 1, std::string("../shared").size(), shared);
  }
  return text;
}

TEST(GoodSpecs, EveryExampleChecksClean) {
  const fs::path root = HEADCOUNT_SOURCE_DIR;
  const auto specs = specs_in(root / "examples");
  EXPECT_FALSE(specs.empty());
  std::string skipped;
  for (const auto& spec : specs) {
    const auto text = example(spec);
    if (!text) {
      skipped += " " + spec.filename().string();
      continue;
    }
    const Prepared prepared = prepare(*text, spec.filename().string(), root.string());
    EXPECT_EQ(to_string(prepared.problems), "");
    ASSERT_TRUE(prepared.sweep) << spec;
    for (const auto& stage : prepared.sweep->stages) EXPECT_GT(count(stage), 0) << spec;
  }
  if (!skipped.empty()) GTEST_SKIP() << "no $HEADCOUNT_SHARED, no ../shared:" << skipped;
}

}  // namespace
}  // namespace headcount::experiments
