#include "cli/text.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "cli/command.h"

namespace headcount::cli {
namespace {

TEST(Text, AlignsNumbersToTheRightAndWordsToTheLeft) {
  EXPECT_EQ(aligned({{"name", "shards"}, {"a", "5"}, {"größer", "1,234"}}),
            "name    shards\n"
            "a            5\n"
            "größer   1,234\n");
}

TEST(Text, SaysDurationsAsPeopleDo) {
  EXPECT_EQ(duration_text(0.04), "0.0 s");
  EXPECT_EQ(duration_text(1.52), "1.5 s");
  EXPECT_EQ(duration_text(45), "45 s");
  EXPECT_EQ(duration_text(200), "3 min 20 s");
  EXPECT_EQ(duration_text(7500), "2 h 05 min");
  EXPECT_EQ(duration_text(273600), "3 d 4 h");
}

TEST(Text, ReadsDurations) {
  EXPECT_EQ(parse_duration_ms("500ms", "--x"), 500);
  EXPECT_EQ(parse_duration_ms("1.5", "--x"), 1500);
  EXPECT_EQ(parse_duration_ms("10m", "--x"), 600'000);
  EXPECT_EQ(parse_duration_ms("2h", "--x"), 7'200'000);
  for (const char* bad : {"", "m", "-5s", "10 parsecs", "nan", "1e30d"}) {
    EXPECT_THROW(parse_duration_ms(bad, "--x"), BadInput) << bad;
  }
}

TEST(Text, ReadsTimes) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  const int64_t now = 1'795'000'000;  // 2026-11-18 11:06:40 UTC
  EXPECT_EQ(parse_time_ms("+90m", "--until", now), (now + 5400) * 1000);
  EXPECT_EQ(parse_time_ms("12:00", "--until", now), 1'795'003'200'000);
  EXPECT_EQ(parse_time_ms("11:00", "--until", now), 1'795'086'000'000) << "tomorrow";
  EXPECT_EQ(parse_time_ms("2026-11-18T11:06:40Z", "--until", now), now * 1000);
  EXPECT_EQ(parse_time_ms("2026-11-18 11:06:40", "--until", now), now * 1000);
  EXPECT_THROW(parse_time_ms("tomorrow", "--until", now), BadInput);
}

TEST(Text, GroupsDigits) {
  EXPECT_EQ(grouped(7), "7");
  EXPECT_EQ(grouped(1234567), "1,234,567");
  EXPECT_EQ(grouped(-100000), "-100,000");
}

}  // namespace
}  // namespace headcount::cli
