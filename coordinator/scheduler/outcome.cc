// Part of coordinator/scheduler/scheduler.h.
// How attempts end: names, and what a runner's failure counts as.
#include <array>

#include "coordinator/scheduler/scheduler.h"
#include "schemas/error.h"

namespace headcount::coordinator {

namespace {

struct Name {
  Outcome outcome;
  std::string_view text;
};

constexpr std::array kNames = {
    Name{Outcome::kGranted, "granted"},
    Name{Outcome::kDone, "done"},
    Name{Outcome::kLate, "late"},
    Name{Outcome::kGivenBack, "given back"},
    Name{Outcome::kRevoked, "revoked"},
    Name{Outcome::kLost, "lost"},
    Name{Outcome::kLostRunning, "lost running"},
    Name{Outcome::kExpired, "expired"},
    Name{Outcome::kException, "exception"},
    Name{Outcome::kSignal, "signal"},
    Name{Outcome::kCuda, "cuda"},
    Name{Outcome::kStall, "stall"},
    Name{Outcome::kOutOfMemory, "out of memory"},
    Name{Outcome::kKilled, "killed"},
    Name{Outcome::kModelRefused, "model refused"},
};

}  // namespace

std::string_view to_string(Outcome outcome) {
  for (const Name& name : kNames) {
    if (name.outcome == outcome) return name.text;
  }
  HC_CHECK(false);
}

Outcome outcome_from_string(std::string_view text) {
  for (const Name& name : kNames) {
    if (name.text == text) return name.outcome;
  }
  throw Error("unknown outcome of an attempt: \"" + std::string(text) + "\"");
}

Outcome outcome_of(Cause cause) {
  switch (cause) {
    case Cause::kException:
      return Outcome::kException;
    case Cause::kSignal:
      return Outcome::kSignal;
    case Cause::kCuda:
      return Outcome::kCuda;
    case Cause::kStall:
      return Outcome::kStall;
    case Cause::kOutOfMemory:
      return Outcome::kOutOfMemory;
    case Cause::kKilled:
      return Outcome::kKilled;
    case Cause::kModelRefused:
      return Outcome::kModelRefused;
  }
  HC_CHECK(false);
}

bool is_charge(Outcome outcome) {
  switch (outcome) {
    case Outcome::kException:
    case Outcome::kSignal:
    case Outcome::kCuda:
    case Outcome::kStall:
    case Outcome::kOutOfMemory:
      return true;
    default:
      return false;
  }
}

bool is_loss(Outcome outcome) {
  return outcome == Outcome::kLostRunning || outcome == Outcome::kExpired ||
         outcome == Outcome::kKilled;
}

bool is_record(const Action& action) {
  return std::holds_alternative<RecordGrant>(action) ||
         std::holds_alternative<RecordResult>(action) ||
         std::holds_alternative<EndAttempt>(action) || std::holds_alternative<Quarantine>(action) ||
         std::holds_alternative<Forgive>(action) || std::holds_alternative<Alarm>(action);
}

}  // namespace headcount::coordinator
