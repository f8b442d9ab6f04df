// Who computes what next: a pure state machine. step(event, now) -> actions; no clock, socket, file or randomness. The shell (and the
// simulator) performs the actions of one loop turn in this order: all records in one transaction, commit, then the sends.
// Laws 1-5 of ARCHITECTURE.md are stated here and checked by the simulator at every step.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "schemas/messages.h"
#include "schemas/shard.h"

namespace headcount::coordinator {

using Millis = int64_t;     // since some fixed start; never goes back within one process
using StageId = int64_t;
using WorkerKey = std::string;  // public key: the ZAP User-Id

}  // namespace headcount::coordinator
