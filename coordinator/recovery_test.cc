// What becomes of work after retries, restarts, edited files and late results.
#include <fstream>

#include "coordinator/coordinator_fixture.h"
#include "coordinator/view.h"

namespace headcount::coordinator {
namespace {

/// A worker that takes its first grant and says nothing more of itself.
class Mute {
 public:
  explicit Mute(const transport::KeyFile& key) : client_(key, {.reconnect_ms = 50}) {
    const Message hello = Hello{kVersion, 1, "host", {{"cpu", "T"}}, {}};
    grant_ = std::get<Grant>(exchange(
        hello, [](const Message& message) { return std::holds_alternative<Grant>(message); }));
  }
  /// Sends the result of its grant until it is acknowledged or revoked; whether acknowledged.
  bool finish() {
    const std::string bytes = encode(computed(decode_shard(grant_.shard)));
    const std::string tag = grant_.tag == kNoopTag ? std::string(kNoopTag) : "T";
    return std::holds_alternative<Ack>(
        exchange(ShardDone{grant_.key, grant_.attempt, tag, "cpu", sha256(bytes), 0.001, bytes},
                 [&](const Message& message) {
                   const auto* ack = std::get_if<Ack>(&message);
                   return (ack != nullptr && ack->key == grant_.key) ||
                          (n_sent_ > 1 && std::holds_alternative<Revoke>(message));
                 }));
  }

 private:
  Message exchange(const Message& message, const std::function<bool(const Message&)>& wanted) {
    n_sent_ = 0;
    for (const auto until = Clock::now() + std::chrono::seconds(30); Clock::now() < until;) {
      if (client_.link().connected && client_.send({message})) ++n_sent_;
      client_.wait(200);
      while (auto messages = client_.receive()) {
        for (auto& one : *messages) {
          if (wanted(one)) return one;
        }
      }
    }
    throw Error("no answer in 30 seconds");
  }

  transport::Client client_;
  Grant grant_;
  int n_sent_ = 0;
};

Fields which(int64_t id) { return {{"id", std::to_string(id)}}; }

/// kSpec, going on where heads miss rows.
std::string lenient() { return std::string(kSpec) + "allow_missing = true\n"; }

TEST_F(CoordinatorTest, ALateResultOfACancelledSweepCounts) {
  const int64_t id = ask("bench.submit", {{"shards", int64_t{1}}}).at("id");
  Mute late(key("node-1"));
  ask("sweep.cancel", which(id));
  EXPECT_TRUE(late.finish());
  EXPECT_EQ(store::Store::open_read_only(state).n_results(), 1);
}

TEST_F(CoordinatorTest, ALateResultOfACancelledSweepCountsAfterARestart) {
  const int64_t id = ask("bench.submit", {{"shards", int64_t{1}}}).at("id");
  Mute late(key("node-1"));
  ask("sweep.cancel", which(id));
  end(SIGKILL);
  start();
  EXPECT_TRUE(late.finish());
  EXPECT_EQ(store::Store::open_read_only(state).n_results(), 1);
}

TEST_F(CoordinatorTest, EditedFilesStopASweepWithASentence) {
  const fs::path rows = fs::path(state) / "rows.jsonl";
  const auto write_rows = [&](int n) {
    std::ofstream out(rows, std::ios::trunc);
    for (int i = 0; i < n; ++i)
      out << "{\"ids\": [1, 2, " << i % 10 << "], \"labels\": [2, 3, -100]}\n";
  };
  write_rows(40);
  const int64_t id = submit(
      "name = \"rows\"\nseed = 1\n[models.tiny]\npath = \"masked\"\n[datasets.rows]\n"
      "task = \"tokens\"\npath = \"" +
      rows.string() +
      "\"\n[[stage]]\nname = \"importance\"\nkind = \"head_importance\"\n"
      "path_mode = \"diagonal\"\nquadrature = \"right\"\nig_steps = 4\n");
  Mute held(key("node-1"));  // nothing is ever computed
  end(SIGKILL);
  write_rows(3);
  EXPECT_THAT(message_of([&] { tables(store::Store::open_read_only(state), id, ""); }),
              HasSubstr("changed since the sweep was planned"));
  start();
  Json status = wait_for(id, {"stopped"});
  EXPECT_THAT(status.at("stages").at(0).at("reason").get<std::string>(),
              HasSubstr("changed since the sweep was planned"));
  EXPECT_THAT(message_of([&] { ask("results", which(id)); }),
              HasSubstr("changed since the sweep was planned"));
  write_rows(40);
  ask("sweep.retry", which(id));
  Worker worker(key("node-2"));
  status = wait_for(id, {"finished"});
  EXPECT_EQ(status.at("stages").at(0).at("quarantined"), 0);
}

TEST_F(CoordinatorTest, RetryForgetsTheTablesOfWhatItOpensAgain) {
  const int64_t id = submit(lenient());
  {
    Worker broken(key("node-1"), Cause::kException);
    wait_for(id, {"finished"});
    EXPECT_EQ(ask("results", which(id)).at("stages").size(), 2u);
  }
  ask("sweep.retry", which(id));
  EXPECT_EQ(store::Store::open_read_only(state).table(1), std::nullopt);
  Worker healthy(key("node-2"));
  Json status = wait_for(id, {"finished"});
  for (const auto& stage : status.at("stages")) EXPECT_EQ(stage.at("quarantined"), 0);
  const int granted = healthy.n_granted;
  const int64_t fresh = submit(lenient());
  wait_for(fresh, {"finished"});
  EXPECT_EQ(healthy.n_granted, granted);  // the second stage was planned from whole scores
  EXPECT_EQ(ask("results", which(id)), ask("results", which(fresh)));
}

TEST_F(CoordinatorTest, RetryIsRefusedWhileTheSweepIsBeingRead) {
  const int64_t id = submit(kSpec);
  {
    Worker broken(key("node-1"), Cause::kException);
    wait_for(id, {"stopped"});
  }
  transport::Client client(transport::read_key_file(transport::admin_key_path(state)),
                           {.reconnect_ms = 50});
  while (!client.link().connected) client.wait(50);
  ASSERT_TRUE(
      client.send({Request{1, "sweep.retry", which(id)}, Request{2, "sweep.retry", which(id)}}));
  std::map<uint64_t, Reply> replies;
  while (replies.size() < 2) {
    client.wait(1000);
    while (auto messages = client.receive()) {
      for (auto& message : *messages) {
        if (const auto* reply = std::get_if<Reply>(&message)) replies[reply->number] = *reply;
      }
    }
  }
  EXPECT_TRUE(replies[1].ok);
  EXPECT_FALSE(replies[2].ok);
  EXPECT_THAT(replies[2].error, HasSubstr("is still being read"));
  Worker healthy(key("node-2"));
  wait_for(id, {"finished"});
}

TEST_F(CoordinatorTest, ANewSweepTriesAgainWhatFailedForAnEarlierOne) {
  const int64_t first = submit(kSpec);
  {
    Worker broken(key("node-1"), Cause::kException);
    wait_for(first, {"stopped"});
  }
  Worker repaired(key("node-2"));
  const Json status = wait_for(submit(kSpec), {"finished", "stopped"});
  EXPECT_EQ(status.at("state"), "finished");
  for (const auto& stage : status.at("stages")) EXPECT_EQ(stage.at("quarantined"), 0);
}

TEST_F(CoordinatorTest, AStageOfBoundAndUnboundModelsHasOneSetOfColumns) {
  std::string spec = kSpec;
  spec.replace(spec.find("[datasets.train]"), 0,
               "[models.loose]\npath = \"masked\"\ndtype = \"float64\"\nnumerics = \"any\"\n");
  spec.replace(spec.find("model = \"tiny\""), 14, "model = [\"tiny\", \"loose\"]");
  Worker worker(key("node-1"));
  const int64_t id = submit(spec);
  wait_for(id, {"finished"});
  for (const auto& stage : ask("results", which(id)).at("stages")) {
    std::set<std::pair<std::string, std::string>> numerics;
    for (const auto& row : stage.at("rows")) numerics.emplace(row.at("model"), row.at("numerics"));
    const std::set<std::pair<std::string, std::string>> expected = {{"tiny", "T"},
                                                                    {"loose", "any"}};
    EXPECT_EQ(numerics, expected);
  }
}

}  // namespace
}  // namespace headcount::coordinator
