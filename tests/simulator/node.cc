#include "tests/simulator/node.h"

#include "tests/simulator/coordinator.h"

namespace headcount::simulator {

namespace {
constexpr Millis kTickMs = 400;
constexpr Millis kSlowness = 3;
}  // namespace

Node::Node(int number, World& world, const Plan& plan, Network& network, Laws& laws,
           Failures& failures)
    : number_(number),
      name_(worker_name(number)),
      world_(world),
      plan_(plan),
      network_(network),
      laws_(laws),
      failures_(failures),
      runner_lives_(static_cast<size_t>(plan.n_runners[static_cast<size_t>(number)])) {}

void Node::boot() {
  if (gone_) return;
  ++incarnation_;
  const bool slow = world_.faults_on && plan_.slow_worker == number_;
  set_clock(world_.random.between(0, 1'000'000), slow ? kSlowness : 1);
  world_.trace(name_, "starts with " + std::to_string(disk_.size()) + " results");
  worker::Settings settings;
  settings.version = "1";
  settings.host = name_;
  settings.incarnation = incarnation_;
  settings.devices.assign(runner_lives_.size(), "cpu");
  std::vector<ShardDone> unacknowledged;
  for (const auto& [key, done] : disk_) unacknowledged.push_back(done);
  agent_.emplace(std::move(settings), std::move(unacknowledged));
  tick();
}

void Node::crash(Fault fault) {
  if (!up()) return;
  world_.count(fault);
  die();
  restart_after(world_.random.between(200, 6000));
}

void Node::stay_away(Millis duration) {
  if (!up()) return;
  world_.count(Fault::kWorkerAway);
  die();
  restart_after(duration);
}

void Node::leave_for_ever() {
  world_.count(Fault::kWorkerGone);
  die();
  gone_ = true;
}

void Node::die() {
  world_.trace(name_, "dies");
  ++life_;
  agent_.reset();
  for (uint64_t& life : runner_lives_) ++life;  // a runner dies with its parent
  asleep_.clear();
  stopped_ = false;
  network_.reconnect(number_);
}

void Node::restart_after(Millis delay) {
  world_.after(delay, [this] { boot(); });
}

void Node::drain() {
  if (!up()) return;
  world_.count(Fault::kWorkerDrained);
  when_awake([this] { step(worker::DrainRequested{}); });
}

void Node::stop(Millis duration) {
  if (!up() || stopped_) return;
  world_.count(Fault::kWorkerStopped);
  world_.trace(name_, "is stopped");
  stopped_ = true;
  world_.after(duration, [this, life = life_] {
    if (life != life_) return;
    world_.trace(name_, "goes on");
    stopped_ = false;
    for (const auto& what : std::exchange(asleep_, {})) {
      if (life == life_) what();
    }
  });
}

void Node::when_awake(std::function<void()> what) {
  if (stopped_) {
    asleep_.push_back(std::move(what));
  } else {
    what();
  }
}

void Node::tick() {
  step(worker::Tick{});
  world_.after(kTickMs, [this, life = life_] {
    if (life == life_) when_awake([this] { tick(); });
  });
}

void Node::reconnected() {
  network_.reconnect(number_);
  if (up()) when_awake([this] { step(worker::Reconnected{}); });
}

void Node::set_clock(Millis to, Millis divisor) {
  clock_base_ = to;
  clock_set_at_ = world_.now();
  clock_divisor_ = divisor;
}

int64_t Node::n_held() const {
  if (!up()) return static_cast<int64_t>(disk_.size());
  const worker::Counts counts = agent_->counts();
  return counts.queued + counts.running + counts.unacknowledged;
}

void Node::deliver(Message message) {
  if (!up()) return;
  if (stopped_) {
    asleep_.emplace_back(
        [this, message = std::move(message)]() mutable { deliver(std::move(message)); });
    return;
  }
  world_.trace(name_, "<- " + describe(message));
  if (const auto* grant = std::get_if<Grant>(&message)) laws_.grant_arrived(name_, *grant);
  if (const auto* refused = std::get_if<Refused>(&message)) {
    world_.violated(4, name_ + " was refused: " + refused->reason);
  }
  if (const auto* ack = std::get_if<Ack>(&message)) {
    // A noop's result is on no disk; the agent still holds it.
    const auto held = disk_.find(ack->key);
    if (held != disk_.end()) laws_.acknowledged(name_, held->second);
    answered_.insert(ack->key);
  }
  if (const auto* revoke = std::get_if<Revoke>(&message)) answered_.insert(revoke->key);
  step(worker::Received{std::move(message)});
}

void Node::step(worker::Event event) {
  const uint64_t life = life_;
  for (worker::Action& action : agent_->step(std::move(event), now())) {
    if (!perform(action) || life != life_) return;
  }
}

bool Node::perform(worker::Action& action) {
  if (auto* persist = std::get_if<worker::Persist>(&action)) {
    if (world_.strikes(25)) {
      crash(Fault::kWorkerCrash);
      return false;
    }
    disk_[persist->done.key] = persist->done;
    answered_.erase(persist->done.key);
    if (world_.strikes(25)) {
      crash(Fault::kWorkerCrash);
      return false;
    }
  } else if (auto* send = std::get_if<worker::Send>(&action)) {
    auto* done = std::get_if<ShardDone>(&send->message);
    if (done != nullptr && done->tag != kNoopTag && world_.strikes(100)) {
      world_.count(Fault::kWrongTag);
      done->tag = done->tag == "cpu-a" ? "cpu-b" : "cpu-a";
    }
    witness(send->message);
    world_.trace(name_, "-> " + describe(send->message));
    network_.to_coordinator(number_, std::move(send->message));
  } else if (const auto* forget = std::get_if<worker::Forget>(&action)) {
    if (!answered_.contains(forget->key)) {
      world_.violated(1, name_ + " forgets its result of " + short_name(forget->key) +
                             ", which nobody has answered");
    }
    disk_.erase(forget->key);
  } else if (const auto* started = std::get_if<worker::StartRunner>(&action)) {
    start(started->runner);
  } else if (const auto* killed = std::get_if<worker::KillRunner>(&action)) {
    kill(killed->runner);
  } else if (const auto* run = std::get_if<worker::RunOn>(&action)) {
    execute(run->runner, run->shard.key);
  } else if (const auto* exit = std::get_if<worker::Exit>(&action)) {
    world_.trace(name_, "exits: " + exit->reason);
    die();
    restart_after(world_.random.between(200, 6000));
    return false;
  }
  return true;
}

void Node::witness(const Message& message) {
  if (const auto* hello = std::get_if<Hello>(&message)) {
    laws_.introduced(name_, *hello, disk_);
  } else if (const auto* done = std::get_if<ShardDone>(&message)) {
    laws_.result_sent(name_, *done, disk_.contains(done->key));
    const bool wrong_tag = done->tag != plan_.worker_tags[static_cast<size_t>(number_)];
    if (has_defect(*done) || wrong_tag) laws_.failure_reported(name_, done->key, done->attempt);
  } else if (const auto* failed = std::get_if<ShardFailed>(&message)) {
    laws_.failure_reported(name_, failed->key, failed->attempt);
  } else if (const auto* given = std::get_if<GiveBack>(&message)) {
    for (const auto& [key, attempt] : given->shards) laws_.gave_back(name_, key, attempt);
  }
}

void Node::start(int runner) {
  ++runner_lives_[static_cast<size_t>(runner)];
  if (world_.strikes(200)) {
    world_.count(Fault::kRunnerCrash);
    later(runner, 50, [this, runner] { exits(runner, Cause::kException, "cannot start"); });
    return;
  }
  Millis delay = world_.random.between(20, 300);
  if (world_.strikes(250)) {
    world_.count(Fault::kRunnerHangs);
    delay = world_.random.between(20'000, 120'000);
  }
  later(runner, delay, [this, runner] {
    const std::string& tag = plan_.worker_tags[static_cast<size_t>(number_)];
    step(worker::RunnerIsReady{runner, {.device = "cpu", .tag = tag}});
  });
}

void Node::kill(int runner) {
  later(runner, 5, [this, runner] { exits(runner, Cause::kKilled, "killed"); });
}

void Node::exits(int runner, Cause cause, const std::string& message) {
  ++runner_lives_[static_cast<size_t>(runner)];
  step(worker::RunnerExited{runner, cause, message});
}

void Node::later(int runner, Millis delay, std::function<void()> what) {
  const uint64_t life = runner_lives_[static_cast<size_t>(runner)];
  world_.after(delay, [this, runner, life, what = std::move(what)]() mutable {
    const auto lives = [this, runner, life] {
      return up() && runner_lives_[static_cast<size_t>(runner)] == life;
    };
    if (!lives()) return;
    when_awake([lives, what = std::move(what)] {
      if (lives()) what();
    });
  });
}

void Node::execute(int runner, const ShardKey& key) {
  world_.trace(name_, "executes " + short_name(key));
  laws_.executes(name_, key);
  const Millis duration = duration_ms(key);
  Nature what = nature(key);
  if (what == Nature::kFlaky && failures_[key] >= 2) what = Nature::kHealthy;
  if (what != Nature::kHealthy) world_.count(Fault::kPoisonShard);
  switch (what) {
    case Nature::kFlaky:
    case Nature::kThrows:
      ++failures_[key];
      later(runner, duration, [this, runner, key] {
        step(worker::RunnerReported{runner, key, Cause::kException, "cannot be computed"});
      });
      return;
    case Nature::kCrashes:
      later(runner, duration / 2, [this, runner] { exits(runner, Cause::kSignal, "signal 11"); });
      return;
    case Nature::kKillsNode:
      later(runner, duration, [this] { crash(Fault::kWorkerCrash); });
      return;
    case Nature::kHangs:
      return;
    case Nature::kHealthy:
      break;
  }
  const bool slow_clock = clock_divisor_ > 1;
  if (world_.strikes(slow_clock ? 400 : 120)) {
    world_.count(slow_clock ? Fault::kStallUnseen : Fault::kStall);
    return;
  }
  if (world_.strikes(150)) {
    world_.count(Fault::kRunnerCrash);
    later(runner, duration / 2, [this, runner] { exits(runner, Cause::kKilled, "signal 9"); });
    return;
  }
  later(runner, duration / 2, [this, runner, key] {
    step(worker::RunnerProgressed{runner, key, 0.5});
  });
  const std::string& tag = plan_.worker_tags[static_cast<size_t>(number_)];
  std::string result = right_result(key, tag);
  if (plan_.unsound_worker == number_ && world_.strikes(2000)) result = wrong_result(key, tag);
  if (world_.strikes(150)) {
    world_.count(Fault::kDefectiveResult);
    result = defective_result(key);
  }
  later(runner, duration, [this, runner, key, duration, result = std::move(result)] {
    step(worker::RunnerFinished{runner, key, static_cast<double>(duration) / 1000, result});
  });
}

}  // namespace headcount::simulator
