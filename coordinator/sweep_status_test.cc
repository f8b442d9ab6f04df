// The status of a sweep as text: the bytes that scripts read, and back.
#include "coordinator/sweep_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/error.h"

namespace headcount::coordinator {
namespace {

SweepStatus stored_status() {
  SweepStatus status{.id = 7,
                     .name = "heads",
                     .state = "running",
                     .digest = "ab",
                     .file = "a.toml",
                     .created_at = "2026-01-01T00:00:00Z",
                     .finished_at = "",
                     .models = {{.model = "m", .tag = "cpu"}},
                     .stages = {},
                     .alarms = {"one"}};
  status.stages.push_back({.id = 9,
                           .name = "importance",
                           .kind = "head_importance",
                           .state = "open",
                           .reason = "",
                           .shards = 40,
                           .planned = 39,
                           .cached = 3,
                           .done = 10,
                           .quarantined = 1,
                           .withdrawn = 2,
                           .micro_batch = 32});
  return status;
}

constexpr const char* kStored =
    R"({"id":7,"name":"heads","state":"running","digest":"ab","file":"a.toml",)"
    R"("created_at":"2026-01-01T00:00:00Z","finished_at":"","models":[{"model":"m","tag":"cpu"}],)"
    R"("stages":[{"id":9,"name":"importance","kind":"head_importance","state":"open","reason":"",)"
    R"("shards":40,"planned":39,"cached":3,"done":10,"quarantined":1,"withdrawn":2,)"
    R"("micro_batch":32}],"alarms":["one"]})";

SweepStatus live_status() {
  SweepStatus status = stored_status();
  status.stages.push_back(status.stages[0]);
  status.stages[0].rate = 8;
  status.stages[0].time_left_s = 3.75;
  status.live = {.waits = "",
                 .workers = {{.name = "node1",
                              .host = "n1",
                              .devices = {{.device = "cpu", .tag = "t", .memory_bytes = 5}},
                              .state = "connected",
                              .problem = "",
                              .held = 3,
                              .running = 1,
                              .done = 10,
                              .rate = 8.5,
                              .last_seen_s = 0.1}},
                 .busy_s = 2.5};
  return status;
}

TEST(SweepStatus, IsTheBytesThatScriptsRead) {
  EXPECT_EQ(status_json(stored_status()), kStored);
  const std::string live = status_json(live_status());
  EXPECT_THAT(live, testing::HasSubstr(R"("micro_batch":32,"rate":8.0,"time_left_s":3.75},)"));
  EXPECT_THAT(live, testing::HasSubstr(R"("micro_batch":32,"rate":0.0,"time_left_s":null}],)"));
  EXPECT_THAT(live,
              testing::EndsWith(
                  R"("alarms":["one"],"waits":"","workers":[{"name":"node1","host":"n1",)"
                  R"("devices":[{"device":"cpu","tag":"t","memory_bytes":5}],"state":"connected",)"
                  R"("problem":"","held":3,"running":1,"done":10,"rate":8.5,"last_seen_s":0.1}],)"
                  R"("busy_s":2.5})"));
}

TEST(SweepStatus, ComesBackAsItWas) {
  EXPECT_EQ(status_json(status_from_json(kStored)), kStored);
  const std::string live = status_json(live_status());
  EXPECT_EQ(status_json(status_from_json(live)), live);
  const std::string workers = workers_json(live_status().live->workers);
  EXPECT_EQ(workers_json(workers_from_json(workers)), workers);
}

TEST(SweepStatus, TextThatIsNoneIsRefused) {
  for (const char* bad : {"", "[]", "{}", "{\"stages\"", "{\"stages\": 3}", "{\"stages\": [1]}",
                          "{\"stages\": [{\"done\": \"x\"}]}"}) {
    EXPECT_THROW(status_from_json(bad), Error) << bad;
  }
  EXPECT_THROW(workers_from_json("{}"), Error);
}

}  // namespace
}  // namespace headcount::coordinator
