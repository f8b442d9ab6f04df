// The memory this process may use: the machine's, or its control group's where that is less.
#pragma once

#include <cstdint>

namespace headcount::process {

/// Bytes of RAM, nominal (not what is free at the moment).
uint64_t host_memory_bytes();

}  // namespace headcount::process
