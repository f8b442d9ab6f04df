#include "cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace headcount::cli {
namespace {

const coordinator::SweepStatus kStatus = coordinator::status_from_json(R"({
  "id": 7, "name": "heads", "state": "running", "digest": "ab", "created_at": "", "models": [], "alarms": [],
  "stages": [
    {"name": "importance", "kind": "head_importance", "state": "open", "reason": "", "shards": 40, "planned": 40,
     "done": 10, "quarantined": 1, "rate": 8.0, "time_left_s": 3.75},
    {"name": "pruning", "kind": "head_pruning", "state": "waiting", "reason": "", "shards": 1200, "planned": 0,
     "done": 0, "quarantined": 0, "rate": 0, "time_left_s": null}],
  "workers": [{"name": "node1", "host": "n1", "devices": [{"device": "cpu", "tag": "t"}], "state": "connected",
               "held": 3, "running": 1, "done": 10, "rate": 8.04, "last_seen_s": 0.1}]})");

TEST(Progress, ShowsEveryStageAndWorker) {
  EXPECT_THAT(progress_lines(kStatus, false),
              testing::ElementsAre(
                  "stage       kind             shards        pace",
                  "importance  head_importance  10/40    25%  8/s, 3.8 s left; 1 quarantined",
                  "pruning     head_pruning     0/1,200   0%  waiting",
                  "worker                                rate",
                  "node1   connected  1 runner  10 done  8/s   1 running, 3 held"));
}

TEST(Progress, DrawsBarsOnATerminal) {
  EXPECT_THAT(progress_lines(kStatus, true)[1], testing::HasSubstr("[######..................]"));
}

TEST(Progress, FitsOneLineInALog) {
  EXPECT_EQ(progress_summary(kStatus),
            "importance 10/40 (8/s, 3.8 s left); 1 quarantined; pruning 0/1,200 (waiting)");
}

}  // namespace
}  // namespace headcount::cli
