// Which devices a worker offers, how many runners on each, and the counter of its starts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace headcount::worker {

/// "cpu" or "cuda:N"; throws Error naming the flag otherwise.
void check_device(const std::string& device);

/// What a machine offers when nobody says: every visible GPU, else the CPU. `visible` is the value
/// of CUDA_VISIBLE_DEVICES (nullptr: not set; empty or starting with -1: none), `n_nvidia` how many
/// /dev/nvidiaN there are.
std::vector<std::string> default_devices(const char* visible, int n_nvidia);
std::vector<std::string> found_devices();

/// CPUs this process may run on (sched_getaffinity).
int usable_cpus();

/// One entry a runner: `runners` on every device; 0: one a GPU, and on the CPU as many as it has
/// cores for at `threads` each.
std::vector<std::string> runner_devices(const std::vector<std::string>& devices, int runners,
                                        int threads, int cpus);

/// A number above every earlier one: the larger of `now_us` (microseconds since 1970) and one more
/// than the number in DIRECTORY/incarnation, which holds it before it is returned. So neither a
/// clock set back nor a lost directory makes a start look old. Throws Error naming the file.
uint64_t next_incarnation(const std::string& directory, uint64_t now_us);

}  // namespace headcount::worker
