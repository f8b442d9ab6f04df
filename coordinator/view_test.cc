// What is read from the database alone.
#include "coordinator/view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/kind.h"
#include "experiments/sweep.h"
#include "experiments/test_files.h"
#include "experiments/trust.h"
#include "schemas/error.h"

namespace headcount::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A finished sweep of one stage whose table was made by that version of head_importance.
store::SweepId finished_sweep(store::Store& store, int64_t numerics_version) {
  store::SweepId sweep = 0;
  store.transaction([&] {
    sweep = store.add_sweep({.id = 0,
                             .name = "s",
                             .digest = sha256("spec"),
                             .file = "s.toml",
                             .root = "/",
                             .text = "name = 's'",
                             .state = "finished",
                             .created_at = {},
                             .finished_at = {}},
                            {{.id = 0,
                              .sweep = 0,
                              .number = 0,
                              .name = "importance",
                              .kind = "head_importance",
                              .state = "finished",
                              .n_shards = 1,
                              .reason = ""}});
    store.put_table(store.stages(sweep).front().id, {.stage = "importance",
                                                     .kind = "head_importance",
                                                     .numerics_version = numerics_version,
                                                     .columns = {"layer", "head", "value"},
                                                     .rows = {{int64_t{0}, int64_t{0}, 1.5}},
                                                     .diagnostic_columns = {},
                                                     .diagnostics = {},
                                                     .warnings = {}});
  });
  return sweep;
}

TEST(View, TablesOfAnOlderNumericsVersionSaySo) {
  store::Store store = store::Store::in_memory();
  const int64_t now = experiments::find_kind("head_importance")->computation.numerics_version;
  const auto warnings_of = [&](int64_t version) {
    return tables(store, finished_sweep(store, version), "").at(0).warnings;
  };
  const std::string today = std::to_string(now);
  EXPECT_THAT(warnings_of(now), IsEmpty());
  EXPECT_THAT(warnings_of(now - 1),
              ElementsAre("computed by version " + std::to_string(now - 1) +
                          " of head_importance, now " + today + ": submit the spec again"));
  EXPECT_THAT(warnings_of(0), ElementsAre("computed by an older version of head_importance, now " +
                                          today + ": submit the spec again"));
}

TEST(View, ScoresOfAnOlderNumericsVersionAreDistrustedByWhoReadsThem) {
  store::Store store = store::Store::in_memory();
  const int64_t now = experiments::find_kind("head_importance")->computation.numerics_version;
  const auto distrust_of = [&](int64_t version) {
    const auto stage = store.stages(finished_sweep(store, version)).front().id;
    return experiments::distrust(*store.table(stage), {});
  };
  EXPECT_EQ(distrust_of(now), "");
  EXPECT_EQ(distrust_of(now - 1), "computed by version " + std::to_string(now - 1) +
                                      " of head_importance, now " + std::to_string(now) +
                                      "; submit the spec again");
}

constexpr const char* kTwoStages = R"(
name = "two"
[models.tiny]
path = "masked"
[datasets.test]
task = "addition"
split = "test"
rows = 16
[[stage]]
name = "whole"
kind = "evaluate"
model = "tiny"
dataset = "test"
metrics = ["exact_match"]
[[stage]]
name = "begun"
kind = "evaluate"
model = "tiny"
dataset = "test"
metrics = ["accuracy"]
)";

/// A stopped sweep: `whole` has its table, of that version, `begun` has its shards, planned by a
/// program of which evaluate had that numerics version.
store::SweepId stopped_sweep(store::Store& store, const std::string& root, int64_t version,
                             bool keeps_files, bool with_table) {
  const auto prepared = experiments::prepare(kTwoStages, "two.toml", root);
  EXPECT_EQ(to_string(prepared.problems), "");
  const experiments::Sweep& sweep = prepared.sweep.value();
  store::SweepId id = 0;
  store.transaction([&] {
    store::SweepRow row;
    row.name = "two";
    row.file = "two.toml";
    row.root = root;
    row.text = kTwoStages;
    row.state = "stopped";
    std::vector<store::StageRow> stages;
    for (const auto& stage : sweep.stages) {
      store::StageRow& one = stages.emplace_back();
      one.number = static_cast<int>(stages.size()) - 1;
      one.name = stage.name;
      one.kind = "evaluate";
      one.state = "stopped";
      one.n_shards = experiments::count(stage);
    }
    id = store.add_sweep(row, stages);
    if (keeps_files) remember_files(store, id, files_digest(sweep));
    store.bind_model(id, "tiny", "T");
    std::vector<ShardKey> keys;
    for (int64_t i = 0; i < experiments::count(sweep.stages[1]); ++i) {
      Shard shard = experiments::shard(sweep.stages[1], i);
      shard.numerics_version = version;
      keys.push_back(key(shard));
    }
    const auto rows = store.stages(id);
    store.add_shards(rows[1].id, 0, keys, "T");
    if (!with_table) return;
    store.put_table(rows[0].id, {.stage = "whole",
                                 .kind = "evaluate",
                                 .numerics_version = version,
                                 .columns = {"metric", "value", "n"},
                                 .rows = {{std::string("exact_match"), 0.5, int64_t{16}}},
                                 .diagnostic_columns = {},
                                 .diagnostics = {},
                                 .warnings = {}});
  });
  return id;
}

TEST(View, ShardsOfAnotherVersionMakeNoTableOfThisOne) {
  const experiments::TestFiles files;
  const int64_t now = experiments::find_kind("evaluate")->computation.numerics_version;
  store::Store store = store::Store::in_memory();
  const auto sentence = [&](bool keeps_files) -> std::string {
    try {
      tables(store, stopped_sweep(store, files.root(), now - 1, keeps_files, false), "begun");
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(sentence(true),
            "stage begun: planned by another version of headcount: submit the spec again");
  EXPECT_THAT(sentence(false), HasSubstr("another version of headcount, or the model or dataset"));

  const auto today = tables(store, stopped_sweep(store, files.root(), now, true, true), "");
  ASSERT_EQ(today.size(), 2u);
  EXPECT_EQ(today[1].numerics_version, now);
  EXPECT_FALSE(today[1].rows.empty());
}

TEST(View, WhatIsFinishedPrintsBesideShardsOfAnotherVersion) {
  const experiments::TestFiles files;
  const int64_t now = experiments::find_kind("evaluate")->computation.numerics_version;
  store::Store store = store::Store::in_memory();
  const auto found = tables(store, stopped_sweep(store, files.root(), now - 1, true, true), "");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].rows.size(), 1u);
  EXPECT_THAT(found[0].warnings, ElementsAre(HasSubstr("computed by version")));
  EXPECT_THAT(found[1].rows, IsEmpty());
  EXPECT_NE(found[1].numerics_version, now);
  EXPECT_THAT(found[1].warnings,
              ElementsAre("planned by another version of headcount: submit the spec again"));
}

}  // namespace
}  // namespace headcount::coordinator
