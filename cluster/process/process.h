// Child processes: started, fed over a socketpair on fd 3, watched, killed. For runners and for the
// daemons `headcount run` starts. Everything here belongs to the thread that calls it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headcount::process {

struct Command {
  std::vector<std::string> arguments =
      {};  // [0] is the program: a path, or a name looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment = {};  // added to ours
  bool channel = false;  // give it a socketpair end as fd 3
  bool capture = true;   // stdout and stderr are one pipe we read (non-blocking); else inherited
  std::string log_file = {};  // instead of capture: append stdout and stderr to it
  /// SIGKILL once the thread that started it ends; whether the parent is still there is checked
  /// after the fork.
  bool die_with_parent = true;
  /// A session of its own: no terminal, and Ctrl-C in ours does not reach it.
  bool own_session = false;
};

/// How a child ended.
struct Exit {
  int status = 0;              // exit status, where it exited
  int signal = 0;              // the signal, where one killed it
  int64_t peak_rss_bytes = 0;  // the most memory it had
  bool oom_killed = false;  // SIGKILL, and the cgroup's oom_kill counter rose since it was started
};
/// "exit status 3" | "signal 11 (Segmentation fault)" | "signal 9 (Killed): out of memory".
std::string to_string(const Exit& exit);

/// Owns a child: killed (SIGKILL) and reaped on destruction. Its stdin is /dev/null, its signal
/// mask empty, every fd but 0 to 3 close-on-exec.
class Child {
 public:
  /// Throws Error naming the program when it cannot be started.
  static Child start(const Command& command);
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }
  int channel() const { return channel_; }  // our end of fd 3, non-blocking; -1: none
  int output() const { return output_; }    // read end of stdout + stderr, non-blocking; -1: none
  std::optional<Exit> poll();               // reaps; stays answered afterwards
  std::optional<Exit> wait(int64_t timeout_ms);
  void kill(int signal);  // nothing once it has ended
  void release();         // lets it live on: neither killed nor reaped by us

 private:
  Child() = default;
  void end() noexcept;
  pid_t pid_ = -1;
  int channel_ = -1, output_ = -1;
  std::optional<Exit> exit_;
  int64_t oom_before_ = 0;
};

/// Length-prefixed frames over a stream socket, never blocking: reads and writes are buffered apart
/// from each other. Frame: u32 little-endian size, then that many bytes. Does not own the fd.
class FrameStream {
 public:
  FrameStream(int fd, size_t max_bytes);
  /// Buffers, then writes what the socket takes. Throws Error on a frame above max_bytes.
  void send(std::string_view frame);
  bool flush();  // true: nothing left to write
  bool wants_write() const { return out_at_ < out_.size(); }
  /// Reads what there is (at most about 4 MiB a call); the complete frames in order. Sets closed()
  /// at end of file. Throws Error on a size above max_bytes, before any memory is taken for it.
  std::vector<std::string> receive();
  bool closed() const { return closed_; }  // the peer is gone
  /// Waits until there is something to read (or, where wants_write(), room to write) or
  /// `timeout_ms` passed (-1: for ever). True: call receive() and flush().
  bool wait(int64_t timeout_ms) const;

 private:
  int fd_;
  size_t max_bytes_;
  std::string out_, in_;
  size_t out_at_ = 0;
  bool closed_ = false;
};

/// The last bytes of a child's output: reads the pipe dry, keeps at most `max_bytes`.
class LogTail {
 public:
  explicit LogTail(size_t max_bytes) : max_bytes_(max_bytes) {}
  /// Reads what the non-blocking `fd` holds (at most about 4 MiB a call). False at end of file.
  bool read_from(int fd);
  void add(std::string_view text);
  /// What was kept; after a cut it starts at a line where one begins in it.
  std::string text() const;

 private:
  size_t max_bytes_;
  std::string text_;
  bool cut_ = false;
};

/// Marks every fd from `first` on close-on-exec. Called once by each program at start.
void close_on_exec_everything(int first = 3);

/// Where this program's siblings are: the folder of /proc/self/exe.
std::string program_directory();

/// The cgroup's oom_kill counter (v2 memory.events, v1 memory.oom_control); 0 where unknown.
int64_t oom_kill_count();

}  // namespace headcount::process
