// The connections between the workers and the coordinator: messages on one connection arrive in the
// order sent, unless a fault says otherwise.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "schemas/messages.h"
#include "tests/simulator/world.h"

namespace headcount::simulator {

class Network {
 public:
  using Deliver = std::function<void(int worker, const std::string& connection, Message message)>;

  Network(World& world, int n_workers);

  /// The worker's address today; new after every reconnect.
  std::string connection(int worker) const;
  void reconnect(int worker) { ++links_[static_cast<size_t>(worker)].epoch; }
  void reconnect_all();
  enum class Way { kBoth, kUp, kDown };  // up: to the coordinator
  /// Nothing passes that way for so long.
  void partition(int worker, Way way, Millis duration);

  void to_coordinator(int worker, Message message);
  /// Dropped when `connection` is no longer the worker's.
  void to_worker(int worker, const std::string& connection, Message message);

  Deliver at_coordinator;
  Deliver at_worker;

 private:
  struct Direction {
    uint64_t sent = 0;
    uint64_t newest_arrived = 0;
    Millis in_order_at = 0;
    Millis partitioned_until = 0;
  };
  struct Link {
    int64_t epoch = 1;
    Direction up, down;
  };
  void post(int worker, bool up, const std::string& connection, Message message);
  void fly(int worker, bool up, const std::string& connection, Message message, Millis delay,
           uint64_t number);
  bool partitioned(const Direction& direction) const {
    return world_.faults_on && world_.now() < direction.partitioned_until;
  }

  World& world_;
  std::vector<Link> links_;
};

/// What a trace calls a message: "Grant 1f2e3d4c/2".
std::string describe(const Message& message);

}  // namespace headcount::simulator
