// Children and frames with real processes: /bin/sh as the child that exits, crashes, is killed or
// talks rubbish.
#include "cluster/process/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "schemas/error.h"

namespace headcount::process {
namespace {

Command shell(const std::string& script) { return {.arguments = {"/bin/sh", "-c", script}}; }

std::string everything_said(Child& child) {
  LogTail tail(1 << 20);
  while (tail.read_from(child.output())) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return tail.text();
}

bool alive(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/stat");
  std::string id, name, state;
  return (status >> id >> name >> state) && state != "Z";
}

/// Waits up to two seconds for `pid` to be gone.
bool gone(pid_t pid) {
  for (int i = 0; i < 200 && alive(pid); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return !alive(pid);
}

struct Sockets {
  std::array<int, 2> ends{-1, -1};
  Sockets() {
    HC_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) ==
             0);
  }
  ~Sockets() {
    ::close(ends[0]);
    if (ends[1] >= 0) ::close(ends[1]);
  }
};

TEST(Child, ReportsItsExitStatus) {
  Child child = Child::start(shell("exit 3"));
  const auto exit = child.wait(5000);
  ASSERT_TRUE(exit);
  EXPECT_EQ(to_string(*exit), "exit status 3");
  EXPECT_GT(exit->peak_rss_bytes, 100'000);
  EXPECT_EQ(child.poll()->status, 3) << "the answer stays";
}

TEST(Child, ReportsACrash) {
  Child child = Child::start(shell("kill -SEGV $$"));
  const auto exit = child.wait(5000);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->signal, SIGSEGV);
  EXPECT_EQ(to_string(*exit), "signal 11 (Segmentation fault)");
}

TEST(Child, IsKilledByItsSignal) {
  Child child = Child::start({.arguments = {"sleep", "100"}});
  EXPECT_FALSE(child.poll());
  child.kill(SIGKILL);
  const auto exit = child.wait(5000);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->signal, SIGKILL);
  EXPECT_FALSE(exit->oom_killed);
}

TEST(Child, SaysWhenTheProgramIsMissing) {
  try {
    Child::start({.arguments = {"/no/such/program"}});
    FAIL() << "started";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "cannot start /no/such/program: No such file or directory");
  }
  EXPECT_THROW(Child::start({.arguments = {"no-such-program-anywhere"}}), Error);
}

TEST(Child, IsKilledAndReapedWithItsOwner) {
  pid_t pid = 0;
  {
    const Child child = Child::start({.arguments = {"sleep", "100"}});
    pid = child.pid();
    EXPECT_TRUE(alive(pid));
  }
  EXPECT_FALSE(alive(pid));
}

TEST(Child, DiesWithItsParent) {
  // The middle process forks a grandchild through Child and is killed itself.
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const pid_t middle = ::fork();
  if (middle == 0) {
    const Child child = Child::start({.arguments = {"sleep", "100"}});
    const pid_t pid = child.pid();
    (void)!::write(ends[1], &pid, sizeof pid);
    ::pause();
    ::_exit(0);
  }
  pid_t grandchild = 0;
  ASSERT_EQ(::read(ends[0], &grandchild, sizeof grandchild),
            static_cast<ssize_t>(sizeof grandchild));
  EXPECT_TRUE(alive(grandchild));
  ::kill(middle, SIGKILL);
  EXPECT_TRUE(gone(grandchild));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Child, InheritsNoFdButItsFour) {
  const int leaked = ::open("/dev/null", O_RDONLY);  // without close-on-exec, on purpose
  Command command = shell("ls /proc/self/fd | wc -l");
  command.channel = true;
  Child child = Child::start(command);
  // 0 to 3, and the one `ls` opens for the folder.
  EXPECT_EQ(everything_said(child), "5\n");
  ::close(leaked);
}

TEST(Child, SeesAddedEnvironment) {
  Command command = shell("echo $HEADCOUNT_PROCESS_TEST $HOME");
  command.environment = {{"HEADCOUNT_PROCESS_TEST", "one"}, {"HOME", "/replaced"}};
  Child child = Child::start(command);
  EXPECT_EQ(everything_said(child), "one /replaced\n");
}

TEST(Child, StartsWithAnEmptySignalMask) {
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  Child child = Child::start({.arguments = {"sleep", "100"}});
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  child.kill(SIGTERM);
  const auto exit = child.wait(5000);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->signal, SIGTERM);
}

TEST(Child, AppendsToItsLogFile) {
  const std::string log = testing::TempDir() + "process_test.log";
  std::filesystem::remove(log);
  Command command = shell("echo out; echo err >&2");
  command.log_file = log;
  Child::start(command).wait(5000);
  Child::start(command).wait(5000);
  std::ifstream in(log);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(text, "out\nerr\nout\nerr\n");
}

TEST(LogTail, KeepsTheLastLinesOfALongOutput) {
  Child child =
      Child::start(shell("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"));
  LogTail tail(100);
  while (tail.read_from(child.output())) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::string text = tail.text();
  EXPECT_LE(text.size(), 100u);
  EXPECT_THAT(text, testing::StartsWith("line 199"));
  EXPECT_THAT(text, testing::EndsWith("line 19999\n"));
}

TEST(FrameStream, CarriesFramesThroughAChild) {
  Command command = shell("cat <&3 >&3");
  command.channel = true;
  Child child = Child::start(command);
  FrameStream stream(child.channel(), 8 << 20);
  // Far more than the socket's buffer both ways: only unblocked reads beside the writes let it end.
  const std::vector<std::string> sent = {"first", std::string(6 << 20, 'x'), "", "last"};
  for (const std::string& frame : sent) stream.send(frame);
  std::vector<std::string> received;
  while (received.size() < sent.size()) {
    ASSERT_TRUE(stream.wait(5000));
    stream.flush();
    for (std::string& frame : stream.receive()) received.push_back(std::move(frame));
  }
  EXPECT_TRUE(received == sent);
  EXPECT_FALSE(stream.closed());
}

TEST(FrameStream, RefusesAHugeFrameBeforeTakingMemory) {
  const Sockets sockets;
  FrameStream stream(sockets.ends[0], 1000);
  const std::string announced("\xff\xff\xff\x7f", 4);
  ASSERT_EQ(::write(sockets.ends[1], announced.data(), 4), 4);
  try {
    stream.receive();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "a frame of 2147483647 bytes was announced; the limit is 1000");
  }
  EXPECT_THROW(stream.send(std::string(1001, 'x')), Error);
}

TEST(FrameStream, RefusesGarbageFromAChild) {
  Command command = shell("echo this is no frame at all >&3");
  command.channel = true;
  Child child = Child::start(command);
  FrameStream stream(child.channel(), 1 << 20);
  ASSERT_TRUE(stream.wait(5000));
  EXPECT_THROW(stream.receive(), Error);  // "this" as a size is 1,936,287,860
}

TEST(FrameStream, GivesWholeFramesOnly) {
  const Sockets sockets;
  FrameStream stream(sockets.ends[0], 1000);
  const std::string bytes = std::string("\x03\0\0\0abc\x02\0\0\0", 11) + "de";
  std::vector<std::string> frames;
  for (const char byte : bytes) {
    ASSERT_EQ(::write(sockets.ends[1], &byte, 1), 1);
    for (std::string& frame : stream.receive()) frames.push_back(std::move(frame));
  }
  EXPECT_THAT(frames, testing::ElementsAre("abc", "de"));
}

TEST(FrameStream, NoticesThatThePeerIsGone) {
  Command command = shell("exit 0");
  command.channel = true;
  Child child = Child::start(command);
  FrameStream stream(child.channel(), 1000);
  ASSERT_TRUE(stream.wait(5000));
  EXPECT_TRUE(stream.receive().empty());
  EXPECT_TRUE(stream.closed());
  stream.send("to nobody");  // neither SIGPIPE nor a wait
  EXPECT_TRUE(stream.flush());
}

}  // namespace
}  // namespace headcount::process
