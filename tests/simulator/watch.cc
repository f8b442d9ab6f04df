#include "tests/simulator/watch.h"

#include <algorithm>

#include "tests/simulator/plan.h"

namespace headcount::simulator {

using coordinator::Outcome;

namespace {

/// Whether the step sends this worker a message like that.
template <class M, class Predicate>
bool sends(const Step& step, const std::string& worker, Predicate predicate) {
  return std::any_of(step.actions.begin(), step.actions.end(), [&](const auto& action) {
    const auto* send = std::get_if<coordinator::Send>(&action);
    if (send == nullptr || send->worker != worker) return false;
    const M* message = std::get_if<M>(&send->message);
    return message != nullptr && predicate(*message);
  });
}
template <class M>
bool sends(const Step& step, const std::string& worker) {
  return sends<M>(step, worker, [](const M&) { return true; });
}

std::string name(const ShardKey& key, int64_t attempt) {
  return short_name(key) + "/" + std::to_string(attempt);
}

std::string seconds(Millis duration) { return std::to_string(duration / 1000) + " s"; }

}  // namespace

void Watch::restarted() {
  clock_started_ = false;
  for (auto& [key, worker] : workers_) worker = {};
  for (auto& [key, lent] : lent_) {
    lent.carried = true;
    lent.stall_ms = 0;
    lent.state = HeldState::kQueued;
    lent.progress = 0;
  }
}

void Watch::stepped(const Step& step) {
  pass_time(step.at);
  listen(step);
  for (const coordinator::Action& action : step.actions) {
    if (const auto* grant = std::get_if<coordinator::RecordGrant>(&action)) granted(*grant);
    if (const auto* grant = std::get_if<coordinator::SendGrant>(&action)) {
      const auto lent = lent_.find(grant->key);
      if (lent != lent_.end()) lent->second.stall_ms = grant->stall_ms;
    }
    if (const auto* end = std::get_if<coordinator::EndAttempt>(&action)) ended(step, *end);
  }
  only_what_ran_is_suspect();
  if (const auto* event = std::get_if<coordinator::WorkerMessage>(&step.event)) {
    const auto* hello = std::get_if<Hello>(&event->message);
    const auto* beat = std::get_if<Heartbeat>(&event->message);
    if (hello != nullptr && sends<Welcome>(step, event->worker)) {
      note_held(event->worker, hello->held);
    }
    if (beat != nullptr && !sends<Reintroduce>(step, event->worker)) {
      note_held(event->worker, beat->held);
    }
  }
  if (std::holds_alternative<coordinator::Tick>(step.event)) nobody_is_overdue();
}

// A coordinator that was suspended heard nobody meanwhile: that time counts against none.
void Watch::pass_time(Millis now) {
  const bool suspended = clock_started_ && now - now_ > settings_.silence_ms / 2;
  const bool starts = !std::exchange(clock_started_, true);
  now_ = starts ? now : std::max(now_, now);
  if (!starts && !suspended) return;
  for (auto& [key, worker] : workers_) {
    worker.heard_at = worker.progressed_at = worker.got_on_at = now_;
  }
  for (auto& [key, lent] : lent_) lent.progressed_at = lent.got_on_at = now_;
}

void Watch::listen(const Step& step) {
  speaker_restarted_ = false;
  lost_running_.clear();
  if (const auto* drain = std::get_if<coordinator::Drain>(&step.event)) {
    Worker& worker = workers_[drain->worker];
    worker.drain_ordered |= worker.connected && !silent(worker);
    return;
  }
  const auto* event = std::get_if<coordinator::WorkerMessage>(&step.event);
  if (event == nullptr) return;
  Worker& worker = workers_[event->worker];
  if (worker.connected && worker.connection == event->connection) worker.heard_at = now_;
  if (const auto* message = std::get_if<Hello>(&event->message)) {
    hello(step, *event, *message);
  } else if (const auto* beat = std::get_if<Heartbeat>(&event->message)) {
    if (sends<Reintroduce>(step, event->worker)) return;
    introduce(worker, beat->runners);
    worker.draining = beat->draining;
  } else if (const auto* done = std::get_if<ShardDone>(&event->message)) {
    const auto lent = lent_.find(done->key);
    if (lent == lent_.end() || lent->second.worker != event->worker) return;
    worker.progressed_at = worker.got_on_at = now_;
    if (done->tag == kNoopTag) return;
    shortest_seconds_ = std::min(shortest_seconds_, done->seconds);
    longest_seconds_ = std::max(longest_seconds_, done->seconds);
  }
}

void Watch::hello(const Step& step, const coordinator::WorkerMessage& event, const Hello& message) {
  if (!sends<Welcome>(step, event.worker)) return;
  Worker& worker = workers_[event.worker];
  const bool known = worker.connected && !silent(worker);
  if (known && message.incarnation < worker.incarnation) {
    world_.violated(2, "a daemon of " + event.worker + " that was started earlier took over");
  }
  speaker_restarted_ = worker.incarnation < message.incarnation;
  if (!known || speaker_restarted_) worker.draining = worker.drain_ordered = false;
  worker.connected = true;
  worker.connection = event.connection;
  worker.incarnation = message.incarnation;
  worker.heard_at = now_;
  introduce(worker, message.runners);
}

void Watch::introduce(Worker& worker, const std::vector<RunnerInfo>& runners) {
  worker.n_runners = runners.size();
  worker.runners = {{std::string(kNoopTag), 1}};
  for (const RunnerInfo& runner : runners) {
    if (!runner.tag.empty()) ++worker.runners[runner.tag];
  }
}

void Watch::note_held(const std::string& worker, const std::vector<Held>& held) {
  for (const Held& item : held) {
    const auto found = lent_.find(item.key);
    if (found == lent_.end() || found->second.worker != worker ||
        found->second.attempt != item.attempt || item.state < found->second.state) {
      continue;
    }
    Lent& lent = found->second;
    if (item.state == lent.state && item.progress <= lent.progress) continue;
    lent.progressed_at = workers_.at(worker).progressed_at = now_;
    if (item.state > lent.state) lent.got_on_at = workers_.at(worker).got_on_at = now_;
    lent.state = item.state;
    lent.progress = std::max(lent.progress, item.progress);
  }
}

void Watch::granted(const coordinator::RecordGrant& grant) {
  int64_t& last = last_attempt_[grant.key];
  const bool taken_up_again = grant.attempt <= last;
  last = std::max(last, grant.attempt);
  lent_[grant.key] = {.attempt = grant.attempt,
                      .worker = grant.worker,
                      .tag = grant.tag,
                      .carried = taken_up_again,
                      .progressed_at = now_,
                      .got_on_at = now_};
  const Worker& worker = workers_[grant.worker];
  const std::string what = name(grant.key, grant.attempt) + " was granted to " + grant.worker;
  if (!worker.connected) world_.violated(4, what + ", which has not said hello");
  if (taken_up_again) return;
  if (worker.draining || worker.drain_ordered) world_.violated(4, what + ", which is draining");
  const auto able = worker.runners.find(grant.tag);
  if (able == worker.runners.end()) {
    world_.violated(4, what + ", which has no runner of tag " + grant.tag);
  }
  const int64_t n = std::count_if(lent_.begin(), lent_.end(), [&](const auto& other) {
    return other.second.worker == grant.worker && other.second.tag == grant.tag &&
           !other.second.carried;
  });
  const int64_t bound = able->second * (grant.tag == kNoopTag ? settings_.max_credit : credit());
  if (n > bound) {
    world_.violated(4, grant.worker + " was lent " + std::to_string(n) + " shards of tag " +
                           grant.tag + ", where " + std::to_string(bound) +
                           " are all that its runners' credit allows");
  }
}

void Watch::ended(const Step& step, const coordinator::EndAttempt& end) {
  const auto found = lent_.find(end.key);
  if (found == lent_.end() || found->second.attempt != end.attempt) return;  // late
  const Lent lent = found->second;
  lent_.erase(found);
  const Worker& worker = workers_[lent.worker];
  const std::string what = name(end.key, end.attempt) + " at " + lent.worker;
  const auto* event = std::get_if<coordinator::WorkerMessage>(&step.event);
  const bool by_restart = speaker_restarted_ && event != nullptr && event->worker == lent.worker;
  const bool at_tick = std::holds_alternative<coordinator::Tick>(step.event);
  const bool by_silence = at_tick && silent(worker);
  // Of what was granted in an earlier life, the least that the coordinator may have asked for; and
  // progress so slow that it renews nothing may be all there was since it began.
  Lent least = lent;
  least.stall_ms = std::max(lent.stall_ms, settings_.stall_at_least_ms);
  const Millis got_on_at = lent.state == HeldState::kQueued
                               ? std::max(lent.got_on_at, worker.got_on_at)
                               : lent.got_on_at;
  const bool by_expiry = at_tick && now_ - got_on_at > patience_ms(least);
  const bool given_up = end.outcome == Outcome::kLost || end.outcome == Outcome::kLostRunning ||
                        end.outcome == Outcome::kExpired;
  if (given_up && !by_restart && !by_silence && !by_expiry) {
    world_.violated(4, what + " was given up (" + std::string(to_string(end.outcome)) +
                           "), though its worker was heard " + seconds(now_ - worker.heard_at) +
                           " ago and got on " + seconds(now_ - got_on_at) + " ago");
  }
  if (end.outcome == Outcome::kLostRunning) lost_running_[lent.worker].push_back(end.key);
  if (end.outcome != Outcome::kRevoked && end.outcome != Outcome::kExpired) return;
  const bool told = sends<Revoke>(step, lent.worker, [&](const Revoke& revoke) {
    return revoke.key == end.key && revoke.attempt == end.attempt;
  });
  if (!told && worker.connected && !silent(worker)) {
    world_.violated(4, what + " was ended without a word to its worker");
  }
}

// Where nobody knows what ran, no more are suspected than could.
void Watch::only_what_ran_is_suspect() const {
  for (const auto& [worker, keys] : lost_running_) {
    const auto known = workers_.find(worker);
    const size_t n_runners = std::max<size_t>(1, known->second.n_runners);
    if (keys.size() <= n_runners) continue;
    for (const ShardKey& key : keys) {
      if (executed_.contains({worker, key})) continue;
      world_.violated(5, short_name(key) + " was charged with the loss of " + worker +
                             ", where it only waited");
    }
  }
}

void Watch::nobody_is_overdue() {
  for (const auto& [key, lent] : lent_) {
    const Worker& worker = workers_[lent.worker];
    const std::string what = name(key, lent.attempt) + " is still lent to " + lent.worker;
    if (silent(worker)) {
      world_.violated(4, what + ", silent for " + seconds(now_ - worker.heard_at));
    }
    if (without_progress_ms(lent) > patience_ms(lent)) {
      world_.violated(4, what + ", which got nowhere for " + seconds(without_progress_ms(lent)));
    }
  }
  for (auto& [key, worker] : workers_) {
    if (silent(worker)) worker.connected = false;
  }
}

bool Watch::silent(const Worker& worker) const {
  // One that held leases before a restart has not heard of it yet.
  return now_ - worker.heard_at > (worker.connected ? settings_.silence_ms : settings_.restored_ms);
}

// What waits behind a shard that gets on is as alive as that one.
Millis Watch::without_progress_ms(const Lent& lent) const {
  const auto worker = workers_.find(lent.worker);
  const Millis alive_at = lent.state == HeldState::kQueued
                              ? std::max(lent.progressed_at, worker->second.progressed_at)
                              : lent.progressed_at;
  return now_ - alive_at;
}

Millis Watch::patience_ms(const Lent& lent) const {
  Millis stall_ms = lent.stall_ms;
  if (stall_ms == 0) {
    stall_ms =
        std::max(settings_.stall_at_least_ms, static_cast<Millis>(10'000 * longest_seconds_));
  }
  return stall_ms + stall_ms / 2 + 10 * settings_.heartbeat_ms;
}

int64_t Watch::credit() const {
  const double shards = settings_.credit_seconds / shortest_seconds_;
  return std::max<int64_t>(2, static_cast<int64_t>(shards + 1e-6));
}

}  // namespace headcount::simulator
