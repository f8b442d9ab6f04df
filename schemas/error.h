// Errors that end an operation, and the check that ends the process. STYLE: problems a user can
// mend are values (schemas/problem.h); absent things are std::optional; everything that keeps an
// operation from finishing is an Error.
#pragma once

#include <stdexcept>
#include <string>

namespace headcount {

/// Something outside this program kept the operation from finishing (disk, socket, corrupt file,
/// wrong version). what() is one clear sentence for a user: what happened, to which file or peer,
/// and how to mend it where known. Caught in one place per process: its loop, or main.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Prints the broken invariant and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace headcount

/// A broken invariant of our own code: stops the process in release builds too. (c10 already owns
/// the name CHECK.)
#define HC_CHECK(condition) \
  ((condition) ? void(0) : ::headcount::check_failed(#condition, __FILE__, __LINE__))
