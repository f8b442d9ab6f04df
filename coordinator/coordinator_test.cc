// The whole coordinator over its socket: its verbs, and how sweeps end.
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "coordinator/coordinator_fixture.h"
#include "coordinator/view.h"
#include "experiments/memory.h"

namespace headcount::coordinator {
namespace {

TEST_F(CoordinatorTest, NoopsAreStoredOneRowEachAndSurviveAKill) {
  Worker worker(key("node-1"));
  const int64_t id = ask("bench.submit", {{"shards", int64_t{3000}}}).at("id");
  while (ask("coordinator.info").at("records").get<int64_t>() < 200)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  end(SIGKILL);
  const int64_t before = store::Store::open_read_only(state).n_results();
  EXPECT_GE(before, 200);
  start();
  const Json status = wait_for(id, {"finished"});
  EXPECT_EQ(status.at("stages").at(0).at("done"), 3000);
  EXPECT_EQ(store::Store::open_read_only(state).n_results(), 3000);
}

TEST_F(CoordinatorTest, ASweepOfTwoStagesEndsInTablesAndASecondOneComputesNothing) {
  Worker worker(key("node-1"));
  const int64_t first = submit(kSpec);
  wait_for(first, {"finished"});
  const Json results = ask("results", {{"id", std::to_string(first)}});
  ASSERT_EQ(results.at("stages").size(), 2u);
  EXPECT_GT(results.at("stages").at(0).at("rows").size(), 0u);
  const int granted = worker.n_granted;
  EXPECT_GT(granted, 2);
  const int64_t second = submit(kSpec);
  EXPECT_NE(first, second);
  const Json status = wait_for(second, {"finished"});
  EXPECT_EQ(worker.n_granted, granted);
  for (const auto& stage : status.at("stages")) EXPECT_EQ(stage.at("cached"), stage.at("shards"));
  EXPECT_EQ(ask("results", {{"id", std::to_string(second)}}), results);
  const auto offline = store::Store::open_read_only(state);
  EXPECT_EQ(Json::parse(to_json(tables(offline, first, ""))), results);
  EXPECT_EQ(Json::parse(list_json(offline)).at("sweeps").size(), 2u);
  EXPECT_THAT(message_of([&] { tables(offline, first, "prunning"); }),
              HasSubstr("it has importance, pruning"));
}

TEST_F(CoordinatorTest, AModelThatFitsNoDeviceIsRefusedBeforeAnythingIsLent) {
  int64_t id = 0;
  {
    Worker small(key("small"), {}, kVersion, 100'000'000);
    id = submit(kSpec);
    const Json status = wait_for(id, {"stopped"});
    EXPECT_THAT(status.at("stages").at(0).at("reason").get<std::string>(),
                HasSubstr("does not fit: float32 weights"));
    EXPECT_THAT(status.at("stages").at(0).at("reason").get<std::string>(),
                HasSubstr("the device has 0.1 GB"));
    EXPECT_EQ(small.n_granted, 0);
  }
  gone("small");
  Worker large(key("large"), {}, kVersion, 24'000'000'000);
  while (ask("worker.list").dump().find("24000000000") == std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ask("sweep.retry", {{"id", std::to_string(id)}});
  wait_for(id, {"finished"});
}

TEST_F(CoordinatorTest, AStageIsPlannedWithTheMicroBatchItsDeviceHolds) {
  const auto sweep = experiments::prepare(kSpec, "test.toml", files().root()).sweep;
  const auto asked = experiments::model_memory(*sweep, {})[0];
  const auto nearly =
      static_cast<int64_t>(static_cast<double>(asked.plan.total() - 1) / models::kUsableShare);
  Worker worker(key("node-1"), {}, kVersion, nearly);
  const int64_t id = submit(kSpec);
  const Json status = wait_for(id, {"finished"});
  const int64_t micro_batch = status.at("stages").at(0).at("micro_batch");
  EXPECT_GT(micro_batch, 0);
  EXPECT_LT(micro_batch, asked.pass.micro_batch);
  EXPECT_THAT(ask("results", {{"id", std::to_string(id)}}).dump(), HasSubstr("micro_batch"));
}

TEST_F(CoordinatorTest, ARunningStageShowsWhatIsThere) {
  const int64_t id = submit(kSpec);
  EXPECT_THAT(ask("sweep.explain", {{"id", std::string("last")}}).dump(),
              HasSubstr("no worker with a runner is connected"));
  Worker worker(key("node-1"), Cause::kException);
  wait_for(id, {"stopped"});
}

TEST_F(CoordinatorTest, ABadSpecGetsItsProblems) {
  EXPECT_THAT(message_of([&] { submit("name = \"x\"\n[[stage]]\nkind = \"head_importence\"\n"); }),
              HasSubstr("test.toml:"));
  EXPECT_THAT(message_of([&] { submit("name = "); }), HasSubstr("test.toml:1"));
}

TEST_F(CoordinatorTest, AShardThatKeepsFailingIsQuarantinedAndCanBeRetried) {
  const int64_t id = submit(kSpec);
  {
    Worker broken(key("node-1"), Cause::kException);
    const Json status = wait_for(id, {"stopped"});
    EXPECT_EQ(status.at("stages").at(0).at("state"), "finished");
    EXPECT_GT(status.at("stages").at(0).at("quarantined"), 0);
    EXPECT_EQ(status.at("stages").at(1).at("state"), "stopped");
    EXPECT_THAT(status.at("stages").at(1).at("reason").get<std::string>(),
                HasSubstr("allow_missing"));
    EXPECT_THAT(ask("sweep.explain", {{"id", std::to_string(id)}}).dump(),
                HasSubstr("it does not work here"));
  }
  gone("node-1");
  Worker healthy(key("node-2"));
  ask("sweep.retry", {{"id", std::to_string(id)}});
  const Json status = wait_for(id, {"finished"});
  EXPECT_EQ(status.at("stages").at(0).at("quarantined"), 0);
}

TEST_F(CoordinatorTest, RunningOutOfMemoryHalvesTheMicroBatch) {
  const int64_t id = submit(kSpec);
  {
    Worker small(key("node-1"), Cause::kOutOfMemory);
    Json status;
    for (int i = 0; i < 200; ++i) {
      status = ask("sweep.status", {{"id", std::to_string(id)}});
      if (status.at("stages").at(0).at("micro_batch") > 0) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_GT(status.at("stages").at(0).at("micro_batch"), 0);
  }
  Worker large(key("node-2"));
  ask("sweep.status", {{"id", std::to_string(id)}});
  const Json status = wait_for(id, {"finished", "stopped"});
  const Json row =
      ask("results", {{"id", std::to_string(id)}, {"stage", std::string("importance")}})
          .at("stages")
          .at(0)
          .at("rows")
          .at(0);
  EXPECT_EQ(row.at("micro_batch"), status.at("stages").at(0).at("micro_batch"));
}

TEST_F(CoordinatorTest, ASweepCanBePausedResumedAndCancelled) {
  const int64_t id = submit(kSpec);
  const Fields which = {{"id", std::to_string(id)}};
  EXPECT_EQ(ask("sweep.pause", which).at("state"), "paused");
  Worker worker(key("node-1"));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(worker.n_granted, 0);
  end(SIGTERM);
  EXPECT_FALSE(find_running(state));
  start();
  EXPECT_EQ(ask("sweep.status", which).at("state"), "paused");
  for (int i = 0; i < 200 && !ask("coordinator.info").at("restored"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(ask("sweep.resume", which).at("state"), "running");
  wait_for(id, {"finished"});
  EXPECT_THAT(message_of([&] { ask("sweep.cancel", which); }), HasSubstr("is finished already"));
  const int64_t other = ask("bench.submit", {{"shards", int64_t{1'000'000}}}).at("id");
  EXPECT_EQ(ask("sweep.cancel", {{"id", std::to_string(other)}}).at("state"), "cancelled");
  EXPECT_EQ(ask("coordinator.info").at("unfinished"), 0);
}

TEST_F(CoordinatorTest, KeysMayDoWhatTheirRoleSays) {
  const auto worker = key("node-1"), client = key("me", transport::Role::kClient);
  EXPECT_THAT(message_of([&] { ask(worker, "sweep.list"); }),
              HasSubstr("a worker's key may not ask"));
  EXPECT_THAT(message_of([&] { ask(client, "coordinator.stop"); }),
              HasSubstr("needs an admin's key"));
  EXPECT_THAT(message_of([&] { ask(client, "sweep.lst"); }),
              HasSubstr("does not know \"sweep.lst\""));
  EXPECT_EQ(ask(client, "sweep.list").at("sweeps").size(), 0u);
  EXPECT_EQ(ask("key.list").at("keys").size(), 3u);
  Worker wrong(client);
  for (int i = 0; i < 200 && wrong.refused().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_THAT(wrong.refused(), HasSubstr("is for a client"));
  const Json made =
      ask("key.create", {{"role", std::string("worker")}, {"name", std::string("node-2")}})
          .at("key_file");
  EXPECT_EQ(made.at("address"), find_running(state)->address);
  ask("key.revoke", {{"name", std::string("me")}});
  EXPECT_THAT(message_of([&] { ask(client, "sweep.list"); }), HasSubstr("revoked"));
}

/// Writes until nothing more fits.
void fill_disk(const std::string& file) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  for (const size_t size : {size_t{1} << 20, size_t{4096}}) {
    const std::string bytes(size, 'x');
    while (::write(fd, bytes.data(), bytes.size()) > 0) {
    }
  }
  ::close(fd);
}

TEST_F(CoordinatorTest, AnotherProgramsLockIsWaitedFor) {
  Worker worker(key("node-1"));
  const int64_t id = ask("bench.submit", {{"shards", int64_t{100'000}}}).at("id");
  sqlite3* other = nullptr;
  sqlite3_open((state + "/" + store::kFileName).c_str(), &other);
  sqlite3_busy_timeout(other, 20'000);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN EXCLUSIVE", nullptr, nullptr, nullptr), SQLITE_OK);
  std::this_thread::sleep_for(std::chrono::seconds(7));
  EXPECT_THAT(ask("coordinator.info").at("waits").get<std::string>(),
              HasSubstr("another program holds the lock"));
  EXPECT_EQ(ask("sweep.status", {{"id", std::to_string(id)}}).at("state"), "running");
  sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  wait_for(id, {"finished"});
  EXPECT_EQ(find_running(state)->pid, child);
  const auto store = store::Store::open_read_only(state);
  EXPECT_EQ(store.query("SELECT * FROM attempts WHERE outcome <> 'done'", 5).rows.size(), 0u);
}

TEST_F(CoordinatorTest, AFullDiskIsWaitedFor) {
  end(SIGTERM);
  if (getuid() != 0 || mount("none", state.c_str(), "tmpfs", 0, "size=96m") != 0) {
    GTEST_SKIP() << "needs root and the right to mount a small tmpfs";
  }
  start();
  {
    Worker worker(key("node-1"));
    const int64_t id = ask("bench.submit", {{"shards", int64_t{20'000}}}).at("id");
    while (ask("coordinator.info").at("records").get<int64_t>() < 500)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    fill_disk(state + "/ballast");
    const auto waits = [&] {
      std::string why;  // what is asked in the very turn that fails is refused
      message_of([&] { why = ask("coordinator.info").at("waits").get<std::string>(); });
      return why;
    };
    for (int i = 0; i < 1000 && waits().empty(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_THAT(waits(), HasSubstr("everything recorded so far is intact"));
    EXPECT_THAT(ask("sweep.explain", {{"id", std::to_string(id)}}).dump(),
                HasSubstr("nothing can be recorded now"));
    EXPECT_EQ(ask("sweep.status", {{"id", std::to_string(id)}}).at("state"), "running");
    EXPECT_THAT(message_of([&] { submit(kSpec); }), HasSubstr("nothing can be recorded now"));
    fs::remove(state + "/ballast");
    const Json status = wait_for(id, {"finished"});
    EXPECT_EQ(status.at("stages").at(0).at("done"), 20'000);
    EXPECT_EQ(status.at("waits"), "");
    EXPECT_EQ(find_running(state)->pid, child);
  }
  EXPECT_EQ(store::Store::open_read_only(state).n_results(), 20'000);
  end(SIGKILL);
  umount(state.c_str());
}

TEST_F(CoordinatorTest, WhatHappenedBesideATurnThatCannotBeRecordedIsNotTakenBack) {
  end(SIGTERM);
  if (getuid() != 0 || mount("none", state.c_str(), "tmpfs", 0, "size=32m") != 0) {
    GTEST_SKIP() << "needs root and the right to mount a small tmpfs";
  }
  start();
  const auto file = transport::read_key_file(transport::admin_key_path(state));
  key("laptop", transport::Role::kClient);
  fill_disk(state + "/ballast");
  {
    transport::Client client(file, {.reconnect_ms = 50});
    std::map<uint64_t, Reply> replies;
    bool asked = false;
    for (int i = 0; i < 1000 && replies.size() < 2; ++i) {
      client.wait(20);
      if (client.link().connected && !asked) {  // in one packet: one turn
        asked = client.send({Request{1, "key.revoke", {{"name", std::string("laptop")}}},
                             Request{2, "bench.submit", {{"shards", int64_t{100'000}}}}});
      }
      while (auto messages = client.receive()) {
        for (const auto& message : *messages) {
          if (const auto* reply = std::get_if<Reply>(&message)) replies[reply->number] = *reply;
        }
      }
    }
    EXPECT_TRUE(replies[1].ok) << replies[1].error;
    EXPECT_FALSE(replies[2].ok) << "the turn was recorded";
    EXPECT_THAT(replies[2].error, HasSubstr("ask again"));
  }
  EXPECT_EQ(ask("key.list").dump().find("laptop"), std::string::npos);
  end(SIGKILL);
  umount(state.c_str());
}

TEST_F(CoordinatorTest, NobodyElseMayReadTheStateDirectory) {
  const auto mode_of = [](const std::string& path) {
    struct stat found {};
    return stat(path.c_str(), &found) == 0 ? found.st_mode & 0777 : 0u;
  };
  const std::string database = state + "/" + store::kFileName;
  end(SIGKILL);  // its log stays beside the database
  chmod(state.c_str(), 0755);
  for (const auto& file : {database, database + "-wal", state + "/coordinator.log"})
    ASSERT_EQ(chmod(file.c_str(), 0644), 0) << file;
  start();
  submit(kSpec);
  EXPECT_EQ(mode_of(state), 0700u);
  for (const auto& file : {database, database + "-wal", database + "-shm", state + "/lock",
                           state + "/coordinator.log", state + "/coordinator.json"})
    EXPECT_EQ(mode_of(file), 0600u) << file;
  std::ifstream log(state + "/coordinator.log");
  const std::string said{std::istreambuf_iterator<char>(log), {}};
  EXPECT_THAT(said, HasSubstr(database + " was open to other users"));
}

TEST_F(CoordinatorTest, ASecondCoordinatorOfTheSameStateIsRefused) {
  CoordinatorOptions options;
  options.state = state;
  testing::internal::CaptureStderr();
  EXPECT_EQ(coordinator_main(options), 1);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("process " + std::to_string(child)));
  ask("coordinator.stop");
  int status = -1;
  waitpid(child, &status, 0);
  child = -1;
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace headcount::coordinator
