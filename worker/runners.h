// The runners of a daemon: their processes, and what its loop waits for on their behalf. What they
// say, and how they end, become events of the agent.
#pragma once

#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "worker/agent/agent.h"
#include "worker/daemon.h"
#include "worker/runner_process.h"

namespace headcount::worker {

class Runners {
 public:
  /// What the daemon does with what they say.
  struct Ears {
    std::function<void(Event)> feed;
    std::function<void()> settle;                          // all that one wake-up brought is fed
    std::function<void(const std::string&)> cannot_go_on;  // with a sentence
  };

  /// One for each of the options' devices, not started. Everything passed outlives them.
  Runners(boost::asio::io_context& io, const WorkerOptions& options,
          std::shared_ptr<spdlog::logger> log, Ears ears);
  Runners(const Runners&) = delete;
  ~Runners();  // kills them

  size_t size() const { return slots_.size(); }
  void start(int runner);
  void kill(int runner);
  void run(RunOn& run);
  /// A child has ended: whose it was is looked at.
  void look();

 private:
  using Descriptor = boost::asio::posix::stream_descriptor;
  struct Slot {
    RunnerCommand command;
    std::unique_ptr<RunnerProcess> process;
    std::unique_ptr<Descriptor> channel, output;
    bool writing = false;  // waiting for room on the channel
    uint64_t generation = 0;

    void release();
  };

  void watch_channel(size_t i);
  void watch_output(size_t i);
  void watch_room(size_t i);
  bool hear(size_t i);
  void heard(int i, RunnerMessage& message);
  void is_ready(int i, RunnerReady& ready);
  void look_at(size_t i);

  boost::asio::io_context& io_;
  const WorkerOptions& options_;
  std::shared_ptr<spdlog::logger> log_;
  Ears ears_;
  std::vector<Slot> slots_;
};

/// `path` as this worker finds it: the folder of the pair whose first is `path` or its last part.
std::string mapped_model_path(const std::vector<std::pair<std::string, std::string>>& map,
                              const std::string& path);

}  // namespace headcount::worker
