#include "worker/runner_process.h"

#include <signal.h>

#include "schemas/error.h"

namespace headcount::worker {
namespace {

constexpr size_t kTailBytes = 8 << 10;

process::Command command_line(const RunnerCommand& command) {
  const std::string threads = std::to_string(command.threads);
  process::Command line;
  line.arguments = {command.program, "serve", "--device", command.device,
                    "--threads",     threads, "--share",  std::to_string(command.share)};
  // Read by OpenMP, OpenBLAS and cuBLAS when they are loaded, before the runner's main.
  line.environment = {{"OMP_NUM_THREADS", threads},
                      {"OPENBLAS_NUM_THREADS", threads},
                      {"MKL_NUM_THREADS", threads},
                      {"CUBLAS_WORKSPACE_CONFIG", ":4096:8"}};
  line.channel = true;
  line.own_session = true;  // Ctrl-C drains the daemon; what runs is to end in peace
  return line;
}

}  // namespace

Cause cause_of(const process::Exit& exit) {
  if (exit.signal == 0) return Cause::kException;
  if (exit.oom_killed) return Cause::kOutOfMemory;
  const bool own_fault = exit.signal == SIGSEGV || exit.signal == SIGABRT ||
                         exit.signal == SIGBUS || exit.signal == SIGFPE || exit.signal == SIGILL;
  return own_fault ? Cause::kSignal : Cause::kKilled;
}

RunnerProcess::RunnerProcess(const RunnerCommand& command)
    : device_(command.device),
      child_(process::Child::start(command_line(command))),
      stream_(child_.channel(), kMaxFrameBytes),
      tail_(kTailBytes) {}

std::vector<RunnerMessage> RunnerProcess::receive() {
  std::vector<RunnerMessage> messages;
  if (!rubbish_.empty()) return messages;
  try {
    for (const std::string& frame : stream_.receive()) {
      messages.push_back(decode_runner_message(frame));
    }
  } catch (const Error& error) {
    rubbish_ = std::string("the runner spoke rubbish (") + error.what() + ")";
    kill();
  }
  return messages;
}

void RunnerProcess::kill() { child_.kill(SIGKILL); }

std::optional<RunnerProcess::End> RunnerProcess::ended() {
  const auto exit = child_.poll();
  if (!exit) return std::nullopt;
  read_output();
  End end{.cause = cause_of(*exit), .message = "runner on " + device_ + ": "};
  if (!rubbish_.empty()) {
    end.cause = Cause::kException;
    end.message += rubbish_;
  } else {
    end.message += process::to_string(*exit);
  }
  end.message += "; peak memory " + std::to_string(exit->peak_rss_bytes >> 20) + " MiB";
  if (const std::string tail = tail_.text(); !tail.empty()) end.message += "\n" + tail;
  return end;
}

}  // namespace headcount::worker
