// The Error of the moment, and how a daemon's exit status says so.
#pragma once

#include "schemas/error.h"

namespace headcount {

/// An Error that may pass (a full disk, a lock somebody else holds): the same program, started
/// again later, may succeed.
class TryAgain : public Error {
 public:
  using Error::Error;
};

/// What a daemon's exit status is then (EX_TEMPFAIL of <sysexits.h>): a supervisor starts it again
/// after this one, and after no other that is not zero.
inline constexpr int kExitTryAgain = 75;

}  // namespace headcount
