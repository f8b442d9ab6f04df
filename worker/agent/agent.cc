#include "worker/agent/agent.h"

#include <algorithm>
#include <utility>

#include "schemas/error.h"
#include "schemas/result.h"

namespace headcount::worker {

namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

/// Ticks come several times a second: after so long without one this process was not running.
constexpr Millis kSuspendedMs = 10'000;

/// What every noop shard yields.
const std::string& noop_result() {
  static const std::string result = encode(
      Result{.arrays = {NamedArray{.name = std::string(kNoopTag), .shape = {}, .data = {0.0}}}});
  return result;
}

/// A runner that cannot start is tried again after 1, 2, 4, ... seconds.
Millis backoff_ms(int failed_starts) { return Millis{1000} << std::min(failed_starts, 6); }

}  // namespace

Agent::Agent(Settings settings, std::vector<ShardDone> unacknowledged)
    : settings_(std::move(settings)) {
  for (const std::string& device : settings_.devices) {
    Runner runner;
    runner.info.device = device;
    runners_.push_back(std::move(runner));
  }
  for (ShardDone& done : unacknowledged) {
    Work& work = work_[done.key];
    work.attempt = done.attempt;
    work.state = HeldState::kDone;
    work.done = std::move(done);
  }
}

std::vector<Action> Agent::step(Event event, Millis now) {
  if (started_ && now - now_ > kSuspendedMs) {
    // The machine slept, and its runners with it: not a stall.
    for (auto& [key, work] : work_) work.progressed_at += now - now_;
  }
  now_ = std::max(now_, now);
  if (!std::exchange(started_, true)) {
    busy_at_ = now_;
    start_runners();
    say_hello();
  }
  if (!ended_) {
    std::visit([this](auto& e) { on(e); }, event);
    start_runners();
    start_work();
    if (heartbeat_due_) heartbeat();
    end_if_idle();
  }
  return std::exchange(actions_, {});
}

void Agent::on(Received& event) {
  std::visit(Overloaded{
                 [this](const Welcome& message) { received(message); },
                 [this](const Refused& message) { received(message); },
                 [this](const Reintroduce&) { on_reintroduce(); },
                 [this](Grant& message) { received(std::move(message)); },
                 [this](const Ack& message) { received(message); },
                 [this](const Revoke& message) { received(message); },
                 [this](const Recall& message) { received(message); },
                 [this](const DrainOrder&) { drain(); },
                 [](const auto&) {},  // not a coordinator's message: ignored
             },
             event.message);
}

void Agent::on(Reconnected&) { say_hello(); }

void Agent::on(RunnerIsReady& event) {
  Runner& runner = runners_.at(static_cast<size_t>(event.runner));
  if (runner.state != RunnerState::kStarting) return;
  runner.info = event.info;
  runner.state = RunnerState::kIdle;
  heartbeat_due_ = true;  // its tag is news
}

void Agent::on(RunnerProgressed& event) {
  Work* work = running_on(event.runner, event.key);
  if (work == nullptr || event.progress <= work->progress) return;
  work->progress = event.progress;
  work->progressed_at = now_;
}

void Agent::on(RunnerFinished& event) {
  Work* work = running_on(event.runner, event.key);
  Runner& runner = runners_.at(static_cast<size_t>(event.runner));
  if (work == nullptr) return;
  runner.state = RunnerState::kIdle;
  runner.failed_starts = 0;
  work->runner = -1;
  seconds_per_shard_ =
      seconds_per_shard_ == 0 ? event.seconds : 0.8 * seconds_per_shard_ + 0.2 * event.seconds;
  finish(event.key, *work, event.seconds, std::move(event.result), runner.info);
}

void Agent::on(RunnerReported& event) {
  if (running_on(event.runner, event.key) == nullptr) return;
  runners_.at(static_cast<size_t>(event.runner)).state = RunnerState::kIdle;
  fail(event.key, event.cause, std::move(event.message));
  // What a broken device context or a full memory would do to the next shard is not that shard's
  // fault.
  if (event.cause == Cause::kCuda || event.cause == Cause::kOutOfMemory) stop(event.runner);
}

void Agent::on(RunnerExited& event) {
  Runner& runner = runners_.at(static_cast<size_t>(event.runner));
  if (runner.state == RunnerState::kGivenUp) return;
  if (runner.state == RunnerState::kStarting || runner.state == RunnerState::kIdle) {
    last_start_failure_ = event.message;
    ++runner.failed_starts;
  }
  if (runner.state == RunnerState::kBusy) fail(runner.key, event.cause, std::move(event.message));
  runner.state = RunnerState::kOff;
  runner.start_at = runner.failed_starts == 0 ? now_ : now_ + backoff_ms(runner.failed_starts - 1);
  if (runner.failed_starts >= settings_.max_failed_starts) {
    runner.state = RunnerState::kGivenUp;
    runner.info.tag.clear();
    heartbeat_due_ = true;
  }
}

void Agent::on(DrainRequested&) { drain(); }

void Agent::on(DiskFailed& event) {
  problem_ = event.reason.size() <= kMaxProblemBytes ? event.reason : "its disk takes nothing";
  heartbeat_due_ = true;
  give_back([](const Work&) { return true; });
}

void Agent::on(DiskWorks&) {
  problem_.clear();
  heartbeat_due_ = true;
}

void Agent::on(Tick&) {
  if (settings_.until && now_ >= *settings_.until) drain();
  kill_stalled();
  if (!welcomed_ && now_ - hello_at_ >= settings_.resend_ms / 5) say_hello();
  if (!welcomed_) return;
  if (now_ - heartbeat_at_ >= heartbeat_ms_) heartbeat_due_ = true;
  for (auto& [key, work] : work_) {
    if (work.state == HeldState::kDone && now_ - work.sent_at >= settings_.resend_ms) {
      send_done(work);
    }
  }
}

void Agent::received(const Welcome& welcome) {
  welcomed_ = known_ = true;
  heartbeat_ms_ = std::max<Millis>(1, welcome.heartbeat_ms);
  heartbeat_due_ = true;
  for (auto& [key, work] : work_) {
    if (work.state == HeldState::kDone) send_done(work);
  }
}

void Agent::received(const Refused& refused) {
  if (refused.revoked || !known_) {
    end(Exit::Kind::kFailed, "the coordinator refuses this worker: " + refused.reason);
    return;
  }
  welcomed_ = false;  // it says Hello again after a while, and goes on with what it has
  hello_at_ = now_;
}

void Agent::on_reintroduce() {
  // One answer a burst of them: each would bring another Welcome and every result again.
  if (welcomed_ || now_ - hello_at_ >= settings_.resend_ms / 5) say_hello();
}

void Agent::received(Grant grant) {
  const auto held = work_.find(grant.key);
  if (held != work_.end()) {
    Work& work = held->second;
    if (grant.attempt < work.attempt) return;  // late
    work.attempt = grant.attempt;
    if (work.state == HeldState::kDone) {
      work.done.attempt = grant.attempt;
      send_done(work);
    }
    return;
  }
  if (draining_ || !problem_.empty() || !can_run(grant.tag)) {
    send(GiveBack{.shards = {{grant.key, grant.attempt}}});
    return;
  }
  busy_at_ = now_;
  Work& work = work_[grant.key];
  work.attempt = grant.attempt;
  work.tag = std::move(grant.tag);
  if (work.tag == kNoopTag) {
    finish(grant.key, work, 0, noop_result(), {.device = "none", .tag = std::string(kNoopTag)});
    return;
  }
  work.model_path = std::move(grant.model_path);
  work.shard = std::move(grant.shard);
  work.stall_ms = grant.stall_ms;
  queue_.push_back(grant.key);
}

void Agent::received(const Ack& ack) {
  const auto held = work_.find(ack.key);
  if (held != work_.end() && held->second.state == HeldState::kDone) drop(ack.key);
}

void Agent::received(const Revoke& revoke) {
  const auto held = work_.find(revoke.key);
  if (held != work_.end() && held->second.attempt <= revoke.attempt) drop(revoke.key);
}

void Agent::received(const Recall& recall) {
  const auto held = work_.find(recall.key);
  if (held == work_.end() || held->second.state != HeldState::kQueued ||
      held->second.attempt != recall.attempt) {
    return;
  }
  drop(recall.key);
  send(GiveBack{.shards = {{recall.key, recall.attempt}}});
}

void Agent::finish(const ShardKey& key, Work& work, double seconds, std::string result,
                   const RunnerInfo& info) {
  HC_CHECK(work.state != HeldState::kDone && work.runner == -1);
  work.state = HeldState::kDone;
  work.model_path.clear();
  work.shard.clear();
  busy_at_ = now_;
  work.done = ShardDone{.key = key,
                        .attempt = work.attempt,
                        .tag = info.tag,
                        .device = info.device,
                        .hash = sha256(result),
                        .seconds = seconds,
                        .result = std::move(result)};
  if (info.tag != kNoopTag) act(Persist{work.done});
  if (welcomed_) send_done(work);
}

void Agent::fail(const ShardKey& key, Cause cause, std::string message) {
  const auto held = work_.find(key);
  HC_CHECK(held != work_.end() && held->second.state == HeldState::kRunning);
  const Work& work = held->second;
  const std::string device = runners_.at(static_cast<size_t>(work.runner)).info.device;
  send(ShardFailed{.key = key,
                   .attempt = work.attempt,
                   .cause = cause,
                   .message = std::move(message),
                   .device = device});
  work_.erase(held);
  busy_at_ = now_;
}

void Agent::drop(const ShardKey& key) {
  const auto held = work_.find(key);
  HC_CHECK(held != work_.end());
  const Work& work = held->second;
  if (work.state == HeldState::kRunning) stop(work.runner);
  if (work.state == HeldState::kQueued) std::erase(queue_, key);
  if (work.state == HeldState::kDone && work.done.tag != kNoopTag) act(Forget{key});
  work_.erase(held);
}

void Agent::stop(int runner) {
  RunnerState& state = runners_.at(static_cast<size_t>(runner)).state;
  HC_CHECK(state == RunnerState::kBusy || state == RunnerState::kIdle);
  state = RunnerState::kStopping;
  act(KillRunner{runner});
}

void Agent::drain() {
  if (std::exchange(draining_, true)) return;
  heartbeat_due_ = true;
  give_back([](const Work&) { return true; });
}

template <class Predicate>
void Agent::give_back(Predicate predicate) {
  GiveBack given;
  std::erase_if(queue_, [&](const ShardKey& key) {
    const Work& work = work_.at(key);
    if (!predicate(work)) return false;
    given.shards.emplace_back(key, work.attempt);
    work_.erase(key);
    return true;
  });
  if (!given.shards.empty()) send(std::move(given));
}

void Agent::start_work() {
  if (queue_.empty()) return;
  for (size_t i = 0; i < runners_.size(); ++i) {
    Runner& runner = runners_[i];
    if (runner.state != RunnerState::kIdle) continue;
    const auto next = std::find_if(queue_.begin(), queue_.end(), [&](const ShardKey& key) {
      const std::string& tag = work_.at(key).tag;
      return tag == runner.info.tag || tag == kAnyTag;
    });
    if (next == queue_.end()) continue;
    if (settings_.until && static_cast<double>(now_) + 1200 * seconds_per_shard_ >
                               static_cast<double>(*settings_.until)) {
      drain();
      return;
    }
    const ShardKey key = *next;
    queue_.erase(next);
    Work& work = work_.at(key);
    HC_CHECK(work.state == HeldState::kQueued);
    work.state = HeldState::kRunning;
    work.runner = static_cast<int>(i);
    work.progressed_at = now_;
    runner.state = RunnerState::kBusy;
    runner.key = key;
    act(RunOn{
        .runner = work.runner,
        .shard = {
            .key = key, .model_path = std::move(work.model_path), .shard = std::move(work.shard)}});
  }
  // A tag no runner has (any more) will not come back by waiting.
  give_back([this](const Work& work) { return !can_run(work.tag); });
}

void Agent::start_runners() {
  bool any_left = runners_.empty();
  for (size_t i = 0; i < runners_.size(); ++i) {
    Runner& runner = runners_[i];
    any_left |= runner.state != RunnerState::kGivenUp;
    if (runner.state != RunnerState::kOff || now_ < runner.start_at) continue;
    if (draining_ && queue_.empty()) continue;
    runner.state = RunnerState::kStarting;
    act(StartRunner{static_cast<int>(i)});
  }
  if (!any_left) end(Exit::Kind::kTryAgain, "no runner can be started: " + last_start_failure_);
}

void Agent::kill_stalled() {
  for (size_t i = 0; i < runners_.size(); ++i) {
    Runner& runner = runners_[i];
    if (runner.state != RunnerState::kBusy) continue;
    const Work& work = work_.at(runner.key);
    if (now_ - work.progressed_at < work.stall_ms) continue;
    fail(runner.key, Cause::kStall,
         "no progress for " + std::to_string((now_ - work.progressed_at) / 1000) +
             " seconds: its runner was killed");
    stop(static_cast<int>(i));
  }
}

void Agent::end_if_idle() {
  if (ended_) return;
  if (!work_.empty()) {
    busy_at_ = now_;
    return;
  }
  if (draining_) end(Exit::Kind::kDone, "drained");
  if (settings_.idle_exit_ms > 0 && now_ - busy_at_ >= settings_.idle_exit_ms) {
    end(Exit::Kind::kDone,
        "no work for " + std::to_string(settings_.idle_exit_ms / 1000) + " seconds");
  }
}

void Agent::end(Exit::Kind kind, std::string reason) {
  if (std::exchange(ended_, true)) return;
  act(Exit{.kind = kind, .reason = std::move(reason)});
}

void Agent::say_hello() {
  welcomed_ = false;
  hello_at_ = now_;
  act(Send{Hello{.version = settings_.version,
                 .incarnation = settings_.incarnation,
                 .host = settings_.host,
                 .runners = runner_infos(),
                 .held = held()}});
}

void Agent::heartbeat() {
  if (!welcomed_) return;
  heartbeat_due_ = false;
  heartbeat_at_ = now_;
  act(Send{Heartbeat{.incarnation = settings_.incarnation,
                     .runners = runner_infos(),
                     .held = held(),
                     .draining = draining_,
                     .problem = problem_}});
}

void Agent::send_done(Work& work) {
  HC_CHECK(work.state == HeldState::kDone);
  work.sent_at = now_;
  act(Send{work.done});
}

void Agent::send(Message message) {
  // Before the Welcome nothing but Hello is heard; what is said then is in the next heartbeat's
  // list, or missing from it.
  if (welcomed_) act(Send{std::move(message)});
}

Agent::Work* Agent::running_on(int runner, const ShardKey& key) {
  const Runner& at = runners_.at(static_cast<size_t>(runner));
  if (at.state != RunnerState::kBusy || at.key != key) return nullptr;
  return &work_.at(key);
}

bool Agent::can_run(const std::string& tag) const {
  if (tag == kNoopTag) return true;
  return std::any_of(runners_.begin(), runners_.end(), [&](const Runner& runner) {
    if (runner.state == RunnerState::kGivenUp) return false;
    return tag == kAnyTag || runner.info.tag.empty() || runner.info.tag == tag;
  });
}

std::vector<RunnerInfo> Agent::runner_infos() const {
  std::vector<RunnerInfo> infos;
  for (const Runner& runner : runners_) infos.push_back(runner.info);
  return infos;
}

std::vector<Held> Agent::held() const {
  std::vector<Held> held;
  held.reserve(work_.size());
  for (const auto& [key, work] : work_) {
    held.push_back(
        {.key = key, .attempt = work.attempt, .state = work.state, .progress = work.progress});
  }
  return held;
}

Counts Agent::counts() const {
  Counts counts;
  for (const auto& [key, work] : work_) {
    switch (work.state) {
      case HeldState::kQueued:
        ++counts.queued;
        break;
      case HeldState::kRunning:
        ++counts.running;
        break;
      case HeldState::kDone:
        ++counts.unacknowledged;
        break;
    }
  }
  return counts;
}

}  // namespace headcount::worker
