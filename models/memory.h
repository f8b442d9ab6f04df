// One process-wide setting of the allocator.
#pragma once

namespace headcount::models {

/// Tells the C library to keep freed memory instead of giving it back: a pass frees and asks again
/// for the same hundreds of megabytes, and fresh pages cost more than the arithmetic done on them.
/// Call once, early, in a process that computes.
void keep_freed_memory();

}  // namespace headcount::models
