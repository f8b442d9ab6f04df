// The whole coordinator over its socket: a coordinator process, its verbs, and a worker that speaks
// the protocol.
#include "coordinator/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <zmq.hpp>

#include "cluster/transport/client.h"
#include "cluster/transport/keys.h"
#include "coordinator/view.h"
#include "experiments/test_files.h"
#include "schemas/error.h"
#include "schemas/version.h"

namespace headcount::coordinator {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using testing::HasSubstr;

constexpr const char* kSpec = R"(
name = "two-stages"
seed = 1
[models.tiny]
path = "masked"
[datasets.train]
task = "addition"
split = "train"
rows = 16
[datasets.test]
task = "addition"
split = "test"
rows = 16
[[stage]]
name = "importance"
kind = "head_importance"
model = "tiny"
dataset = "train"
mask_probs = [0.5]
mask_samples = 1
path_mode = "diagonal"
quadrature = "right"
ig_steps = 4
[[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance" }
dataset = "test"
which = ["most", "least"]
k = [1]
)";

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

/// What a worker makes of a grant: finite arrays as planned, the same for the same shard.
Result computed(const Shard& shard) {
  if (shard.kind == "noop") return {{NamedArray{"noop", {}, {0.0}}}};
  Result result;
  double value = 0.25;
  for (const auto& plan : experiments::arrays(shard)) {
    size_t size = 1;
    for (const int64_t extent : plan.shape) size *= static_cast<size_t>(extent);
    result.arrays.push_back({plan.name, plan.shape, std::vector<double>(size, value += 0.5)});
  }
  return result;
}

/// A worker of one runner with the given tag, on a thread of its own, until destroyed. `fail`: the
/// cause it answers with instead.
class Worker {
 public:
  Worker(const transport::KeyFile& key, std::optional<Cause> fail = {},
         const std::string& version = kVersion)
      : client_(key, {.reconnect_ms = 50}),
        fail_(fail),
        version_(version),
        thread_([this] { work(); }) {}
  ~Worker() {
    stop_ = true;
    thread_.join();
  }
  std::atomic<int> n_granted = 0;
  std::string refused() const {
    const std::lock_guard lock(mutex_);
    return refused_;
  }

 private:
  void work() {
    uint64_t greeted = 0;
    auto beat = Clock::now();
    while (!stop_) {
      client_.wait(20);
      const auto link = client_.link();
      const std::vector<RunnerInfo> runners = {{"cpu", "T"}};
      if (link.connected && link.n_connected != greeted &&
          client_.send({Hello{version_, 1, "host", runners, {}}}))
        greeted = link.n_connected;
      if (Clock::now() - beat > std::chrono::milliseconds(200)) {
        beat = Clock::now();
        std::vector<Message> again = {Heartbeat{1, runners, held(), false}};
        for (const auto& [key, message] : unacknowledged_) again.push_back(message);
        client_.send(again);
      }
      while (auto messages = client_.receive()) {
        std::vector<Message> answers;
        for (auto& message : *messages) take(message, answers, greeted);
        if (!answers.empty()) client_.send(answers);
      }
    }
  }
  std::vector<Held> held() const {
    std::vector<Held> held;
    for (const auto& [key, message] : unacknowledged_)
      held.push_back({key, std::get<ShardDone>(message).attempt, HeldState::kDone, 1});
    return held;
  }
  void take(Message& message, std::vector<Message>& answers, uint64_t& greeted) {
    if (const auto* refused = std::get_if<Refused>(&message)) {
      const std::lock_guard lock(mutex_);
      refused_ = refused->reason;
    } else if (std::holds_alternative<Reintroduce>(message)) {
      greeted = 0;
    } else if (const auto* ack = std::get_if<Ack>(&message)) {
      unacknowledged_.erase(ack->key);
    } else if (const auto* revoke = std::get_if<Revoke>(&message)) {
      unacknowledged_.erase(revoke->key);
    } else if (const auto* grant = std::get_if<Grant>(&message)) {
      ++n_granted;
      if (fail_) {
        answers.push_back(
            ShardFailed{grant->key, grant->attempt, *fail_, "it does not work here", "cpu"});
        return;
      }
      const std::string bytes = encode(computed(decode_shard(grant->shard)));
      ShardDone done{
          grant->key, grant->attempt, grant->tag == kNoopTag ? std::string(kNoopTag) : "T",
          "cpu",      sha256(bytes),  0.001,
          bytes};
      unacknowledged_[grant->key] = done;
      answers.push_back(std::move(done));
    }
  }

  transport::Client client_;
  std::optional<Cause> fail_;
  std::string version_;
  std::atomic<bool> stop_ = false;
  mutable std::mutex mutex_;
  std::string refused_;
  std::map<ShardKey, Message> unacknowledged_;
  std::thread thread_;
};

/// A coordinator in a child process, on a state directory of its own.
class CoordinatorTest : public testing::Test {
 protected:
  CoordinatorTest() {
    char name[] = "/tmp/headcount-coordinator-XXXXXX";
    state = mkdtemp(name);
    start();
  }
  ~CoordinatorTest() override {
    end(SIGKILL);
    fs::remove_all(state);
  }
  void start() {
    child = fork();
    if (child == 0) {
      CoordinatorOptions options;
      options.state = state;
      options.root = files().root();
      options.heartbeat_ms = 200;
      _exit(coordinator_main(options));
    }
    for (int i = 0; i < 1000 && !find_running(state); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_TRUE(find_running(state));
  }
  int end(int signal) {
    int status = 0;
    if (child > 0) {
      kill(child, signal);
      waitpid(child, &status, 0);
    }
    child = -1;
    return status;
  }
  transport::KeyFile key(const std::string& name, transport::Role role = transport::Role::kWorker) {
    return transport::create_key(state, role, name, find_running(state)->address);
  }
  Json ask(const std::string& verb, const Fields& fields = {}) {
    return ask(transport::read_key_file(transport::admin_key_path(state)), verb, fields);
  }
  static Json ask(const transport::KeyFile& file, const std::string& verb,
                  const Fields& fields = {}) {
    transport::Client client(file, {.reconnect_ms = 50});
    return Json::parse(transport::ask(client, file.address, verb, fields, 20'000));
  }
  int64_t submit(const std::string& spec) {
    return ask("sweep.submit",
               {{"text", spec}, {"file", std::string("test.toml")}, {"root", files().root()}})
        .at("id");
  }
  /// Waits until the sweep's state is one of those given; its last status.
  Json wait_for(int64_t id, const std::set<std::string>& states, int64_t timeout_s = 60) {
    Json status;
    for (const auto until = Clock::now() + std::chrono::seconds(timeout_s); Clock::now() < until;) {
      status = ask("sweep.status", {{"id", std::to_string(id)}});
      if (states.contains(status.at("state"))) return status;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    ADD_FAILURE() << status.dump(1) << ask("sweep.explain", {{"id", std::to_string(id)}}).dump(1);
    return status;
  }
  static experiments::TestFiles& files() {
    static experiments::TestFiles made;
    return made;
  }

  std::string state;
  pid_t child = -1;
};

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

TEST_F(CoordinatorTest, ForeignMessagesGetOneSentenceAndHarmNothing) {
  Worker old(key("node-1"), {}, "0.0.9");
  for (int i = 0; i < 200 && old.refused().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_THAT(old.refused(), HasSubstr("0.0.9"));
  EXPECT_EQ(ask("worker.list").at("workers").size(), 0u);
  EXPECT_THAT(message_of([&] {
                ask("worker.drain", {{"name", std::string("node-1")}});
              }),
              HasSubstr("no worker named"));
  EXPECT_THAT(message_of([&] {
                ask("sweep.status", {{"id", std::string("last")}});
              }),
              HasSubstr("no sweep yet"));
  EXPECT_THAT(message_of([&] { ask("sweep.status"); }), HasSubstr("id"));
}

TEST_F(CoordinatorTest, NestedBytesOfAWorkerGetASentenceAndTheSweepGoesOn) {
  const auto hostile = key("hostile");
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::rcvtimeo, 10'000);
  dealer.set(zmq::sockopt::curve_serverkey, hostile.coordinator_public);
  dealer.set(zmq::sockopt::curve_publickey, hostile.pair.public_key);
  dealer.set(zmq::sockopt::curve_secretkey, hostile.pair.secret_key);
  dealer.connect(hostile.address);
  for (const int byte : {0x81, 0xa1, 0x9f, 0xd8, 0xff}) {
    const std::string nested(100'000, static_cast<char>(byte));
    dealer.send(zmq::buffer(nested), zmq::send_flags::none);
    zmq::message_t answer;
    ASSERT_TRUE(dealer.recv(answer));
    EXPECT_THAT(std::get<Refused>(decode(answer.to_string_view(), {}).at(0)).reason,
                HasSubstr("malformed"));
  }
  Worker worker(key("node-1"));
  const int64_t id = ask("bench.submit", {{"shards", int64_t{100}}}).at("id");
  wait_for(id, {"finished"});
}

TEST_F(CoordinatorTest, AFullDiskEndsItWithASentenceAndKeepsWhatWasRecorded) {
  end(SIGTERM);
  if (getuid() != 0 || mount("none", state.c_str(), "tmpfs", 0, "size=3m") != 0) {
    GTEST_SKIP() << "needs root and the right to mount a small tmpfs";
  }
  start();
  const auto file = key("node-1");
  int status = 0;
  {
    Worker worker(file);
    ask("bench.submit", {{"shards", int64_t{500}}});
    wait_for(1, {"finished"});
    ask("bench.submit", {{"shards", int64_t{100'000}}});
    waitpid(child, &status, 0);
    child = -1;
  }
  EXPECT_EQ(WEXITSTATUS(status), 1);
  {
    const auto database = store::Store::open_read_only(state);
    EXPECT_GE(database.n_results(), 500);
    EXPECT_EQ(find_sweep(database, "1").state, "finished");
  }
  umount(state.c_str());
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
