#include "cli/progress.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/text.h"

namespace headcount::cli {
namespace {

using coordinator::StageStatus;
using coordinator::SweepStatus;
using coordinator::WorkerStatus;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kBarWidth = 24;
constexpr auto kPoll = std::chrono::milliseconds(100);
constexpr int kAskEvery = 3;  // polls
constexpr auto kLineEvery = std::chrono::seconds(5);

std::string rate_text(double rate) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, rate < 9.95 ? "%.2g/s" : "%.0f/s", rate);
  return buffer;
}

std::string bar(double share) {
  const int full = static_cast<int>(std::floor(share * kBarWidth));
  return "[" + std::string(static_cast<size_t>(full), '#') +
         std::string(static_cast<size_t>(kBarWidth - full), '.') + "]";
}

/// "8.1/s, 3.5 s left", or the state where nothing moves.
std::string pace(const StageStatus& stage) {
  if (stage.state != "open") return stage.state;
  std::string text;
  if (stage.rate > 0) text = rate_text(stage.rate);
  if (stage.time_left_s)
    text += (text.empty() ? "" : ", ") + duration_text(*stage.time_left_s) + " left";
  return text.empty() ? "running" : text;
}

std::string trouble(const StageStatus& stage) {
  std::string text;
  if (stage.quarantined > 0) text += "; " + grouped(stage.quarantined) + " quarantined";
  if (!stage.reason.empty()) text += "; " + stage.reason;
  return text;
}

std::string done_of_shards(const StageStatus& stage) {
  return grouped(stage.done) + "/" + grouped(stage.shards);
}

std::vector<std::string> stage_row(const StageStatus& stage, bool bars) {
  const double done = static_cast<double>(stage.done), shards = static_cast<double>(stage.shards);
  const double share = shards > 0 ? std::min(1.0, done / shards) : 0;
  std::vector<std::string> row = {stage.name, stage.kind};
  if (bars) row.push_back(bar(share));
  row.push_back(done_of_shards(stage));
  row.push_back(std::to_string(static_cast<int>(std::floor(share * 100))) + "%");
  row.push_back(pace(stage) + trouble(stage));
  return row;
}

std::vector<std::string> worker_row(const WorkerStatus& worker) {
  const size_t n_runners = worker.devices.size();
  return {worker.name,
          worker.state,
          std::to_string(n_runners) + (n_runners == 1 ? " runner" : " runners"),
          grouped(worker.done) + " done",
          rate_text(worker.rate),
          grouped(worker.running) + " running, " + grouped(worker.held) + " held"};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

bool ended(const std::string& state) {
  return state == "finished" || state == "cancelled" || state == "stopped";
}

/// Lines on stderr, drawn over the ones before on a terminal.
class Screen {
 public:
  explicit Screen(bool quiet) : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1) {}

  void show(const SweepStatus& status, bool last) {
    if (quiet_) return;
    if (terminal_) {
      std::string text;
      if (drawn_ > 0) text += "\x1b[" + std::to_string(drawn_) + "A";
      const auto lines = progress_lines(status, true);
      for (const std::string& line : lines) text += "\x1b[2K" + line + "\n";
      text += "\x1b[J";
      drawn_ = lines.size();
      std::cerr << text << std::flush;
      return;
    }
    const std::string line = progress_summary(status);
    const bool due = Clock::now() - said_at_ >= kLineEvery;
    if ((due || last) && line != said_) {
      std::cerr << line << std::endl;
      said_ = line;
      said_at_ = Clock::now();
    }
  }

 private:
  bool quiet_, terminal_;
  size_t drawn_ = 0;
  std::string said_;
  Clock::time_point said_at_ = Clock::now() - kLineEvery;
};

}  // namespace

std::vector<std::string> progress_lines(const SweepStatus& status, bool bars) {
  std::vector<std::vector<std::string>> stages = {{"stage", "kind"}};
  if (bars) stages[0].emplace_back("");
  stages[0].insert(stages[0].end(), {"shards", "", "pace"});
  for (const StageStatus& stage : status.stages) stages.push_back(stage_row(stage, bars));
  std::vector<std::string> lines = lines_of(aligned(stages));
  if (!status.live || status.live->workers.empty()) return lines;
  std::vector<std::vector<std::string>> rows = {{"worker", "", "", "", "rate", ""}};
  for (const WorkerStatus& worker : status.live->workers) rows.push_back(worker_row(worker));
  for (std::string& line : lines_of(aligned(rows))) lines.push_back(std::move(line));
  return lines;
}

std::string progress_summary(const SweepStatus& status) {
  std::string text;
  for (const StageStatus& stage : status.stages) {
    text += (text.empty() ? "" : "; ") + stage.name + " " + done_of_shards(stage) + " (" +
            pace(stage) + ")" + trouble(stage);
  }
  return text;
}

ReadingProgress::ReadingProgress(const Common& common, std::string file)
    : common_(common), file_(std::move(file)) {}

void ReadingProgress::look() {
  if (common_.quiet() || Clock::now() - looked_at_ < kLineEvery) return;
  looked_at_ = Clock::now();
  try {
    if (!connection_) connection_ = Connection::find(common_);
    if (!connection_) return;
    const Json info = Json::parse(connection_->ask("coordinator.info", {}, 1'000), nullptr, false);
    if (!info.is_object()) return;
    for (const Json& one : info.value("reading", Json::array())) {
      if (one.value("file", "") == file_) std::cerr << one.value("doing", "") << std::endl;
    }
  } catch (const Error&) {
    // Whoever waits for the answer to the submission hears of what is wrong there.
  }
}

Waited watch_sweep(Connection& connection, const std::string& id, bool quiet, int64_t patience_ms,
                   const std::function<bool()>& stop_asked) {
  Screen screen(quiet);
  Waited waited;
  auto answered_at = Clock::now();
  for (int poll = 0;; ++poll) {
    if (stop_asked()) {
      waited.state = "interrupted";
      return waited;
    }
    if (poll % kAskEvery != 0) {
      std::this_thread::sleep_for(kPoll);
      continue;
    }
    std::string answer;
    try {
      answer = connection.ask("sweep.status", {{"id", id}}, 3'000);
      answered_at = Clock::now();
    } catch (const Error&) {
      if (Clock::now() - answered_at > std::chrono::milliseconds(patience_ms)) throw;
      std::this_thread::sleep_for(kPoll);
      continue;
    }
    waited.status = coordinator::status_from_json(answer);
    waited.state = waited.status.state;
    screen.show(waited.status, ended(waited.state));
    if (ended(waited.state)) return waited;
    std::this_thread::sleep_for(kPoll);
  }
}

}  // namespace headcount::cli
