// Ctrl-C as a count instead of an end, for commands that have something to wind up.
#pragma once

namespace headcount::cli {

/// While it lives SIGINT, SIGTERM and SIGHUP are counted. One at a time; main thread.
class Interrupt {
 public:
  Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  ~Interrupt();
  int count() const;
};

}  // namespace headcount::cli
