#include "schemas/error.h"

#include <cstdio>
#include <cstdlib>

namespace headcount {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
  std::abort();
}

}  // namespace headcount
