// A runner is whatever speaks frames on fd 3; here small shell scripts that crash, talk rubbish or
// say too much.
#include "worker/runner_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "worker/runners.h"

namespace headcount::worker {
namespace {

/// A program that ignores its arguments and does `script`.
RunnerCommand scripted(const std::string& name, const std::string& script) {
  const std::string path = testing::TempDir() + "runner_process_test_" + name;
  std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return {.program = path, .device = "cpu", .threads = 1};
}

RunnerProcess::End end_of(RunnerProcess& runner) {
  for (int i = 0; i < 1000; ++i) {
    runner.receive();
    runner.read_output();
    if (auto end = runner.ended()) return *end;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ADD_FAILURE() << "the runner did not end";
  return {};
}

TEST(RunnerProcess, GivesTheEvidenceOfACrash) {
  RunnerProcess runner(
      scripted("crash", "echo loading weights; echo bad tensor >&2; kill -SEGV $$"));
  const auto end = end_of(runner);
  EXPECT_EQ(end.cause, Cause::kSignal);
  EXPECT_THAT(end.message, testing::MatchesRegex(
                               "runner on cpu: signal 11 \\(Segmentation fault\\); peak memory "
                               "[0-9]+ MiB\nloading weights\nbad tensor\n"));
}

TEST(RunnerProcess, ChargesAnExitStatusAsAnException) {
  RunnerProcess runner(scripted("exit", "exit 4"));
  const auto end = end_of(runner);
  EXPECT_EQ(end.cause, Cause::kException);
  EXPECT_THAT(end.message, testing::HasSubstr("exit status 4"));
}

TEST(RunnerProcess, DoesNotChargeAKillFromOutside) {
  RunnerProcess runner(scripted("killed", "sleep 100"));
  runner.kill();
  EXPECT_EQ(end_of(runner).cause, Cause::kKilled);
}

TEST(RunnerProcess, KillsARunnerThatSpeaksRubbish) {
  RunnerProcess runner(scripted("rubbish", "echo what is this >&3; sleep 100"));
  const auto end = end_of(runner);
  EXPECT_EQ(end.cause, Cause::kException);
  EXPECT_THAT(end.message, testing::HasSubstr("spoke rubbish"));
}

TEST(RunnerProcess, KeepsOnlyTheEndOfItsOutput) {
  RunnerProcess runner(
      scripted("chatty", "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; exit 1"));
  const auto end = end_of(runner);
  EXPECT_LT(end.message.size(), 9000u);
  EXPECT_THAT(end.message, testing::EndsWith("line 4999\n"));
}

TEST(RunnerProcess, HandsOverWhatItSaysBeforeItEnds) {
  RunnerReady ready;
  ready.info.tag = "tag";
  const std::string body = encode(RunnerMessage{ready});
  const std::string file = testing::TempDir() + "runner_process_test_frame";
  std::ofstream(file) << std::string(1, static_cast<char>(body.size())) << std::string(3, '\0')
                      << body;
  RunnerProcess runner(scripted("ready", "cat " + file + " >&3"));
  std::vector<RunnerMessage> heard;
  for (int i = 0; i < 1000 && heard.empty(); ++i) {
    heard = runner.receive();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(std::get<RunnerReady>(heard[0]).info.tag, "tag");
  EXPECT_EQ(end_of(runner).cause, Cause::kException);  // exit status 0 is no answer either
}

TEST(RunnerProcess, CausesFollowTheSignal) {
  EXPECT_EQ(cause_of({.signal = SIGABRT}), Cause::kSignal);
  EXPECT_EQ(cause_of({.signal = SIGBUS}), Cause::kSignal);
  EXPECT_EQ(cause_of({.signal = SIGTERM}), Cause::kKilled);
  EXPECT_EQ(cause_of({.signal = SIGKILL}), Cause::kKilled);
  EXPECT_EQ(cause_of({.signal = SIGKILL, .oom_killed = true}), Cause::kOutOfMemory);
  EXPECT_EQ(cause_of({.status = 1}), Cause::kException);
}

TEST(ModelPath, IsMappedByItsWholeNameOrItsLastPart) {
  const std::vector<std::pair<std::string, std::string>> map = {{"LLaDA-8B", "/scratch/a"},
                                                                {"builtin:addition", "/scratch/b"}};
  EXPECT_EQ(mapped_model_path(map, "/models/LLaDA-8B"), "/scratch/a");
  EXPECT_EQ(mapped_model_path(map, "builtin:addition"), "/scratch/b");
  EXPECT_EQ(mapped_model_path(map, "/models/LLaDA-8B-v2"), "/models/LLaDA-8B-v2");
}

}  // namespace
}  // namespace headcount::worker
