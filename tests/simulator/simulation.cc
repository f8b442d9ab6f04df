#include "tests/simulator/simulation.h"

#include <deque>

#include "tests/simulator/coordinator.h"
#include "tests/simulator/network.h"
#include "tests/simulator/node.h"
#include "tests/simulator/plan.h"

namespace headcount::simulator {

namespace {

/// Long enough for every retry of every poison shard after the faults have stopped.
constexpr Millis kPatienceMs = 2'000'000;
constexpr Millis kQuietMs = 60'000;

class Simulation {
 public:
  Simulation(uint64_t seed, Bug bug, bool print)
      : world_(seed, bug, print),
        plan_(make_plan(world_.random)),
        network_(world_, plan_.n_workers),
        coordinator_(world_, plan_, network_) {
    for (int w = 0; w < plan_.n_workers; ++w) {
      nodes_.emplace_back(w, world_, plan_, network_, coordinator_.laws(), failures_);
    }
    network_.at_coordinator = [this](int w, const std::string& connection, Message message) {
      coordinator_.deliver(worker_name(w), connection, std::move(message));
    };
    network_.at_worker = [this](int w, const std::string&, Message message) {
      nodes_[static_cast<size_t>(w)].deliver(std::move(message));
    };
  }

  void run() {
    for (Node& node : nodes_) {
      world_.after(world_.random.between(0, 2000), [&node] { node.boot(); });
    }
    world_.after(0, [this] { coordinator_.boot(); });
    accidents();
    disasters();
    wishes();
    const Millis faults_until =
        world_.random.between(40'000, 70'000) + (plan_.long_outages ? 3 * kMinuteMs : 0);
    while (world_.now() < faults_until && world_.run_next(faults_until)) {
    }
    world_.faults_on = false;
    for (Node& node : nodes_) node.mend_clock();
    world_.trace("--", "faults stop");
    while (!coordinator_.finished() || !cancelled_) {
      if (!world_.run_next(kPatienceMs)) {
        world_.violated(4, "a sweep does not end:\n" + coordinator_.explain());
      }
    }
    // What is still held is answered: acknowledged or revoked.
    const Millis until = world_.now() + kQuietMs;
    while (world_.run_next(until)) {
    }
    for (Node& node : nodes_) {
      if (!node.gone() && node.n_held() > 0) {
        world_.violated(4, "a worker holds " + std::to_string(node.n_held()) +
                               " shard(s) for ever after every sweep has ended");
      }
    }
  }

  void fill(Report& report) {
    report.trace_hash = world_.trace_hash();
    report.faults = world_.counts;
    report.n_workers = plan_.n_workers;
    for (const PlannedSweep* sweep : {&plan_.main, &plan_.cancelled, &plan_.noop}) {
      for (const PlannedStage& stage : sweep->stages) {
        report.n_shards += static_cast<int64_t>(stage.keys.size());
      }
    }
    report.n_recorded = coordinator_.laws().n_recorded();
    report.n_quarantined = coordinator_.laws().n_quarantined();
    report.n_alarms = coordinator_.laws().n_alarms();
    report.n_coordinator_crashes = coordinator_.n_crashes();
    report.n_cancelled = cancelled_;
    report.ended_at = world_.now();
  }

 private:
  int some_worker() { return static_cast<int>(world_.random.below(plan_.n_workers)); }
  Node& some_node() { return nodes_[static_cast<size_t>(some_worker())]; }
  Millis some_minutes() { return world_.random.between(kMinuteMs, 3 * kMinuteMs); }

  void partition(Network::Way way, Millis duration) {
    const int w = some_worker();
    network_.partition(w, way, duration);
    world_.after(duration, [this, w] {
      if (world_.random.chance(5000)) nodes_[static_cast<size_t>(w)].reconnected();
    });
  }

  /// Every few seconds something happens to somebody.
  void accidents() {
    world_.after(world_.random.between(1500, 7000), [this] {
      if (!world_.faults_on) return;
      accident();
      accidents();
    });
  }

  void accident() {
    switch (world_.random.below(8)) {
      case 0:
        return partition(Network::Way::kBoth, world_.random.between(500, 30'000));
      case 1:
        return partition(world_.random.chance(5000) ? Network::Way::kUp : Network::Way::kDown,
                         world_.random.between(500, 30'000));
      case 2:
        return some_node().crash(Fault::kWorkerCrash);
      case 3:
        world_.count(Fault::kClockJump);
        world_.trace("--", "a clock leaps");
        return some_node().leap(world_.random.between(1000, 600'000));
      case 4:
        world_.count(Fault::kClockJump);
        world_.trace("--", "the coordinator's clock leaps");
        return coordinator_.leap(world_.random.between(1000, 600'000));
      case 5:
        return some_node().stop(world_.random.between(500, 40'000));
      case 6:
        return coordinator_.stop(world_.random.between(500, 40'000));
      case 7:
        return some_node().drain();
    }
  }

  void once(Millis first, Millis last, std::function<void()> what) {
    world_.after(world_.random.between(first, last), [this, what = std::move(what)] {
      if (world_.faults_on) what();
    });
  }

  /// What befalls a simulation once at most.
  void disasters() {
    if (plan_.leaving_worker >= 0) {
      once(2000, 30'000,
           [this] { nodes_[static_cast<size_t>(plan_.leaving_worker)].leave_for_ever(); });
    }
    if (!plan_.long_outages) return;
    once(2000, 30'000, [this] { some_node().stay_away(some_minutes()); });
    once(2000, 60'000, [this] { partition(Network::Way::kBoth, some_minutes()); });
    once(2000, 60'000, [this] { coordinator_.stay_away(some_minutes()); });
  }

  /// Asks until it is done, as a user would.
  void until_done(Millis delay, std::function<bool()> wish) {
    world_.after(delay, [this, wish = std::move(wish)] {
      if (!wish()) until_done(1000, wish);
    });
  }

  void wishes() {
    until_done(world_.random.between(1000, 20'000),
               [this] { return cancelled_ = coordinator_.cancel(); });
    if (world_.random.chance(5000)) pause_and_resume(static_cast<int>(world_.random.between(1, 4)));
    if (world_.random.chance(3000)) {
      until_done(world_.random.between(10'000, 40'000), [this] { return coordinator_.retry(); });
    }
    if (world_.random.chance(5000)) {
      until_done(world_.random.between(1000, 40'000),
                 [this] { return coordinator_.drain(worker_name(some_worker())); });
    }
  }

  void pause_and_resume(int times) {
    if (times == 0) return;
    until_done(world_.random.between(500, 15'000), [this, times] {
      if (!coordinator_.pause(true)) return false;
      until_done(world_.random.between(500, 15'000), [this, times] {
        if (!coordinator_.pause(false)) return false;
        pause_and_resume(times - 1);
        return true;
      });
      return true;
    });
  }

  World world_;
  const Plan plan_;
  Network network_;
  Coordinator coordinator_;
  Failures failures_;
  std::deque<Node> nodes_;
  bool cancelled_ = false;
};

}  // namespace

Report simulate(uint64_t seed, Bug bug, bool print) {
  Report report;
  report.seed = seed;
  Simulation simulation(seed, bug, print);
  try {
    simulation.run();
  } catch (const Violation& violation) {
    report.violation = violation.what();
  }
  simulation.fill(report);
  return report;
}

}  // namespace headcount::simulator
