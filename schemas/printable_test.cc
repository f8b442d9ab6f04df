#include "schemas/printable.h"

#include <gtest/gtest.h>

namespace headcount {
namespace {

TEST(Printable, ForeignTextBeginsNoLineAndMovesNoCursor) {
  EXPECT_EQ(printable("node\n2026-11-21 all is well\r\x1b[2J\t", 100),
            "node\\n2026-11-21 all is well\\x0d\\x1b[2J\\t");
  EXPECT_EQ(printable(std::string_view("\0\x7f", 2), 100), "\\x00\\x7f");
  EXPECT_EQ(printable_lines("a\n\tb\r\nc", 100), "a\n\tb\\x0d\nc");
}

TEST(Printable, WhatIsUtf8StaysAndWhatIsNotIsWrittenOut) {
  EXPECT_EQ(printable("Köln \xe2\x82\xac \xf0\x9f\x98\x80", 100),
            "Köln \xe2\x82\xac \xf0\x9f\x98\x80");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m",
                      100),
            "\\xc2\\x9b31m")
      << "a control character of two bytes";
  EXPECT_EQ(printable("\xff\xc3", 100), "\\xff\\xc3");
  EXPECT_EQ(printable("\xe0\x80\x80", 100), "\\xe0\\x80\\x80") << "an overlong zero";
}

TEST(Printable, WhatIsTooLongIsCutAndSaysSo) {
  EXPECT_EQ(printable("abcdef", 4), "abcd ... (2 bytes more)");
  EXPECT_EQ(printable("abc\xe2\x82\xac", 4), "abc ... (3 bytes more)");
}

}  // namespace
}  // namespace headcount
