// What the tests of the whole coordinator share: a coordinator process, and a worker that speaks
// the protocol. Include nlohmann/json.hpp before it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "cluster/transport/client.h"
#include "cluster/transport/keys.h"
#include "coordinator/coordinator.h"
#include "experiments/sweep.h"
#include "experiments/test_files.h"
#include "schemas/error.h"
#include "schemas/messages.h"
#include "schemas/result.h"
#include "schemas/version.h"

namespace headcount::coordinator {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using testing::HasSubstr;

inline constexpr const char* kSpec = R"(
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

inline std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

/// What a worker makes of a grant: finite arrays as planned, the same for the same shard.
inline Result computed(const Shard& shard) {
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
/// cause it answers with instead; `compute`: what it delivers.
class Worker {
 public:
  Worker(const transport::KeyFile& key, std::optional<Cause> fail = {},
         const std::string& version = kVersion, int64_t memory_bytes = 0,
         const std::string& tag = "T", Result (*compute)(const Shard&) = computed)
      : client_(key, {.reconnect_ms = 50}),
        fail_(fail),
        version_(version),
        memory_bytes_(memory_bytes),
        tag_(tag),
        compute_(compute),
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
      const std::vector<RunnerInfo> runners = {{"cpu", tag_, memory_bytes_}};
      if (link.connected && link.n_connected != greeted &&
          client_.send({Hello{version_, 1, "host", runners, {}}}))
        greeted = link.n_connected;
      if (Clock::now() - beat > std::chrono::milliseconds(200)) {
        beat = Clock::now();
        std::vector<Message> again = {Heartbeat{1, runners, held(), false, ""}};
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
      const std::string bytes = encode(compute_(decode_shard(grant->shard)));
      ShardDone done{
          grant->key, grant->attempt, grant->tag == kNoopTag ? std::string(kNoopTag) : tag_,
          "cpu",      sha256(bytes),  0.001,
          bytes};
      unacknowledged_[grant->key] = done;
      answers.push_back(std::move(done));
    }
  }

  transport::Client client_;
  std::optional<Cause> fail_;
  std::string version_;
  int64_t memory_bytes_;
  std::string tag_;
  Result (*compute_)(const Shard&);
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
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that dies leaves nobody behind
      CoordinatorOptions options;
      options.state = state;
      options.root = files().root();
      options.heartbeat_ms = 200;
      options.read_again_ms = 300;
      options.silence_ms = silence_ms;
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
  /// The key of a worker that ended: nothing is lent to it while its silence is noticed.
  void gone(const std::string& name) { ask("key.revoke", {{"name", name}}); }
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
  int64_t silence_ms = 15'000;  // of coordinators started from now on
  pid_t child = -1;
};

}  // namespace headcount::coordinator
