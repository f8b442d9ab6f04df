#include "worker/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "schemas/error.h"

namespace headcount::worker {
namespace {

std::string fresh_directory(const std::string& name) {
  const std::string directory = testing::TempDir() + "journal_test_" + name;
  std::filesystem::remove_all(directory);
  return directory;
}

ShardDone finished(const std::string& name, size_t size = 10) {
  ShardDone done;
  done.key = sha256(name);
  done.attempt = 2;
  done.tag = "tag";
  done.device = "cpu";
  done.seconds = 0.5;
  done.result = std::string(size, name[0]);
  done.hash = sha256(done.result);
  return done;
}

TEST(Journal, GivesBackAfterARestartWhatWasNotAcknowledged) {
  const std::string directory = fresh_directory("restart");
  const auto a = finished("a"), b = finished("b", 100000), c = finished("c");
  {
    Journal journal(directory);
    journal.add({a, b}, true);
    journal.add({c}, false);
    journal.remove({a.key, sha256("unknown")});
    EXPECT_EQ(journal.size(), 2u);
  }
  const Journal again(directory);
  EXPECT_THAT(again.all(), testing::ElementsAre(b, c));
  EXPECT_EQ(again.dropped_bytes(), 0u);
}

TEST(Journal, TakesNoSpaceOnceAllIsAcknowledged) {
  const std::string directory = fresh_directory("space");
  Journal journal(directory);
  journal.add({finished("a"), finished("b")}, true);
  journal.remove({sha256("b"), sha256("a")});
  EXPECT_EQ(std::filesystem::file_size(directory + "/journal"), 0u);
}

TEST(Journal, KeepsTheLatestOfOneShard) {
  const std::string directory = fresh_directory("latest");
  auto first = finished("a"), second = finished("a");
  second.attempt = 3;
  Journal journal(directory);
  journal.add({first}, true);
  journal.add({second}, true);
  EXPECT_THAT(journal.all(), testing::ElementsAre(second));
}

TEST(Journal, DropsATornRecordAndGoesOn) {
  const std::string directory = fresh_directory("torn");
  const std::string file = directory + "/journal";
  {
    Journal journal(directory);
    journal.add({finished("a")}, true);
    journal.add({finished("b")}, true);
  }
  const auto whole = std::filesystem::file_size(file);
  for (uint64_t cut = 1; cut < 40; ++cut) {
    std::filesystem::resize_file(file, whole - cut);
    Journal torn(directory);
    EXPECT_THAT(torn.all(), testing::ElementsAre(finished("a"))) << cut;
    EXPECT_GT(torn.dropped_bytes(), 0u);
    torn.add({finished("b")}, true);
  }
  EXPECT_EQ(Journal(directory).size(), 2u);
}

TEST(Journal, StopsAtAFlippedBit) {
  const std::string directory = fresh_directory("flipped");
  { Journal(directory).add({finished("a"), finished("b")}, true); }
  const std::string file = directory + "/journal";
  const auto size = std::filesystem::file_size(file);
  {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(size - 20));
    bytes.put('?');
  }
  EXPECT_THAT(Journal(directory).all(), testing::ElementsAre(finished("a")));
}

TEST(Journal, StaysSmallUnderAnEndlessStream) {
  const std::string directory = fresh_directory("stream");
  Journal journal(directory, 1 << 20);
  journal.add({finished("kept")}, false);
  for (int i = 0; i < 300; ++i) {
    const auto done = finished("x" + std::to_string(i), 20000);
    journal.add({done}, false);
    journal.remove({done.key});
    EXPECT_LT(std::filesystem::file_size(directory + "/journal"), 1'100'000u);
  }
  EXPECT_THAT(Journal(directory).all(), testing::ElementsAre(finished("kept")));
}

TEST(Journal, SaysWhyItCannotBeWritten) {
  try {
    const Journal journal("/proc/headcount");
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("cannot create /proc/headcount: "));
  }
}

}  // namespace
}  // namespace headcount::worker
