#include "tests/simulator/network.h"

#include <algorithm>

#include "tests/simulator/plan.h"

namespace headcount::simulator {

Network::Network(World& world, int n_workers)
    : world_(world), links_(static_cast<size_t>(n_workers)) {}

std::string Network::connection(int worker) const {
  return "c" + std::to_string(worker) + "." +
         std::to_string(links_[static_cast<size_t>(worker)].epoch);
}

void Network::reconnect_all() {
  for (size_t w = 0; w < links_.size(); ++w) reconnect(static_cast<int>(w));
}

void Network::partition(int worker, Way way, Millis duration) {
  world_.count(duration >= kMinuteMs ? Fault::kLongPartition
               : way == Way::kBoth   ? Fault::kPartition
                                     : Fault::kOneWayPartition);
  world_.trace("net", "partition of w" + std::to_string(worker));
  Link& link = links_[static_cast<size_t>(worker)];
  if (way != Way::kDown) link.up.partitioned_until = world_.now() + duration;
  if (way != Way::kUp) link.down.partitioned_until = world_.now() + duration;
}

void Network::to_coordinator(int worker, Message message) {
  post(worker, true, connection(worker), std::move(message));
}

void Network::to_worker(int worker, const std::string& connection, Message message) {
  post(worker, false, connection, std::move(message));
}

void Network::post(int worker, bool up, const std::string& connection, Message message) {
  Link& link = links_[static_cast<size_t>(worker)];
  Direction& direction = up ? link.up : link.down;
  const uint64_t number = ++direction.sent;
  if (partitioned(direction) || world_.strikes(200)) {
    world_.count(Fault::kLostMessage);
    return;
  }
  const Millis delay = world_.random.between(1, 10);
  if (std::holds_alternative<GiveBack>(message) && world_.strikes(4000)) {
    world_.count(Fault::kLateGiveBack);
    fly(worker, up, connection, message, world_.random.between(1000, 40'000), number);
  }
  if (world_.strikes(150)) {
    world_.count(Fault::kDoubledMessage);
    fly(worker, up, connection, message, delay + world_.random.between(1, 4000), number);
  }
  if (world_.strikes(100)) {
    world_.count(Fault::kLateMessage);
    fly(worker, up, connection, std::move(message), world_.random.between(2000, 20'000), number);
    return;
  }
  if (world_.strikes(200)) {
    fly(worker, up, connection, std::move(message), delay + world_.random.between(5, 1500), number);
    return;
  }
  direction.in_order_at = std::max(direction.in_order_at, world_.now() + delay);
  fly(worker, up, connection, std::move(message), direction.in_order_at - world_.now(), number);
}

void Network::fly(int worker, bool up, const std::string& at, Message message, Millis delay,
                  uint64_t number) {
  world_.after(delay, [this, worker, up, at, number, message = std::move(message)]() mutable {
    Link& link = links_[static_cast<size_t>(worker)];
    Direction& direction = up ? link.up : link.down;
    if (partitioned(direction)) {
      world_.count(Fault::kLostMessage);
      return;
    }
    if (number < direction.newest_arrived) world_.count(Fault::kReorderedMessage);
    direction.newest_arrived = std::max(direction.newest_arrived, number);
    if (up) {
      at_coordinator(worker, at, std::move(message));
    } else if (at == connection(worker)) {
      at_worker(worker, at, std::move(message));
    }
  });
}

namespace {

struct Describe {
  static std::string name(const ShardKey& key, int64_t attempt) {
    return short_name(key) + "/" + std::to_string(attempt);
  }
  std::string operator()(const Hello& m) const {
    return "Hello " + std::to_string(m.incarnation) + " holds " + std::to_string(m.held.size());
  }
  std::string operator()(const Heartbeat& m) const {
    return "Heartbeat holds " + std::to_string(m.held.size());
  }
  std::string operator()(const ShardDone& m) const { return "ShardDone " + name(m.key, m.attempt); }
  std::string operator()(const ShardFailed& m) const {
    return "ShardFailed " + name(m.key, m.attempt) + " " + m.message;
  }
  std::string operator()(const GiveBack& m) const {
    std::string text = "GiveBack";
    for (const auto& [key, attempt] : m.shards) text += " " + name(key, attempt);
    return text;
  }
  std::string operator()(const Welcome&) const { return "Welcome"; }
  std::string operator()(const Refused& m) const { return "Refused " + m.reason; }
  std::string operator()(const Reintroduce&) const { return "Reintroduce"; }
  std::string operator()(const Grant& m) const { return "Grant " + name(m.key, m.attempt); }
  std::string operator()(const Ack& m) const { return "Ack " + short_name(m.key); }
  std::string operator()(const Revoke& m) const { return "Revoke " + name(m.key, m.attempt); }
  std::string operator()(const Recall& m) const { return "Recall " + name(m.key, m.attempt); }
  std::string operator()(const DrainOrder&) const { return "DrainOrder"; }
  std::string operator()(const Request& m) const { return "Request " + m.verb; }
  std::string operator()(const Reply&) const { return "Reply"; }
};

}  // namespace

std::string describe(const Message& message) { return std::visit(Describe{}, message); }

}  // namespace headcount::simulator
