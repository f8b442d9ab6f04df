// What is read from the database alone.
#include "coordinator/view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/kind.h"
#include "experiments/trust.h"

namespace headcount::coordinator {
namespace {

using testing::ElementsAre;
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
  const int64_t now = experiments::find_kind("head_importance")->numerics_version;
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
  const int64_t now = experiments::find_kind("head_importance")->numerics_version;
  const auto distrust_of = [&](int64_t version) {
    const auto stage = store.stages(finished_sweep(store, version)).front().id;
    return experiments::distrust(*store.table(stage), {});
  };
  EXPECT_EQ(distrust_of(now), "");
  EXPECT_EQ(distrust_of(now - 1), "computed by version " + std::to_string(now - 1) +
                                      " of head_importance, now " + std::to_string(now) +
                                      "; submit the spec again");
}

}  // namespace
}  // namespace headcount::coordinator
