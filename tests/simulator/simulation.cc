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
    network_.at_worker = [this](int w, const std::string& connection, Message message) {
      nodes_[static_cast<size_t>(w)].deliver(connection, std::move(message));
    };
  }

  void run() {
    for (Node& node : nodes_) {
      world_.after(world_.random.between(0, 2000), [&node] { node.boot(); });
    }
    world_.after(0, [this] { coordinator_.boot(); });
    accidents();
    wishes();
    const Millis faults_until = world_.random.between(40'000, 70'000);
    while (world_.now() < faults_until && world_.run_next(faults_until)) {
    }
    world_.faults_on = false;
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
      if (node.n_held() > 0) {
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
  Node& some_node() { return nodes_[static_cast<size_t>(world_.random.below(plan_.n_workers))]; }

  /// Every few seconds something happens to somebody.
  void accidents() {
    world_.after(world_.random.between(2000, 10'000), [this] {
      if (!world_.faults_on) return;
      switch (world_.random.below(4)) {
        case 0: {
          const auto w = static_cast<int>(world_.random.below(plan_.n_workers));
          const Millis duration = world_.random.between(500, 30'000);
          network_.partition(w, duration);
          world_.after(duration, [this, w] {
            if (world_.random.chance(5000)) nodes_[static_cast<size_t>(w)].reconnected();
          });
          break;
        }
        case 1:
          some_node().crash(Fault::kWorkerCrash);
          break;
        case 2:
          world_.count(Fault::kClockJump);
          world_.trace("--", "a clock leaps");
          some_node().leap(world_.random.between(1000, 600'000));
          break;
        case 3:
          world_.count(Fault::kClockJump);
          world_.trace("--", "the coordinator's clock leaps");
          coordinator_.leap(world_.random.between(1000, 600'000));
          break;
      }
      accidents();
    });
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
    if (world_.random.chance(3000)) {
      until_done(world_.random.between(1000, 40'000), [this] {
        if (!coordinator_.pause(true)) return false;
        until_done(world_.random.between(500, 15'000),
                   [this] { return coordinator_.pause(false); });
        return true;
      });
    }
    if (world_.random.chance(3000)) {
      until_done(world_.random.between(10'000, 40'000), [this] { return coordinator_.retry(); });
    }
    if (world_.random.chance(3000)) {
      world_.after(world_.random.between(1000, 40'000), [this] {
        coordinator_.drain(worker_name(static_cast<int>(world_.random.below(plan_.n_workers))));
      });
    }
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
