// The runner as a worker daemon's child: shards in, results out, over frames of a stream socket
// (schemas/messages.h, "worker daemon
// <-> runner"). One thread: the socket is served between micro-batches.
#pragma once

#include <exception>
#include <string>

#include "schemas/messages.h"

namespace headcount::runner {

struct ServeOptions {
  int fd = 3;
  std::string device = "cpu";
  int threads = 1;
  int share = 1;  // runners of this worker on the device: each plans with its part of the memory
};

/// Says RunnerReady, then computes every RunShard in order until the peer closes the socket;
/// returns the exit status: 0, or 1 after a CUDA error, which leaves the device unusable for this
/// process. Throws Error where the device is not there or the peer breaks the protocol.
int serve(const ServeOptions& options);

/// What a failed attempt is charged with, on a device that was nearly full then or not.
Cause cause_of(const std::exception& error, bool device_full = false);
/// One sentence for a user: LibTorch's own backtraces cut off.
std::string message_of(const std::exception& error);

}  // namespace headcount::runner
