#include "worker/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "schemas/cbor.h"
#include "schemas/error.h"
#include "worker/journal_format.h"

namespace headcount::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;

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

std::string with_journal(const std::string& name, const std::string& bytes) {
  const std::string directory = fresh_directory(name);
  std::filesystem::create_directories(directory);
  std::ofstream(directory + "/journal", std::ios::binary) << bytes;
  return directory;
}

std::string contents(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void put_u32(std::string& out, size_t value) {
  for (int shift = 0; shift < 32; shift += 8)
    out.push_back(static_cast<char>(value >> shift & 255));
}

/// A record as versions before kJournalHeader wrote it.
void put_first_format(std::string& out, char type, std::string_view payload) {
  out.push_back(type);
  put_u32(out, payload.size());
  out += payload;
  out += as_bytes(sha256(payload)).substr(0, 8);
}

std::string first_payload(const ShardDone& result, int64_t protocol_version = 2) {
  cbor::Writer message;
  message.array(2);
  message.integer(protocol_version);
  message.array(1);
  message.array(2);
  message.natural(2);
  message.array(7);
  message.bytes(as_bytes(result.key));
  message.integer(result.attempt);
  message.text(result.tag);
  message.text(result.device);
  message.bytes(as_bytes(result.hash));
  message.number(result.seconds);
  const bool inside = result.result.size() <= 4096;
  if (inside)
    message.bytes(result.result);
  else
    message.boolean(true);
  std::string payload;
  put_u32(payload, message.out.size());
  payload += message.out;
  return inside ? payload : payload + result.result;
}

TEST(Journal, GivesBackAfterARestartWhatWasNotAcknowledged) {
  const std::string directory = fresh_directory("restart");
  const auto a = finished("a"), b = finished("b", 100000), c = finished("c");
  {
    Journal journal(directory);
    journal.add({a, b});
    journal.add({c});
    journal.remove({a.key, sha256("unknown")});
    EXPECT_EQ(journal.size(), 2u);
  }
  const Journal again(directory);
  EXPECT_THAT(again.all(), ElementsAre(b, c));
  EXPECT_EQ(again.damage().dropped_bytes, 0u);
}

TEST(Journal, TakesNoSpaceOnceAllIsAcknowledged) {
  const std::string directory = fresh_directory("space");
  Journal journal(directory);
  journal.add({finished("a"), finished("b")});
  journal.remove({sha256("b"), sha256("a")});
  EXPECT_EQ(std::filesystem::file_size(directory + "/journal"), 0u);
}

TEST(Journal, KeepsTheLatestOfOneShard) {
  const std::string directory = fresh_directory("latest");
  auto first = finished("a"), second = finished("a");
  second.attempt = 3;
  Journal journal(directory);
  journal.add({first});
  journal.add({second});
  EXPECT_THAT(journal.all(), ElementsAre(second));
}

TEST(Journal, DropsATornRecordAndGoesOn) {
  const std::string directory = fresh_directory("torn");
  const std::string file = directory + "/journal";
  uintmax_t first = 0;
  {
    Journal journal(directory);
    journal.add({finished("a")});
    first = std::filesystem::file_size(file);
    journal.add({finished("b")});
  }
  const auto whole = std::filesystem::file_size(file);
  for (uint64_t cut = 1; cut < 40; ++cut) {
    std::filesystem::resize_file(file, whole - cut);
    Journal torn(directory);
    EXPECT_THAT(torn.all(), ElementsAre(finished("a"))) << cut;
    EXPECT_GT(torn.damage().dropped_bytes, 0u);
    EXPECT_EQ(torn.damage().set_aside, "") << "half a result is none";
    EXPECT_EQ(std::filesystem::file_size(file), first) << "the rest could be taken for damage";
    torn.add({finished("b")});
  }
  EXPECT_EQ(Journal(directory).size(), 2u);
}

TEST(Journal, SetsADamagedRecordAsideAndReadsWhatIsBehindIt) {
  std::string bytes(kJournalHeader);
  const std::vector<ShardDone> results = {finished("a"), finished("b", 500), finished("c")};
  std::vector<PayloadPlace> places;
  for (const ShardDone& result : results) places.push_back(put_result(bytes, result));
  const size_t begin = places[0].offset + places[0].size + 8, end = places[2].offset - 12;
  for (size_t at = begin; at < end; at += 41) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    const std::string directory = with_journal("flipped", damaged);
    const Journal journal(directory);
    EXPECT_THAT(journal.all(), ElementsAre(results[0], results[2])) << at;
    const std::string beside = directory + "/journal.unreadable-1";
    ASSERT_EQ(journal.damage().set_aside, beside) << at;
    EXPECT_EQ(contents(beside), damaged.substr(begin, end - begin)) << at;
    EXPECT_EQ(Journal(directory).damage().set_aside, "") << "once is enough";
  }
}

TEST(Journal, AnyFlippedBitCostsAtMostTheRecordItIsIn) {
  std::string bytes(kJournalHeader);
  for (const char* name : {"a", "b", "c"}) put_result(bytes, finished(name));
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 64);
    EXPECT_GE(read_journal(damaged).kept.size(), 2u) << at;
  }
}

TEST(Journal, ReadsTheFormatBeforeItHadAVersion) {
  std::string bytes;
  for (const auto& result : {finished("a"), finished("b", 5000), finished("c")}) {
    put_first_format(bytes, 'R', first_payload(result));
  }
  put_first_format(bytes, 'A', as_bytes(sha256("c")));
  const std::string directory = with_journal("first", bytes);
  for (int start = 0; start < 2; ++start) {
    Journal journal(directory);
    EXPECT_THAT(journal.all(), ElementsAre(finished("a"), finished("b", 5000)));
    EXPECT_EQ(journal.damage().set_aside, "");
  }
  EXPECT_TRUE(contents(directory + "/journal").starts_with(kJournalHeader)) << "written anew";
}

TEST(Journal, SetsAsideWhatAnotherVersionWroteAndGoesOn) {
  const std::string later = "headcount journal 2\nwhatever stands there";
  const std::string directory = with_journal("later", later);
  {
    Journal journal(directory);
    EXPECT_EQ(journal.size(), 0u);
    EXPECT_EQ(contents(journal.damage().set_aside), later);
    journal.add({finished("a")});
  }
  EXPECT_THAT(Journal(directory).all(), ElementsAre(finished("a")));

  std::ofstream(directory + "/journal", std::ios::binary) << later;
  EXPECT_THAT(Journal(directory).damage().set_aside, EndsWith("journal.unreadable-2"));
}

TEST(Journal, SetsAsideAWholeRecordThatHoldsNoResult) {
  // As a message of another protocol version did, in the first format.
  std::string bytes;
  put_first_format(bytes, 'R', first_payload(finished("a"), 3));
  put_first_format(bytes, 'R', first_payload(finished("b")));
  const std::string directory = with_journal("foreign", bytes);
  const Journal journal(directory);
  EXPECT_THAT(journal.all(), ElementsAre(finished("b")));
  EXPECT_THAT(journal.damage().set_aside, EndsWith("journal.unreadable-1"));
}

TEST(Journal, FilledWithZerosByACrashItIsMerelyTorn) {
  std::string bytes(kJournalHeader);
  put_result(bytes, finished("a"));
  const Journal journal(with_journal("zeros", bytes + std::string(4096, '\0')));
  EXPECT_THAT(journal.all(), ElementsAre(finished("a")));
  EXPECT_EQ(journal.damage().dropped_bytes, 4096u);
  EXPECT_EQ(journal.damage().set_aside, "");
}

TEST(Journal, StaysSmallUnderAnEndlessStream) {
  const std::string directory = fresh_directory("stream");
  Journal journal(directory, 1 << 20);
  journal.add({finished("kept")});
  for (int i = 0; i < 300; ++i) {
    const auto done = finished("x" + std::to_string(i), 20000);
    journal.add({done});
    journal.remove({done.key});
    EXPECT_LT(std::filesystem::file_size(directory + "/journal"), 1'100'000u);
  }
  EXPECT_THAT(Journal(directory).all(), ElementsAre(finished("kept")));
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
