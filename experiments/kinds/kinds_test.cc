// What holds for every kind: it is in the registry, documents itself, and its example is a good
// spec.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "experiments/kind.h"
#include "experiments/kinds/noop/noop.h"
#include "experiments/sweep.h"
#include "schemas/error.h"

namespace headcount::experiments {
namespace {

namespace fs = std::filesystem;

TEST(Kinds, EveryFolderIsOneLineAndEveryLineOneFolder) {
  std::set<std::string> folders, names;
  const fs::path kinds_folder = fs::path(HEADCOUNT_SOURCE_DIR) / "experiments/kinds";
  for (const auto& entry : fs::directory_iterator(kinds_folder)) {
    if (entry.is_directory()) folders.insert(entry.path().filename().string());
  }
  for (const auto& folder : folders) {
    if (find_kind(folder) != nullptr) names.insert(folder);
  }
  EXPECT_EQ(names, folders);
  for (const Kind& kind : kinds()) {
    EXPECT_TRUE(names.contains(std::string(kind.name)));
    EXPECT_EQ(find_kind(kind.name), &kind);
    EXPECT_EQ(find_computation(kind.computation.name), &kind.computation);
  }
  EXPECT_EQ(find_kind("head_importance")->name, "head_importance");
  EXPECT_EQ(find_kind("head_imports"), nullptr);
}

TEST(Kinds, AHiddenOneIsFoundAndNotOffered) {
  ASSERT_NE(find_kind("noop"), nullptr);
  EXPECT_TRUE(find_kind("noop")->hidden);
  EXPECT_TRUE(std::none_of(kinds().begin(), kinds().end(),
                           [](const Kind& kind) { return kind.name == "noop"; }));
}

TEST(Kinds, ShardsOfANoopSweepAreKnownByItsNumberAndTheirOwn) {
  const Sweep made = noop::sweep(7, 3);
  const Stage& stage = made.stages.at(0);
  EXPECT_EQ(count(stage), 3);
  Shard second;  // as databases hold its key
  second.kind = "noop";
  second.seed = 7;
  second.params = {{"i", int64_t{1}}};
  EXPECT_EQ(shard(stage, 1), second);
  EXPECT_EQ(arrays(second).size(), 1u);
  EXPECT_TRUE(made.spec.models.empty());
}

TEST(Kinds, EveryParameterSaysWhatItIsAndShowsAnExample) {
  for (const Kind& kind : kinds()) {
    std::set<std::string_view> names;
    for (const ParamInfo& info : kind.params) {
      EXPECT_TRUE(names.insert(info.name).second)
          << kind.name << "." << info.name << " stands twice";
      EXPECT_TRUE(info.meaning.ends_with(".")) << kind.name << "." << info.name;
      EXPECT_FALSE(info.example.empty()) << kind.name << "." << info.name;
      EXPECT_LE(info.at_least, info.at_most) << kind.name << "." << info.name;
    }
  }
}

TEST(Kinds, EveryExampleIsAGoodSpecWhoseShardsAreThoseCounted) {
  for (const Kind& kind : kinds()) {
    const fs::path path = fs::path(HEADCOUNT_SOURCE_DIR) / "experiments/kinds" /
                          std::string(kind.name) / "example.toml";
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    const Prepared prepared = prepare(text.str(), path.string(), HEADCOUNT_SOURCE_DIR);
    EXPECT_EQ(to_string(prepared.problems), "");
    ASSERT_TRUE(prepared.sweep) << path;
    const Stage& first = prepared.sweep->stages.front();
    ASSERT_GT(count(first), 0);
    for (int64_t i = 0; i < count(first); ++i) {
      const Shard one = shard(first, i);
      EXPECT_EQ(one.kind, first.kind->computation.name);
      EXPECT_EQ(one.numerics_version, first.kind->computation.numerics_version);
      EXPECT_FALSE(arrays(one).empty());
      EXPECT_GT(passes(one).forward, 0);
      EXPECT_GT(first.kind->computation.work(one).samples, 0);
      EXPECT_EQ(key(decode_shard(encode(one))), key(one));
    }
  }
}

TEST(Kinds, AShardOfAnUnknownKindIsRefused) {
  Shard shard;
  shard.kind = "sparse_attention";
  EXPECT_THROW(arrays(shard), Error);
  EXPECT_THROW(passes(shard), Error);
  shard.kind = "noop";
  ASSERT_EQ(arrays(shard).size(), 1u);
}

TEST(Kinds, ListsStayListsInTables) {
  EXPECT_EQ(to_cell(std::vector<double>{0.1, 1}), Cell(JsonList{"[0.1, 1]"}));
  EXPECT_EQ(to_cell(true), Cell(int64_t{1}));
  EXPECT_EQ(to_cell(std::string("a")), Cell(std::string("a")));
}

}  // namespace
}  // namespace headcount::experiments
