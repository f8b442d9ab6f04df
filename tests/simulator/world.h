// The simulated world: one clock, one seed, one queue of things to come, the faults that are drawn,
// and a trace whose hash shows that a replay was exact. Everything random in a simulation comes
// from World::random, so a seed determines it whole.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace headcount::simulator {

using Millis = int64_t;
constexpr Millis kMinuteMs = 60'000;

/// A law was broken; what() says which, when and by whom.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Every kind of fault, counted when it takes effect.
enum class Fault {
  kLostMessage,
  kDoubledMessage,
  kLateMessage,       // seconds later than it should be
  kReorderedMessage,  // arrived after one sent later on the same connection
  kLateGiveBack,      // a second copy, much later
  kPartition,
  kOneWayPartition,
  kLongPartition,  // minutes
  kWorkerCrash,
  kWorkerStopped,  // SIGSTOP, then SIGCONT
  kWorkerAway,     // for minutes
  kWorkerGone,     // for ever
  kWorkerDrained,
  kRunnerCrash,
  kRunnerHangs,        // while it starts, for up to two minutes
  kCrashBeforeCommit,  // of the coordinator, after any of a turn's writes
  kCrashAfterCommit,   // before anything was sent
  kCrashWhileSending,
  kCoordinatorStopped,
  kCoordinatorAway,  // for minutes
  kDiskFull,         // of the coordinator: the commit fails
  kClockJump,
  kStall,
  kStallUnseen,      // by the worker in time: its clock is slow
  kDefectiveResult,  // not what encode(Result) writes
  kWrongTag,         // of a result
  kPoisonShard,      // an execution that cannot succeed
  kCount,
};
std::string_view to_string(Fault fault);
using FaultCounts = std::array<int64_t, static_cast<size_t>(Fault::kCount)>;

/// Defects that can be planted, to see that the laws are really checked.
enum class Bug {
  kNone,
  kAcknowledgeBeforeCommit,
  kGrantBeforeRecord,
  kLateResultOverwrites,
  kReorderedMessages,  // messages are believed to arrive in the order sent: a failure is charged to
                       // the attempt lent now
};
std::string_view to_string(Bug bug);
/// Throws Error on another name.
Bug bug_from_string(std::string_view name);

/// SplitMix64 (Steele, Lea and Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool chance(int64_t per_ten_thousand) { return below(10'000) < per_ten_thousand; }

 private:
  uint64_t state_;
};

class World {
 public:
  World(uint64_t seed, Bug bug, bool print);

  /// Runs `what` in `delay` ms; equal times in the order asked.
  void after(Millis delay, std::function<void()> what);
  /// Runs the next thing; false when there is none before `until`.
  bool run_next(Millis until);
  Millis now() const { return now_; }

  /// Draws a fault; counts and traces nothing by itself. Never once faults have stopped.
  bool strikes(int64_t per_ten_thousand) { return faults_on && random.chance(per_ten_thousand); }
  void count(Fault fault) { ++counts[static_cast<size_t>(fault)]; }

  /// One line: who, what.
  void trace(std::string_view who, std::string_view what);
  uint64_t trace_hash() const { return hash_; }
  [[noreturn]] void violated(int law, const std::string& what) const;

  Random random;
  const Bug bug;
  bool faults_on = true;
  FaultCounts counts{};

 private:
  bool print_;
  Millis now_ = 0;
  uint64_t order_ = 0;
  uint64_t hash_ = 0xcbf29ce484222325;  // FNV-1a
  std::map<std::pair<Millis, uint64_t>, std::function<void()>> queue_;
};

}  // namespace headcount::simulator
