// Starting, watching and ending children: fork and exec with nothing but async-signal-safe calls in
// between, exec errors reported back through a close-on-exec pipe.
#include "cluster/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "schemas/error.h"

extern char** environ;

namespace headcount::process {
namespace {

constexpr int kFirstSafeFd = 10;  // above 0-3, which the child rearranges

[[noreturn]] void fail(const std::string& what, int error) {
  throw Error(what + ": " + strerror(error));
}

/// An fd that closes itself; moved above the child's 0-3.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int take() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

Fd lifted(int fd, const std::string& program) {
  if (fd < 0) fail("cannot start " + program, errno);
  if (fd >= kFirstSafeFd) return Fd(fd);
  const Fd low(fd);
  Fd high(::fcntl(fd, F_DUPFD_CLOEXEC, kFirstSafeFd));
  if (high.get() < 0) fail("cannot start " + program, errno);
  return high;
}

struct Pair {
  Fd ours, theirs;
};

Pair make_pipe(const std::string& program) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail("cannot start " + program, errno);
  Fd keep(ends[1]);
  Pair pair;
  pair.ours = lifted(ends[0], program);
  pair.theirs = lifted(keep.take(), program);
  return pair;
}

Pair make_channel(const std::string& program) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    fail("cannot start " + program, errno);
  }
  Fd keep(ends[1]);
  Pair pair;
  pair.ours = lifted(ends[0], program);
  pair.theirs = lifted(keep.take(), program);
  return pair;
}

void set_non_blocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

std::string resolve(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string candidate = std::string(rest.substr(0, colon)) + "/" + program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
  }
  throw Error("cannot start " + program + ": no such program in PATH");
}

std::vector<std::string> merged_environment(const Command& command) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    const bool replaced = std::any_of(command.environment.begin(), command.environment.end(),
                                      [&](const auto& added) { return added.first == name; });
    if (!replaced) merged.emplace_back(text);
  }
  for (const auto& [name, value] : command.environment) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  list.reserve(texts.size() + 1);
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

/// What the child needs between fork and exec, made ready before.
struct Prepared {
  const char* program = nullptr;
  char** arguments = nullptr;
  char** environment = nullptr;
  int input = -1, output = -1, channel = -1, report = -1;
  bool die_with_parent = false, own_session = false;
  pid_t parent = 0;
};

[[noreturn]] void report_and_exit(int report) {
  const int error = errno;
  (void)!::write(report, &error, sizeof error);
  ::_exit(127);
}

/// Runs in the child: async-signal-safe calls only.
[[noreturn]] void become(const Prepared& prepared) {
  if (prepared.die_with_parent) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) report_and_exit(prepared.report);
    if (::getppid() != prepared.parent) ::_exit(127);  // it ended before prctl took effect
  }
  if (prepared.own_session) ::setsid();
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  bool placed = ::dup2(prepared.input, 0) >= 0;
  if (prepared.output >= 0) {
    placed = placed && ::dup2(prepared.output, 1) >= 0 && ::dup2(prepared.output, 2) >= 0;
  }
  if (prepared.channel >= 0) placed = placed && ::dup2(prepared.channel, 3) >= 0;
  if (!placed) report_and_exit(prepared.report);
#ifdef SYS_close_range
  constexpr unsigned kCloexec = 1u << 2;  // CLOSE_RANGE_CLOEXEC: all ours carry the flag already
  const unsigned first = prepared.channel >= 0 ? 4 : 3;
  ::syscall(SYS_close_range, first, ~0u, kCloexec);
#endif
  ::execve(prepared.program, prepared.arguments, prepared.environment);
  report_and_exit(prepared.report);
}

int64_t number_after(const std::string& file, std::string_view word) {
  std::ifstream in(file);
  std::string name;
  int64_t value = 0;
  while (in >> name >> value) {
    if (name == word) return value;
  }
  return -1;
}

}  // namespace

std::string to_string(const Exit& exit) {
  if (exit.signal == 0) return "exit status " + std::to_string(exit.status);
  std::string text =
      "signal " + std::to_string(exit.signal) + " (" + ::strsignal(exit.signal) + ")";
  if (exit.oom_killed) text += ": out of memory";
  return text;
}

Child Child::start(const Command& command) {
  HC_CHECK(!command.arguments.empty());
  const std::string& name = command.arguments[0];
  const std::string program = resolve(name);
  std::vector<std::string> arguments = command.arguments;
  std::vector<std::string> environment = merged_environment(command);
  std::vector<char*> argument_list = pointers(arguments);
  std::vector<char*> environment_list = pointers(environment);

  const Fd input = lifted(::open("/dev/null", O_RDONLY | O_CLOEXEC), name);
  Pair report = make_pipe(name);
  Pair output, channel;
  if (!command.log_file.empty()) {
    const int log =
        ::open(command.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0) fail("cannot write " + command.log_file, errno);
    output.theirs = lifted(log, name);
  } else if (command.capture) {
    output = make_pipe(name);
    set_non_blocking(output.ours.get());
  }
  if (command.channel) {
    channel = make_channel(name);
    set_non_blocking(channel.ours.get());
  }

  Child child;
  child.oom_before_ = oom_kill_count();
  const Prepared prepared = {.program = program.c_str(),
                             .arguments = argument_list.data(),
                             .environment = environment_list.data(),
                             .input = input.get(),
                             .output = output.theirs.get(),
                             .channel = channel.theirs.get(),
                             .report = report.theirs.get(),
                             .die_with_parent = command.die_with_parent,
                             .own_session = command.own_session,
                             .parent = ::getpid()};
  child.pid_ = ::fork();
  if (child.pid_ < 0) fail("cannot start " + name, errno);
  if (child.pid_ == 0) become(prepared);

  { const Fd closed = std::move(report.theirs); }
  int error = 0;
  ssize_t got = 0;
  do {
    got = ::read(report.ours.get(), &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == static_cast<ssize_t>(sizeof error)) fail("cannot start " + name, error);
  child.channel_ = channel.ours.take();
  child.output_ = output.ours.take();
  return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      channel_(std::exchange(other.channel_, -1)),
      output_(std::exchange(other.output_, -1)),
      exit_(other.exit_),
      oom_before_(other.oom_before_) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  end();
  pid_ = std::exchange(other.pid_, -1);
  channel_ = std::exchange(other.channel_, -1);
  output_ = std::exchange(other.output_, -1);
  exit_ = other.exit_;
  oom_before_ = other.oom_before_;
  return *this;
}

Child::~Child() { end(); }

void Child::end() noexcept {
  if (pid_ > 0 && !exit_) {
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (channel_ >= 0) ::close(channel_);
  if (output_ >= 0) ::close(output_);
  pid_ = channel_ = output_ = -1;
}

std::optional<Exit> Child::poll() {
  if (exit_ || pid_ <= 0) return exit_;
  int status = 0;
  struct rusage usage {};
  if (::wait4(pid_, &status, WNOHANG, &usage) != pid_) return std::nullopt;
  Exit exit;
  exit.peak_rss_bytes = static_cast<int64_t>(usage.ru_maxrss) * 1024;
  if (WIFSIGNALED(status)) {
    exit.signal = WTERMSIG(status);
    exit.oom_killed = exit.signal == SIGKILL && oom_kill_count() > oom_before_;
  } else {
    exit.status = WEXITSTATUS(status);
  }
  exit_ = exit;
  return exit_;
}

std::optional<Exit> Child::wait(int64_t timeout_ms) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::milliseconds(timeout_ms);
  int64_t nap_us = 200;
  while (!poll() && Clock::now() < until) {
    const timespec nap = {.tv_sec = 0, .tv_nsec = nap_us * 1000};
    ::nanosleep(&nap, nullptr);
    nap_us = std::min<int64_t>(nap_us * 2, 10000);
  }
  return exit_;
}

void Child::kill(int signal) {
  if (pid_ > 0 && !poll()) ::kill(pid_, signal);
}

void Child::release() { pid_ = -1; }

void close_on_exec_everything(int first) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const int fd = std::atoi(entry.path().filename().c_str());
    if (fd >= first) ::fcntl(fd, F_SETFD, ::fcntl(fd, F_GETFD) | FD_CLOEXEC);
  }
}

std::string program_directory() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
}

int64_t oom_kill_count() {
  std::ifstream in("/proc/self/cgroup");
  std::string line;
  while (std::getline(in, line)) {  // "0::/a/b" (v2) or "5:memory:/a/b" (v1)
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      for (const std::string& folder : {"/sys/fs/cgroup" + path, std::string("/sys/fs/cgroup")}) {
        const int64_t count = number_after(folder + "/memory.events", "oom_kill");
        if (count >= 0) return count;
      }
    } else if (controllers == "memory") {
      const std::string root = "/sys/fs/cgroup/memory";
      for (const std::string& folder : {root + path, root}) {
        const int64_t count = number_after(folder + "/memory.oom_control", "oom_kill");
        if (count >= 0) return count;
      }
    }
  }
  return 0;
}

}  // namespace headcount::process
