#include "tests/simulator/node.h"

#include "tests/simulator/coordinator.h"

namespace headcount::simulator {

namespace {
constexpr Millis kTickMs = 400;
}

Node::Node(int number, World& world, const Plan& plan, Network& network, Laws& laws,
           Failures& failures)
    : number_(number),
      name_(worker_name(number)),
      world_(world),
      plan_(plan),
      network_(network),
      laws_(laws),
      failures_(failures),
      runners_(static_cast<size_t>(plan.n_runners[static_cast<size_t>(number)])) {}

void Node::boot() {
  ++life_;
  ++incarnation_;
  world_.trace(name_, "starts with " + std::to_string(disk_.size()) + " results");
  worker::Settings settings;
  settings.version = "1";
  settings.host = name_;
  settings.incarnation = incarnation_;
  settings.devices.assign(runners_.size(), "cpu");
  std::vector<ShardDone> unacknowledged;
  for (const auto& [key, done] : disk_) unacknowledged.push_back(done);
  agent_.emplace(std::move(settings), std::move(unacknowledged));
  tick();
}

void Node::crash(Fault fault) {
  if (!up()) return;
  world_.count(fault);
  world_.trace(name_, "dies");
  restart_later();
}

void Node::restart_later() {
  ++life_;
  agent_.reset();
  for (Runner& runner : runners_) {
    ++runner.life;  // a runner dies with its parent
    runner.alive = false;
  }
  clock_offset_ = world_.random.between(0, 1'000'000);
  network_.reconnect(number_);
  world_.after(world_.random.between(200, 6000), [this] { boot(); });
}

void Node::tick() {
  step(worker::Tick{});
  world_.after(kTickMs, [this, life = life_] {
    if (life == life_) tick();
  });
}

void Node::reconnected() {
  network_.reconnect(number_);
  if (up()) step(worker::Reconnected{});
}

int64_t Node::n_held() const {
  if (!up()) return static_cast<int64_t>(disk_.size());
  const worker::Counts counts = agent_->counts();
  return counts.queued + counts.running + counts.unacknowledged;
}

void Node::deliver(const std::string&, Message message) {
  if (!up()) return;
  world_.trace(name_, "<- " + describe(message));
  if (const auto* grant = std::get_if<Grant>(&message)) laws_.grant_arrived(name_, *grant);
  if (const auto* refused = std::get_if<Refused>(&message)) {
    world_.violated(4, name_ + " was refused: " + refused->reason);
  }
  if (const auto* ack = std::get_if<Ack>(&message)) {
    // A noop's result is on no disk; the agent still holds it.
    const auto held = disk_.find(ack->key);
    if (held != disk_.end()) laws_.acknowledged(name_, held->second);
  }
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
    if (world_.strikes(25)) {
      crash(Fault::kWorkerCrash);
      return false;
    }
  } else if (auto* send = std::get_if<worker::Send>(&action)) {
    if (const auto* done = std::get_if<ShardDone>(&send->message)) {
      laws_.result_sent(name_, *done, disk_.contains(done->key));
    }
    if (const auto* failed = std::get_if<ShardFailed>(&send->message)) {
      laws_.failure_reported(name_, *failed);
    }
    world_.trace(name_, "-> " + describe(send->message));
    network_.to_coordinator(number_, std::move(send->message));
  } else if (const auto* forget = std::get_if<worker::Forget>(&action)) {
    disk_.erase(forget->key);
  } else if (const auto* started = std::get_if<worker::StartRunner>(&action)) {
    start(started->runner);
  } else if (const auto* killed = std::get_if<worker::KillRunner>(&action)) {
    kill(killed->runner);
  } else if (const auto* run = std::get_if<worker::RunOn>(&action)) {
    execute(run->runner, run->shard.key);
  } else if (const auto* exit = std::get_if<worker::Exit>(&action)) {
    world_.trace(name_, "exits: " + exit->reason);
    restart_later();
    return false;
  }
  return true;
}

void Node::start(int runner) {
  Runner& at = runners_[static_cast<size_t>(runner)];
  ++at.life;
  at.alive = true;
  if (world_.strikes(200)) {
    world_.count(Fault::kRunnerCrash);
    later(runner, 50, [this, runner] { exits(runner, Cause::kException, "cannot start"); });
    return;
  }
  later(runner, world_.random.between(20, 300), [this, runner] {
    const std::string& tag = plan_.worker_tags[static_cast<size_t>(number_)];
    step(worker::RunnerIsReady{runner, {.device = "cpu", .tag = tag}});
  });
}

void Node::kill(int runner) {
  later(runner, 5, [this, runner] { exits(runner, Cause::kKilled, "killed"); });
}

void Node::exits(int runner, Cause cause, const std::string& message) {
  Runner& at = runners_[static_cast<size_t>(runner)];
  ++at.life;
  at.alive = false;
  step(worker::RunnerExited{runner, cause, message});
}

void Node::later(int runner, Millis delay, std::function<void()> what) {
  const uint64_t life = runners_[static_cast<size_t>(runner)].life;
  world_.after(delay, [this, runner, life, what = std::move(what)] {
    if (up() && runners_[static_cast<size_t>(runner)].life == life) what();
  });
}

void Node::execute(int runner, const ShardKey& key) {
  world_.trace(name_, "executes " + short_name(key));
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
  if (world_.strikes(120)) {
    world_.count(Fault::kStall);
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
  const bool wrong = plan_.unsound_worker == number_ && world_.strikes(2000);
  later(runner, duration, [this, runner, key, duration, wrong] {
    const std::string& tag = plan_.worker_tags[static_cast<size_t>(number_)];
    step(worker::RunnerFinished{runner, key, static_cast<double>(duration) / 1000,
                                wrong ? wrong_result(key, tag) : right_result(key, tag)});
  });
}

}  // namespace headcount::simulator
