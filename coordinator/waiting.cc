// Part of coordinator/loop.h.
// While nothing can be recorded (another program's lock, a full disk) the coordinator waits and
// goes on by itself. It answers what only reads, and grants nothing. What workers say is dropped:
// they keep what they hold and say it again, and their leases count from the end of the wait.
#include "coordinator/loop.h"
#include "schemas/try_again.h"
#include "schemas/version.h"

namespace headcount::coordinator {
namespace {

constexpr Millis kTryMs = 500;
constexpr int64_t kWaitMs = 100;

}  // namespace

Settings settings_of(const CoordinatorOptions& options) {
  Settings settings;
  settings.version = kVersion;
  settings.heartbeat_ms = options.heartbeat_ms;
  settings.silence_ms = options.silence_ms;
  settings.restored_ms = 4 * options.silence_ms;
  return settings;
}

void Loop::wait_for_store(const std::string& why, bool stepped) {
  log_.line("waits, nothing can be recorded: " + why);
  waits_ = why;
  waited_ = true;
  tried_at_ = now();
  if (stepped) start_over();
}

// The scheduler has run ahead of the disk: as after a crash, all is made from the store again.
// Clients whose requests were taken back are told; what has happened outside the store is answered.
void Loop::start_over() {
  const std::string refusal = "nothing can be recorded now: " + waits_ + "; ask again";
  std::vector<std::pair<std::string, uint64_t>> waiting;
  for (auto& [route, outgoing] : std::exchange(outbox_, {})) {
    for (size_t i = 0; i < outgoing.messages.size(); ++i) {
      const auto* reply = std::get_if<Reply>(&outgoing.messages[i]);
      if (reply == nullptr) continue;
      if (outgoing.standing.contains(i)) {
        send(route, std::move(outgoing.messages[i]));
      } else {
        waiting.emplace_back(route, reply->number);
      }
    }
  }
  for (const auto& [number, submission] : std::exchange(submissions_, {})) {
    planner_.forget(number);
    if (!submission.route.empty()) waiting.emplace_back(submission.route, submission.request);
  }
  for (const auto& [route, number] : waiting) send(route, refusal_to(number, refusal));
  flush();
  scheduler_ = Scheduler(settings_of(options_), records_);
  live_.clear();
  sweep_of_.clear();
  grants_.clear();
  notices_.clear();
  broken_.clear();
  granted_.clear();
  heard_.clear();
  unread_.clear();
  awaited_.clear();
  restored_ = started_reading_ = false;  // in the first turn that can record
}

void Loop::turn_waiting(int stop_fd) {
  server_.wait(kWaitMs, stop_fd);
  const Millis until = now() + kWaitMs;
  while (auto incoming = server_.receive()) {
    take(std::move(*incoming));
    if (now() >= until) break;
  }
  flush();
  if (now() - tried_at_ < kTryMs) return;
  tried_at_ = now();
  allowed_.refresh();
  try {
    store_.probe();
    waits_.clear();
    log_.line("goes on: the database takes writes again");
  } catch (const TryAgain& error) {
    waits_ = error.what();
  }
}

}  // namespace headcount::coordinator
