#include "coordinator/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace headcount::coordinator {
namespace {

namespace fs = std::filesystem;

class LogTest : public testing::Test {
 protected:
  LogTest() {
    char name[] = "/tmp/headcount-log-XXXXXX";
    folder = mkdtemp(name);
    path = folder + "/coordinator.log";
  }
  ~LogTest() override { fs::remove_all(folder); }
  static std::string text_of(const std::string& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return std::move(text).str();
  }
  std::string folder, path;
};

TEST_F(LogTest, WhatAPeerSaysForgesNoLine) {
  Log(path).line("worker w1 says hello from x\n2026-11-21T00:00:00.000Z coordinator stops");
  const std::string text = text_of(path);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_THAT(text, testing::HasSubstr("from x\\n2026"));
}

TEST_F(LogTest, TakesAtMostTwiceItsLimit) {
  Log log(path, 10'000);
  for (int i = 0; i < 5000; ++i) log.line("alarm " + std::to_string(i));
  EXPECT_LT(fs::file_size(path), 11'000u);
  EXPECT_LT(fs::file_size(path + ".1"), 11'000u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 2);
  EXPECT_THAT(text_of(path), testing::HasSubstr("alarm 4999"));
  EXPECT_THAT(text_of(path + ".1"), testing::EndsWith("\n"));
}

TEST_F(LogTest, GoesOnWhereAnEarlierOneStoodAndIsItsOwnersAlone) {
  Log(path, 10'000).line(std::string(4000, 'x'));
  Log again(path, 10'000);
  for (int i = 0; i < 3; ++i) again.line(std::string(4000, 'y'));
  EXPECT_TRUE(fs::exists(path + ".1"));
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

}  // namespace
}  // namespace headcount::coordinator
