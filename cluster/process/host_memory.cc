// sysconf, and memory.max of the control group (v2; v1's limit where that is mounted).
#include "cluster/process/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace headcount::process {

uint64_t host_memory_bytes() {
  uint64_t bytes = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                   static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  for (const char* file :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    uint64_t limit = 0;
    if (std::ifstream in(file); in >> limit && limit > 0) bytes = std::min(bytes, limit);
  }
  return bytes;
}

}  // namespace headcount::process
