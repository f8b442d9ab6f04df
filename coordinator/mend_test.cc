// What becomes of stored results that are damaged, or whose worker is not to be believed.
#include <sqlite3.h>

#include <nlohmann/json.hpp>

#include "coordinator/coordinator_fixture.h"
#include "store/store.h"

namespace headcount::coordinator {
namespace {

Fields which(int64_t id) { return {{"id", std::to_string(id)}}; }

/// Wrong, and nobody can see it.
Result planted(const Shard& shard) {
  Result result = computed(shard);
  for (auto& array : result.arrays) {
    for (double& value : array.data) value += 1;
  }
  return result;
}

class MendTest : public CoordinatorTest {
 protected:
  /// One SQL statement by another program, beside the coordinator.
  void meddle(const std::string& sql) const {
    sqlite3* raw = nullptr;
    sqlite3_open((state + "/" + store::kFileName).c_str(), &raw);
    sqlite3_busy_timeout(raw, 10'000);
    ASSERT_EQ(sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(raw);
    sqlite3_close(raw);
  }
  std::string alarms() const {
    std::string text;
    for (const auto& one : store::Store::open_read_only(state).alarms()) text += one + "\n";
    return text;
  }
  Json results(int64_t id) { return ask("results", which(id)); }
  Json finished(int64_t id) { return wait_for(id, {"finished"}); }
};

TEST_F(MendTest, AFlippedBitOfAResultIsAnAlarmAndItsShardIsComputedAgain) {
  Worker worker(key("node-1"));
  const int64_t first = submit(kSpec);
  finished(first);
  const Json before = results(first);
  const int granted = worker.n_granted;
  meddle(
      "UPDATE result SET data = CAST(substr(data, 1, length(data) - 1) || x'7f' AS BLOB) WHERE "
      "rowid = 1");
  const int64_t second = submit(kSpec);
  finished(second);
  EXPECT_EQ(results(second), before);
  EXPECT_EQ(worker.n_granted, granted + 1);
  EXPECT_THAT(alarms(), HasSubstr("is damaged"));
  const auto store = store::Store::open_read_only(state);
  EXPECT_EQ(store.query("SELECT * FROM set_aside", 5).rows.size(), 1u);
  EXPECT_EQ(store.check([](int64_t, int64_t) {}).bad.size(), 0u);
}

TEST_F(MendTest, AFlippedBitOfAFinishedTableIsAnAlarmAndTheTableIsMadeAgain) {
  Worker worker(key("node-1"));
  const int64_t id = submit(kSpec);
  finished(id);
  const Json before = results(id);
  const int granted = worker.n_granted;
  meddle(
      "UPDATE stage_table SET data = CAST(substr(data, 1, length(data) - 1) || x'00' AS BLOB) "
      "WHERE stage = 1");
  EXPECT_THAT(message_of([&] { results(id); }), HasSubstr("is damaged"));
  finished(id);
  EXPECT_EQ(results(id), before);
  EXPECT_EQ(worker.n_granted, granted);  // the results are there
  EXPECT_THAT(alarms(), HasSubstr("the stored table of stage 1 is damaged"));
}

TEST_F(MendTest, WhatARevokedKeyDeliveredNoLongerCounts) {
  int64_t first = 0;
  Json wrong;
  {
    Worker liar(key("liar"), {}, kVersion, 0, "T", planted);
    first = submit(kSpec);
    finished(first);
    wrong = results(first);
  }
  const Json answer = ask("key.revoke", {{"name", std::string("liar")}, {"set_aside", true}});
  EXPECT_GT(answer.at("set_aside"), 2);
  Json status = ask("sweep.status", which(first));
  EXPECT_EQ(status.at("state"), "finished");
  for (const auto& stage : status.at("stages")) EXPECT_GT(stage.at("withdrawn"), 0);
  EXPECT_THAT(ask("sweep.explain", which(first)).dump(), HasSubstr("set aside since"));
  for (const auto& stage : results(first).at("stages"))
    EXPECT_THAT(stage.at("warnings").dump(), HasSubstr("set aside since"));
  EXPECT_THAT(alarms(), HasSubstr("of worker liar no longer count"));

  Worker honest(key("honest"));
  const int64_t second = submit(kSpec);
  status = finished(second);
  for (const auto& stage : status.at("stages")) EXPECT_EQ(stage.at("cached"), 0);
  const Json right = results(second);
  EXPECT_NE(right.at("stages").at(0).at("rows"), wrong.at("stages").at(0).at("rows"));
  ask("sweep.retry", which(first));
  status = finished(first);
  for (const auto& stage : status.at("stages")) EXPECT_EQ(stage.at("withdrawn"), 0);
  EXPECT_EQ(results(first), right);
}

TEST_F(MendTest, ASweepUnderWayComputesAgainWhatARevokedKeyDelivered) {
  std::string spec = kSpec;  // a last stage that nobody here can compute keeps it under way
  spec.insert(spec.find("[datasets.train]"),
              "numerics = \"T\"\n[models.foreign]\npath = \"masked-wide\"\nnumerics = \"U\"\n");
  spec +=
      "[[stage]]\nname = \"foreign\"\nkind = \"head_importance\"\nmodel = \"foreign\"\n"
      "dataset = \"train\"\nmask_probs = [0.5]\nmask_samples = 1\npath_mode = \"diagonal\"\n"
      "quadrature = \"right\"\nig_steps = 4\n";
  const int64_t id = submit(spec);
  const auto until = [&](int stage, const std::string& wanted) {
    const auto state_of = [&] {
      return ask("sweep.status", which(id)).at("stages").at(stage).at("state");
    };
    for (int i = 0; i < 1500 && state_of() != wanted; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ASSERT_EQ(state_of(), wanted);
  };
  {
    Worker liar(key("liar"), {}, kVersion, 0, "T", planted);
    until(1, "finished");
  }
  ask("key.revoke", {{"name", std::string("liar")}, {"set_aside", true}});
  EXPECT_EQ(ask("sweep.status", which(id)).at("stages").at(0).at("state"), "open");
  Worker honest(key("honest"));
  until(1, "finished");
  const int64_t fresh = submit(kSpec);
  finished(fresh);
  const Json mended = results(id), right = results(fresh);
  for (int stage = 0; stage < 2; ++stage)
    EXPECT_EQ(mended.at("stages").at(stage).at("rows"), right.at("stages").at(stage).at("rows"));
}

}  // namespace
}  // namespace headcount::coordinator
