#include "cluster/systemd/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace headcount::systemd {
namespace {

/// A service manager's end, for as long as it lives.
class Manager {
 public:
  explicit Manager(const std::string& name) : fd_(::socket(AF_UNIX, SOCK_DGRAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    size_t size = offsetof(sockaddr_un, sun_path) + name.size();
    if (name[0] == '@')
      address.sun_path[0] = '\0';
    else
      ::unlink(name.c_str()), ++size;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(size)), 0);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~Manager() {
    ::close(fd_);
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  }
  /// What was said since it was last asked.
  std::vector<std::string> heard() const {
    std::vector<std::string> all;
    char text[512];
    for (ssize_t n = 0; (n = ::recv(fd_, text, sizeof text, MSG_DONTWAIT)) >= 0;)
      all.emplace_back(text, static_cast<size_t>(n));
    return all;
  }

 private:
  int fd_;
};

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Service, TellsTheManagerWhatItDoes) {
  for (const std::string& name : {testing::TempDir() + "service_test_manager",
                                  "@service_test_" + std::to_string(::getpid())}) {
    const Manager manager(name);
    Service service;
    service.ready();
    service.status("waits");
    service.status("waits");
    service.status("two\nlines");
    service.alive();
    service.stopping();
    EXPECT_THAT(manager.heard(),
                ElementsAre("READY=1", "STATUS=waits", "STATUS=two lines", "STOPPING=1"))
        << name;
  }
}

TEST(Service, SaysItIsAliveWhereAWatchdogListens) {
  const Manager manager(testing::TempDir() + "service_test_watchdog");
  ::setenv("WATCHDOG_USEC", "3600000000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  Service().alive();
  EXPECT_THAT(manager.heard(), IsEmpty()) << "the watchdog is another process's";
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  Service service;
  service.alive();
  service.alive();
  EXPECT_THAT(manager.heard(), ElementsAre("WATCHDOG=1"));
}

TEST(Service, IsSilentWhereNobodyListens) {
  { const Manager gone(testing::TempDir() + "service_test_gone"); }
  Service().ready();
  ::setenv("NOTIFY_SOCKET", (testing::TempDir() + "no/such/socket").c_str(), 1);
  Service().ready();
  ::unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace headcount::systemd
