// One headcount-runner child of the daemon: messages over fd 3, the tail of what it prints, how it
// ended.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/process/process.h"
#include "schemas/messages.h"

namespace headcount::worker {

struct RunnerCommand {
  std::string program;  // path of headcount-runner
  std::string device;   // cpu | cuda:N
  int threads = 1;
  int share = 1;  // runners on that device
};

/// A started runner. Killed with this object.
class RunnerProcess {
 public:
  /// Throws Error where the program cannot be started.
  explicit RunnerProcess(const RunnerCommand& command);

  int channel() const { return child_.channel(); }  // to wait for; -1 never
  int output() const { return child_.output(); }
  bool wants_write() const { return stream_.wants_write(); }
  bool channel_closed() const { return stream_.closed(); }  // it says nothing more
  pid_t pid() const { return child_.pid(); }

  void send(const RunnerMessage& message) { stream_.send(encode(message)); }
  void flush() { stream_.flush(); }
  /// What it has said since. Rubbish on the channel kills it: ended() then says why.
  std::vector<RunnerMessage> receive();
  /// False once the child has closed its output.
  bool read_output() { return tail_.read_from(child_.output()); }
  void kill();

  /// Once it has ended (and all it said was received): the cause as a shard is charged, and the
  /// evidence: how it ended, its peak memory, its last lines.
  struct End {
    Cause cause = Cause::kException;
    std::string message;
  };
  std::optional<End> ended();

 private:
  std::string device_;
  process::Child child_;
  process::FrameStream stream_;
  process::LogTail tail_;
  std::string rubbish_;
};

/// The cause an exit stands for.
Cause cause_of(const process::Exit& exit);

}  // namespace headcount::worker
