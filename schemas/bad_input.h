// The Error that is the user's to mend, for programs that give it an exit status of its own (2).
#pragma once

#include "schemas/error.h"

namespace headcount {

/// What the user typed, wrote or named (a flag's value, a spec, a file) cannot be used.
class BadInput : public Error {
 public:
  using Error::Error;
};

/// Calls `read`, which opens what the user named; an Error it throws becomes BadInput.
template <class Read>
decltype(auto) read_input(const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    throw BadInput(error.what());
  }
}

}  // namespace headcount
