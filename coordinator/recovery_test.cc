// What becomes of work after retries, restarts, edited files and late results.
#include <fstream>
#include <nlohmann/json.hpp>

#include "coordinator/coordinator_fixture.h"
#include "coordinator/view.h"

namespace headcount::coordinator {
namespace {

/// Sends `message` again and again until an answer is `wanted`, which is told how often it was
/// sent.
Message exchange(transport::Client& client, const Message& message,
                 const std::function<bool(const Message&, int n_sent)>& wanted) {
  int n_sent = 0;
  for (const auto until = Clock::now() + std::chrono::seconds(30); Clock::now() < until;) {
    if (client.link().connected && client.send({message})) ++n_sent;
    client.wait(200);
    while (auto messages = client.receive()) {
      for (auto& one : *messages) {
        if (wanted(one, n_sent)) return one;
      }
    }
  }
  throw Error("no answer in 30 seconds");
}

/// A worker that takes its first grant and says nothing more of itself.
class Mute {
 public:
  explicit Mute(const transport::KeyFile& key, const std::string& tag = "T")
      : client_(key, {.reconnect_ms = 50}) {
    const Message hello = Hello{kVersion, 1, "host", {{"cpu", tag}}, {}};
    grant_ = std::get<Grant>(exchange(client_, hello, [](const Message& message, int) {
      return std::holds_alternative<Grant>(message);
    }));
  }
  ShardKey held() const { return grant_.key; }
  /// Comes back to a coordinator that was started again: it runs its grant still.
  void returns() {
    const Message hello = Hello{kVersion,
                                1,
                                "host",
                                {{"cpu", grant_.tag}},
                                {{grant_.key, grant_.attempt, HeldState::kRunning, 0.5}}};
    exchange(client_, hello,
             [](const Message& message, int) { return std::holds_alternative<Welcome>(message); });
  }
  /// Sends the result of its grant until it is acknowledged or revoked; whether acknowledged.
  bool finish() { return finish(computed(decode_shard(grant_.shard))); }
  bool finish(const Result& result) { return finish(result, grant_.tag); }
  bool finish_under(const std::string& tag) {
    return finish(computed(decode_shard(grant_.shard)), tag);
  }

 private:
  bool finish(const Result& result, const std::string& tag) {
    const std::string bytes = encode(result);
    const Message done{
        ShardDone{grant_.key, grant_.attempt, tag, "cpu", sha256(bytes), 0.001, bytes}};
    return std::holds_alternative<Ack>(
        exchange(client_, done, [&](const Message& message, int n_sent) {
          const auto* ack = std::get_if<Ack>(&message);
          return (ack != nullptr && ack->key == grant_.key) ||
                 (n_sent > 1 && std::holds_alternative<Revoke>(message));
        }));
  }

  transport::Client client_;
  Grant grant_;
};

Fields which(int64_t id) { return {{"id", std::to_string(id)}}; }

/// kSpec, going on where heads miss rows.
std::string lenient() { return std::string(kSpec) + "allow_missing = true\n"; }

/// kSpec and a stage that only runners of tag U can compute.
std::string with_foreign_stage() {
  std::string spec = kSpec;
  spec.insert(spec.find("[datasets.train]"),
              "numerics = \"T\"\n[models.foreign]\npath = \"masked-wide\"\nnumerics = \"U\"\n");
  return spec +
         "[[stage]]\nname = \"foreign\"\nkind = \"head_importance\"\nmodel = \"foreign\"\n"
         "dataset = \"train\"\nmask_probs = [0.5]\nmask_samples = 1\npath_mode = \"diagonal\"\n"
         "quadrature = \"right\"\nig_steps = 4\n";
}

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
  EXPECT_FALSE(late.finish(Result{{NamedArray{"noop", {2}, {0.0, 0.0}}}}));
  EXPECT_TRUE(late.finish());
  EXPECT_EQ(store::Store::open_read_only(state).n_results(), 1);
}

TEST_F(CoordinatorTest, AfterARestartAShardStaysWithTheWorkerThatRunsItThoughThatComesBackLate) {
  ask("bench.submit", {{"shards", int64_t{1}}});
  Mute late(key("node-1"));
  Worker other(key("node-2"));
  end(SIGKILL);
  silence_ms = 1000;
  start();
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  late.returns();
  EXPECT_TRUE(late.finish());
  const auto attempts = store::Store::open_read_only(state).attempts(late.held());
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].outcome, "done");
  EXPECT_EQ(other.n_granted, 0);
}

TEST_F(CoordinatorTest, AResultUnderTheTagOfAnotherMachineIsRefusedWithAnAlarm) {
  const int64_t id = submit(kSpec);
  Mute liar(key("node-1"), "L");
  EXPECT_FALSE(liar.finish_under("T"));
  EXPECT_EQ(store::Store::open_read_only(state).n_results(), 0);
  const Json status = ask("sweep.status", which(id));
  EXPECT_THAT(status.at("alarms").at(0).get<std::string>(), HasSubstr("under tag T"));
  ask("sweep.cancel", which(id));
  std::string spec = kSpec;
  spec.insert(spec.find("[datasets.train]"), "numerics = \"T\"\n");
  Worker honest(key("node-2"));
  const Json again = wait_for(submit(spec), {"finished"});
  EXPECT_EQ(again.at("stages").at(0).at("cached"), 0);
}

TEST_F(CoordinatorTest, EditedFilesStopASweepWithASentence) {
  const fs::path rows = fs::path(files().root()) / "rows.jsonl";
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
  EXPECT_TRUE(held.finish());
}

TEST_F(CoordinatorTest, ARestartDoesNotGoOnWithShardsOfAnotherVersion) {
  const int64_t id = submit(kSpec);
  Mute held(key("node-1"));  // planned and open, nothing computed
  end(SIGKILL);
  {
    auto store = store::Store::open(state);
    const auto stage = store.stages(id).at(0);
    std::vector<ShardKey> keys;
    for (int64_t i = 0; i < stage.n_shards; ++i)
      keys.push_back(sha256("older shard " + std::to_string(i)));
    store.transaction([&] {
      store.clear_shards(stage.id);
      store.add_shards(stage.id, 0, keys, "T");
    });
  }
  start();
  const Json status = wait_for(id, {"stopped", "finished"});
  EXPECT_EQ(status.at("state"), "stopped");
  EXPECT_EQ(status.at("stages").at(0).at("reason"),
            "planned by another version of headcount: submit the spec again");
  EXPECT_THAT(message_of([&] { ask("results", which(id)); }),
              HasSubstr("planned by another version"));
}

TEST_F(CoordinatorTest, RetryForgetsTheTablesOfWhatItOpensAgain) {
  const int64_t id = submit(lenient());
  {
    Worker broken(key("node-1"), Cause::kException);
    wait_for(id, {"finished"});
    EXPECT_EQ(ask("results", which(id)).at("stages").size(), 2u);
  }
  gone("node-1");
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

TEST_F(CoordinatorTest, RetryLeavesOtherStagesAtWork) {
  const int64_t id = submit(with_foreign_stage());
  Mute busy(key("node-u"), "U");
  const auto state_of = [&](size_t stage) {
    return ask("sweep.status", which(id)).at("stages").at(stage).at("state").get<std::string>();
  };
  const auto until = [&](size_t stage, const std::string& wanted) {
    for (int i = 0; i < 500 && state_of(stage) != wanted; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(state_of(stage), wanted);
  };
  {
    Worker broken(key("node-1"), Cause::kException);
    until(1, "stopped");
  }
  gone("node-1");
  ask("sweep.retry", which(id));
  EXPECT_EQ(state_of(2), "open");
  const auto attempts = store::Store::open_read_only(state).attempts(busy.held());
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].outcome, "granted");
  Worker healthy(key("node-2"));
  until(1, "finished");
  EXPECT_TRUE(busy.finish());
}

TEST_F(CoordinatorTest, ALateResultOfAFinishedStageThatReadsScoresHarmsNothingAfterARestart) {
  const int64_t id = submit(with_foreign_stage());
  const auto file = key("node-1");
  {
    Worker worker(file);
    for (int i = 0; i < 500; ++i) {
      if (ask("sweep.status", which(id)).at("stages").at(1).at("state") == "finished") break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  end(SIGKILL);
  const ShardKey shard = [&] {
    const auto database = store::Store::open_read_only(state);
    return database.shard_key(database.stages(id).at(1).id, 0);
  }();
  start();
  transport::Client client(file, {.reconnect_ms = 50});
  const std::string bytes = encode(Result{{NamedArray{"other", {}, {1.0}}}});
  const auto answer = exchange(client, ShardDone{shard, 1, "T", "cpu", sha256(bytes), 0.001, bytes},
                               [](const Message& message, int) {
                                 return std::holds_alternative<Ack>(message) ||
                                        std::holds_alternative<Revoke>(message);
                               });
  EXPECT_TRUE(std::holds_alternative<Revoke>(answer));  // not what its plan says
  EXPECT_EQ(ask("sweep.status", which(id)).at("state"), "running");
}

TEST_F(CoordinatorTest, ARevokedWorkerIsGoneWhoeverReadTheListFirst) {
  Worker worker(key("node-1"));
  const auto connected = [&] { return ask("coordinator.info").at("workers").get<int>(); };
  for (int i = 0; i < 200 && connected() == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_EQ(connected(), 1);
  transport::revoke_key(state, "node-1");
  for (int i = 0; i < 150 && connected() == 1; ++i)  // each connection reads the list
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(connected(), 0);
}

TEST_F(CoordinatorTest, RetryIsRefusedWhileTheSweepIsBeingRead) {
  const int64_t id = submit(kSpec);
  {
    Worker broken(key("node-1"), Cause::kException);
    wait_for(id, {"stopped"});
  }
  gone("node-1");
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
  gone("node-1");
  Worker repaired(key("node-2"));
  const Json status = wait_for(submit(kSpec), {"finished", "stopped"});
  EXPECT_EQ(status.at("state"), "finished");
  for (const auto& stage : status.at("stages")) EXPECT_EQ(stage.at("quarantined"), 0);
}

TEST_F(CoordinatorTest, ASweepThatWaitsForAGpuHoldsUpNoOther) {
  const fs::path rows = fs::path(files().root()) / "rows.jsonl";
  std::ofstream out(rows);
  for (int i = 0; i < 20'000; ++i)
    out << R"({"ids": [1], "choices": [[2], [3]], "label": 0})"
        << "\n";
  out.close();
  // Thousands of shards, all of which are looked at to see whether a device holds them.
  const std::string choices =
      "kind = \"evaluate\"\ndataset = \"rows\"\nmetrics = [\"accuracy\"]\nmicro_batch = 4096\n"
      "mc_samples = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n";
  Worker worker(key("node-1"));
  const int64_t waiting = submit(
      "name = \"waiting\"\n[models.here]\npath = \"masked\"\n[models.there]\npath = "
      "\"masked\"\nnumerics = \"cuda-nobody-has\"\n[datasets.rows]\ntask = \"tokens\"\n"
      "path = \"" +
      rows.string() + "\"\n[[stage]]\nname = \"here\"\nmodel = \"here\"\n" + choices +
      "[[stage]]\nname = \"there\"\nmodel = \"there\"\n" + choices);
  EXPECT_EQ(wait_for(submit(kSpec), {"finished", "stopped"}).at("state"), "finished");
  EXPECT_EQ(ask("sweep.status", which(waiting)).at("state"), "running");
}

TEST_F(CoordinatorTest, AModelThatNoStageUsesIsNotWaitedFor) {
  std::string spec = kSpec;
  spec.replace(spec.find("[datasets.train]"), 0,
               "[models.spare]\npath = \"masked\"\nnumerics = \"cuda-nobody-has\"\n");
  Worker worker(key("node-1"));
  const Json status = wait_for(submit(spec), {"finished", "stopped"});
  EXPECT_EQ(status.at("state"), "finished");
  EXPECT_EQ(status.at("models").size(), 1u);
}

TEST_F(CoordinatorTest, AStageOfBoundAndUnboundModelsHasOneSetOfColumns) {
  std::string spec = kSpec;
  spec.replace(spec.find("[datasets.train]"), 0,
               "[models.loose]\npath = \"masked\"\ndtype = \"float64\"\nnumerics = \"any\"\n");
  spec.replace(spec.find("model = \"tiny\""), 14, "model = [\"tiny\", \"loose\"]");
  Worker worker(key("node-1"));
  const int64_t id = submit(spec);
  wait_for(id, {"finished"});
  const Json results = ask("results", which(id));
  for (const auto& stage : results.at("stages")) {
    std::set<std::pair<std::string, std::string>> numerics;
    for (const auto& row : stage.at("rows")) numerics.emplace(row.at("model"), row.at("numerics"));
    const std::set<std::pair<std::string, std::string>> expected = {{"tiny", "T"},
                                                                    {"loose", "any"}};
    EXPECT_EQ(numerics, expected);
  }
}

}  // namespace
}  // namespace headcount::coordinator
