// Child processes: started, fed over a socketpair on fd 3, watched, killed. For runners and for the daemons `headcount run` starts.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headcount::process {

struct Command {
  std::vector<std::string> arguments;                           // [0] is the program
  std::vector<std::pair<std::string, std::string>> environment; // added to ours
  bool channel = false;      // give it a socketpair end as fd 3
  bool capture = true;       // stdout and stderr are pipes we read (non-blocking); else inherited
  std::string log_file;      // instead of capture: append stdout and stderr to it
  bool die_with_parent = true;  // PR_SET_PDEATHSIG SIGKILL, parent checked after the fork
};

/// How a child ended.
struct Exit {
  int status = 0;      // exit status, where it exited
  int signal = 0;      // the signal, where one killed it
  bool oom_killed = false;  // SIGKILL and the cgroup's oom_kill counter rose since it was started
};
std::string to_string(const Exit& exit);  // "exit status 3" | "signal 11 (Segmentation fault)" | "killed for memory"

/// Owns a child: killed (SIGKILL) and reaped on destruction.
class Child {
 public:
  static Child start(const Command& command);  // throws Error naming the program
  Child(Child&&) noexcept;
  Child& operator=(Child&&) noexcept;
  ~Child();

  pid_t pid() const;
  int channel() const;  // our end of fd 3, non-blocking; -1: none
  int output() const;   // read end of stdout + stderr, non-blocking; -1: none
  std::optional<Exit> poll();        // reaps; stays answered afterwards
  std::optional<Exit> wait(int64_t timeout_ms);
  void kill(int signal);

 private:
  Child() = default;
  pid_t pid_ = -1;
  int channel_ = -1, output_ = -1;
  std::optional<Exit> exit_;
  int64_t oom_before_ = 0;
};

/// Length-prefixed frames over a stream socket, never blocking: reads and writes are buffered apart from each other.
/// Frame: u32 little-endian size, then that many bytes; a size above `max_bytes` throws Error.
class FrameStream {
 public:
  FrameStream(int fd, size_t max_bytes);
  void send(std::string_view frame);         // buffers, then writes what the socket takes
  bool flush();                              // true: nothing left to write
  bool wants_write() const;
  /// Reads what there is; complete frames in order. Sets closed() at end of file.
  std::vector<std::string> receive();
  bool closed() const;

 private:
  int fd_;
  size_t max_bytes_;
  std::string out_, in_;
  bool closed_ = false;
};

/// Marks every fd above 2 but `keep` close-on-exec. Called once by each program at start.
void close_on_exec_everything();

/// Where this program's siblings are: the folder of /proc/self/exe.
std::string program_directory();

}  // namespace headcount::process
