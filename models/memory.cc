// The allocator setting of memory.h, for glibc.
#include "models/memory.h"

#include <malloc.h>

namespace headcount::models {

void keep_freed_memory() {
  constexpr int kLargest = 32 << 20;  // the most glibc takes as threshold for separate mappings
  mallopt(M_MMAP_THRESHOLD, kLargest);
  mallopt(M_TRIM_THRESHOLD, 2147483647);
  mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace headcount::models
