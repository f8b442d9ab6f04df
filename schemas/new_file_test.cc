// Files that are whole or as they were, whatever happens: full disks, folders of others, crashes.
#include "schemas/new_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "schemas/try_again.h"

namespace headcount {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class NewFileTest : public testing::Test {
 protected:
  NewFileTest() {
    std::string pattern = testing::TempDir() + "headcount-new-file-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    file_ = folder_ + "/file";
  }
  ~NewFileTest() override { fs::remove_all(folder_); }

  std::string text() const {
    std::ostringstream text;
    text << std::ifstream(file_).rdbuf();
    return text.str();
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_))
      names.push_back(entry.path().filename());
    return names;
  }
  mode_t mode() const {
    struct stat found {};
    EXPECT_EQ(::stat(file_.c_str(), &found), 0);
    return found.st_mode & 0777;
  }
  /// What `act` throws, "" where nothing; whether it may pass.
  static std::pair<std::string, bool> thrown_by(const std::function<void()>& act) {
    try {
      act();
    } catch (const Error& error) {
      return {error.what(), dynamic_cast<const TryAgain*>(&error) != nullptr};
    }
    return {};
  }

  std::string folder_, file_;
};

/// The exit status of `act`'s process.
int status_of(const std::function<int()>& act) {
  const pid_t child = fork();
  if (child == 0) _exit(act());
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

TEST_F(NewFileTest, TakesThePlaceOfTheOldOneAndLeavesNothingElse) {
  write_file(file_, "old");
  write_file(file_, "new");
  EXPECT_EQ(text(), "new");
  EXPECT_THAT(names(), ElementsAre("file"));
  fs::current_path(folder_);
  write_file("file", "here");
  EXPECT_EQ(text(), "here");
  fs::current_path("/");
}

TEST_F(NewFileTest, IsReadByWhomTheUmaskLetsOrByItsOwnerAlone) {
  const mode_t before = ::umask(022);
  write_file(file_, "open");
  EXPECT_EQ(mode(), 0644u);
  write_file(file_, "secret", Readers::kOwner);
  EXPECT_EQ(mode(), 0600u);
  ::umask(before);
}

TEST_F(NewFileTest, ACrashBeforeTheNameIsTakenLeavesTheOldFile) {
  write_file(file_, "old");
  const int status = status_of([&]() -> int {
    NewFile fresh(file_);
    fresh.write("new");
    _exit(7);  // nothing is destroyed
  });
  EXPECT_EQ(status, 7);
  EXPECT_EQ(text(), "old");
  EXPECT_THAT(names(), testing::SizeIs(2)) << "what it left";
  write_file(file_, "newer");
  EXPECT_EQ(text(), "newer");
  EXPECT_THAT(names(), testing::SizeIs(1));
}

TEST_F(NewFileTest, WhatNeverTakesItsNameIsGone) {
  write_file(file_, "old");
  {
    NewFile fresh(file_);
    fresh.write("new");
    EXPECT_EQ(names().size(), 2u);
  }
  EXPECT_EQ(text(), "old");
  EXPECT_THAT(names(), ElementsAre("file"));
}

TEST_F(NewFileTest, OneOfManyClaimsAFreeName) {
  const auto claim = [&](const char* bytes) {
    NewFile fresh(file_);
    fresh.write(bytes);
    return fresh.claim();
  };
  EXPECT_TRUE(claim("first"));
  EXPECT_FALSE(claim("second"));
  EXPECT_EQ(text(), "first");
  EXPECT_THAT(names(), ElementsAre("file"));
}

TEST_F(NewFileTest, WritersOfOneFileDoNotMix) {
  std::vector<std::thread> writers;
  for (const char letter : {'a', 'b', 'c', 'd'}) {
    writers.emplace_back([&, letter] {
      for (int i = 0; i < 20; ++i) write_file(file_, std::string(100'000, letter));
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(text(), std::string(100'000, text().front()));
  EXPECT_THAT(names(), ElementsAre("file"));
}

TEST_F(NewFileTest, AFullDiskMayPassAndLosesNothing) {
  const bool mounted = getuid() == 0 && mount("none", folder_.c_str(), "tmpfs", 0, "size=1m") == 0;
  if (!mounted) GTEST_SKIP() << "needs root and the right to mount a small tmpfs";
  write_file(file_, "old");
  const auto [message, may_pass] = thrown_by([&] { write_file(file_, std::string(2 << 20, 'x')); });
  EXPECT_THAT(message, HasSubstr(file_ + ": No space left on device: free some space"));
  EXPECT_TRUE(may_pass);
  EXPECT_EQ(text(), "old");
  EXPECT_THAT(names(), ElementsAre("file"));
  write_file(file_, std::string(500 << 10, 'x'));  // what there was room for is free again
  EXPECT_EQ(text().size(), 500u << 10);
  umount(folder_.c_str());
}

TEST_F(NewFileTest, AFolderOfOthersIsNamed) {
  write_file(file_, "old");
  chmod(folder_.c_str(), 0555);
  const int status = status_of([&] {
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 9;
    const auto [message, may_pass] = thrown_by([&] { write_file(file_, "new"); });
    const bool right = message == "cannot write " + file_ +
                                      ": Permission denied: may this user write into " + folder_ +
                                      "?";
    return right && !may_pass ? 0 : 1;
  });
  chmod(folder_.c_str(), 0755);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(text(), "old");
  EXPECT_THAT(thrown_by([&] { write_file(folder_ + "/no/file", ""); }).first,
              HasSubstr("make the folder " + folder_ + "/no first"));
  EXPECT_THAT(thrown_by([&] { write_file(folder_, ""); }).first, HasSubstr("Is a directory"));
}

TEST_F(NewFileTest, APipeIsWrittenInto) {
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  const int reader = open(file_.c_str(), O_RDWR);
  write_file(file_, "bytes");
  char bytes[5];
  EXPECT_EQ(read(reader, bytes, 5), 5);
  EXPECT_EQ(std::string(bytes, 5), "bytes");
  EXPECT_TRUE(fs::is_fifo(file_));
  close(reader);
}

TEST_F(NewFileTest, WhatStandardOutputWasSentToIsWrittenInto) {
  const int out = open(file_.c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_EQ(write(out, "before ", 7), 7);
  write_file("/proc/self/fd/" + std::to_string(out), "bytes");
  close(out);
  EXPECT_EQ(text(), "before bytes");
  EXPECT_THAT(names(), ElementsAre("file"));
}

TEST_F(NewFileTest, APlantedPipeHoldsUpNobody) {
  ASSERT_EQ(mkfifo((folder_ + "/.file.part-1").c_str(), 0600), 0);
  write_file(file_, "bytes");
  EXPECT_EQ(text(), "bytes");
}

}  // namespace
}  // namespace headcount
