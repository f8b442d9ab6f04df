#include "tests/simulator/world.h"

#include <cstdio>

#include "schemas/error.h"

namespace headcount::simulator {

namespace {
constexpr std::array kFaultNames = {
    std::string_view("lost message"),
    std::string_view("doubled message"),
    std::string_view("late message"),
    std::string_view("reordered message"),
    std::string_view("late copy of a GiveBack"),
    std::string_view("partition"),
    std::string_view("one-way partition"),
    std::string_view("partition of minutes"),
    std::string_view("worker crash"),
    std::string_view("worker stopped for a while"),
    std::string_view("worker away for minutes"),
    std::string_view("worker gone for ever"),
    std::string_view("worker drained"),
    std::string_view("runner crash"),
    std::string_view("runner hangs at its start"),
    std::string_view("coordinator crash before commit"),
    std::string_view("coordinator crash after commit"),
    std::string_view("coordinator crash while sending"),
    std::string_view("coordinator stopped for a while"),
    std::string_view("coordinator away for minutes"),
    std::string_view("disk full"),
    std::string_view("clock jump"),
    std::string_view("stall"),
    std::string_view("stall under a slow clock"),
    std::string_view("defective result"),
    std::string_view("result under a wrong tag"),
    std::string_view("poison shard"),
};
static_assert(kFaultNames.size() == static_cast<size_t>(Fault::kCount));
}  // namespace

std::string_view to_string(Fault fault) { return kFaultNames.at(static_cast<size_t>(fault)); }

std::string_view to_string(Bug bug) {
  switch (bug) {
    case Bug::kNone:
      return "none";
    case Bug::kAcknowledgeBeforeCommit:
      return "acknowledge_before_commit";
    case Bug::kGrantBeforeRecord:
      return "grant_before_record";
    case Bug::kLateResultOverwrites:
      return "late_result_overwrites";
    case Bug::kReorderedMessages:
      return "reordered_messages";
  }
  HC_CHECK(false);
}

Bug bug_from_string(std::string_view name) {
  for (const Bug bug : {Bug::kNone, Bug::kAcknowledgeBeforeCommit, Bug::kGrantBeforeRecord,
                        Bug::kLateResultOverwrites, Bug::kReorderedMessages}) {
    if (to_string(bug) == name) return bug;
  }
  throw Error("unknown bug \"" + std::string(name) +
              "\": acknowledge_before_commit, grant_before_record, late_result_overwrites or "
              "reordered_messages");
}

uint64_t Random::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

World::World(uint64_t seed, Bug planted, bool print) : random(seed), bug(planted), print_(print) {}

void World::after(Millis delay, std::function<void()> what) {
  queue_.emplace(std::pair(now_ + delay, order_++), std::move(what));
}

bool World::run_next(Millis until) {
  const auto next = queue_.begin();
  if (next == queue_.end() || next->first.first > until) return false;
  now_ = next->first.first;
  const std::function<void()> what = std::move(next->second);
  queue_.erase(next);
  what();
  return true;
}

void World::trace(std::string_view who, std::string_view what) {
  const auto mix = [this](std::string_view text) {
    for (const char c : text) {
      hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
  };
  const std::string time = std::to_string(now_);
  mix(time);
  mix(who);
  mix(what);
  if (print_) {
    std::printf("%9s %-4.*s %.*s\n", time.c_str(), static_cast<int>(who.size()), who.data(),
                static_cast<int>(what.size()), what.data());
  }
}

void World::violated(int law, const std::string& what) const {
  throw Violation("law " + std::to_string(law) + " broken at " + std::to_string(now_) +
                  " ms: " + what);
}

}  // namespace headcount::simulator
