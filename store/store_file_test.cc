// The file: locks, kills, damage, full disks, what lies beside it.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "store/store_fixture.h"

namespace headcount::store {
namespace {

TEST_F(StoreTest, WhatWasCommittedSurvivesAKill) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    Store store = Store::open(directory);
    plan(store, 100);
    for (int i = 0; i < 100; ++i) {
      store.transaction([&] {
        const std::string bytes = encoded(i);
        store.add_attempt(key_of(i), 1, "W", "T");
        store.record(row_of(i, bytes), bytes);
      });
      if (write(ready[1], "x", 1) != 1) _exit(1);
    }
    pause();
    _exit(0);
  }
  char token = 0;
  for (int i = 0; i < 37; ++i) ASSERT_EQ(read(ready[0], &token, 1), 1);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  Store store = Store::open(directory);  // the dead process's lock does not block
  EXPECT_GE(store.n_results(), 37);
  EXPECT_EQ(store.result(key_of(36), "T")->arrays[0].data[0], 36);
  EXPECT_EQ(store.open_attempts().size(), static_cast<size_t>(store.n_results()));
  close(ready[0]);
  close(ready[1]);
}

TEST_F(StoreTest, ASecondWriterIsToldWhoHoldsTheDirectory) {
  Store store = Store::open(directory);
  EXPECT_THAT(message_of([&] { Store::open(directory); }),
              HasSubstr("process " + std::to_string(getpid())));
}

TEST_F(StoreTest, AReaderSeesCommitsAndMayNotWrite) {
  Store store = Store::open(directory);
  plan(store, 5);
  Store reader = Store::open_read_only(directory);
  EXPECT_EQ(reader.sweeps().size(), 1u);
  plan(store, 5);
  EXPECT_EQ(reader.sweeps().size(), 2u);
  EXPECT_THAT(message_of([&] { reader.transaction([&] { reader.set_meta("a", "b"); }); }),
              HasSubstr("cannot be written"));
}

TEST_F(StoreTest, WhatIsNoDatabaseOfOursIsNamed) {
  const std::string path = directory + "/" + kFileName;
  EXPECT_THAT(message_of([&] { Store::open_read_only(directory); }),
              HasSubstr("there is no database in " + directory));
  std::ofstream(path) << std::string(5000, 'x');
  EXPECT_THAT(message_of([&] { Store::open(directory); }), HasSubstr("not a Headcount database"));
  EXPECT_THAT(message_of([&] { Store::open_read_only(directory); }),
              HasSubstr("not a Headcount database"));
  fs::remove(path);
  sqlite3* other = nullptr;
  sqlite3_open(path.c_str(), &other);
  sqlite3_exec(other, "CREATE TABLE theirs (x)", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  EXPECT_THAT(message_of([&] { Store::open(directory); }), HasSubstr("another program's"));
}

TEST_F(StoreTest, ANewerVersionIsNamedAndUntouched) {
  { Store::open(directory); }
  const std::string path = directory + "/" + kFileName;
  sqlite3* newer = nullptr;
  sqlite3_open(path.c_str(), &newer);
  sqlite3_exec(newer, "PRAGMA user_version = 99", nullptr, nullptr, nullptr);
  sqlite3_close(newer);
  EXPECT_THAT(message_of([&] { Store::open(directory); }), HasSubstr("newer headcount"));
  EXPECT_THAT(message_of([&] { Store::open_read_only(directory); }), HasSubstr("newer headcount"));
}

TEST_F(StoreTest, DamagedPagesAreNamed) {
  {
    Store store = Store::open(directory);
    plan(store, 3000);
    store.checkpoint();
  }
  const std::string path = directory + "/" + kFileName;
  const auto size = fs::file_size(path);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(8192);
    file << std::string(size - 8192, '\x5a');
  }
  EXPECT_THAT(message_of([&] {
                Store store = Store::open(directory);
                store.sweeps();
                store.query("SELECT count(*) FROM shards", 5);
              }),
              HasSubstr("damaged"));
}

TEST_F(StoreTest, AReadOnlyDirectoryIsNamed) {
  {
    Store store = Store::open(directory);
    plan(store, 2);
  }
  chmod(directory.c_str(), 0500);
  const pid_t child = fork();
  if (child == 0) {  // root may write everywhere: be somebody else
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(9);
    const std::string message = message_of([&] { Store::open(directory); });
    _exit(message.find("state directory") != std::string::npos &&
                  message.find(directory) != std::string::npos
              ? 0
              : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(StoreTest, RoomIsAskedForAsMuchAsWhatFailedNeeds) {
  const bool mounted =
      getuid() == 0 && mount("none", directory.c_str(), "tmpfs", 0, "size=64m") == 0;
  if (!mounted) GTEST_SKIP() << "needs root and the right to mount a small tmpfs";
  {
    Store store = Store::open(directory);
    plan(store, 1);
    const std::string ballast = directory + "/ballast";
    std::ofstream(ballast) << std::string(45 << 20, 'x');
    EXPECT_EQ(message_of([&] { store.probe(); }), "no error");
    const std::string bytes =
        encode(Result{{NamedArray{"value", {3 << 20}, std::vector<double>(3 << 20, 1.0)}}});
    const auto record = [&] { store.transaction([&] { store.record(row_of(0, bytes), bytes); }); };
    EXPECT_THAT(message_of(record), HasSubstr("everything recorded so far is intact"));
    EXPECT_THAT(message_of([&] { store.probe(); }), HasSubstr("free 32 MB or more"));
    std::filesystem::remove(ballast);
    EXPECT_EQ(message_of([&] { store.probe(); }), "no error");
    EXPECT_EQ(message_of(record), "no error");
    std::ofstream(ballast) << std::string(20 << 20, 'x');
    EXPECT_EQ(message_of([&] { store.probe(); }), "no error");
  }
  umount(directory.c_str());
}

TEST_F(StoreTest, AFullDiskIsASentenceAndLosesNothing) {
  std::string home = directory;
  const bool mounted =
      getuid() == 0 && mount("none", directory.c_str(), "tmpfs", 0, "size=2m") == 0;
  if (!mounted) GTEST_SKIP() << "needs root and the right to mount a small tmpfs";
  int64_t kept = 0;
  {
    Store store = Store::open(directory);
    plan(store, 500);
    const std::string message = message_of([&] {
      for (int i = 0; i < 500; ++i) {
        const std::string bytes =
            encode(Result{{NamedArray{"value", {2000}, std::vector<double>(2000, i)}}});
        store.transaction([&] { store.record(row_of(i, bytes), bytes); });
        ++kept;
      }
    });
    EXPECT_THAT(message, HasSubstr("is full; everything recorded so far is intact"));
    EXPECT_GT(kept, 5);
    EXPECT_EQ(store.n_results(), kept);
  }
  Store again = Store::open_read_only(directory);
  EXPECT_EQ(again.n_results(), kept);
  EXPECT_EQ(again.result(key_of(static_cast<int>(kept) - 1), "T")->arrays[0].data[0],
            static_cast<double>(kept - 1));
  again = Store::in_memory();
  umount(directory.c_str());
}

TEST(Store, NetworkFileSystemsAreKnown) {
  EXPECT_EQ(untrusted_file_system(0x6969), "NFS");
  EXPECT_EQ(untrusted_file_system(0x65735546), "FUSE");
  EXPECT_EQ(untrusted_file_system(0x0bd00bd0), "Lustre");
  EXPECT_EQ(untrusted_file_system(0x19830326), "BeeGFS");
  EXPECT_EQ(untrusted_file_system(0xef53), "");      // ext4
  EXPECT_EQ(untrusted_file_system(0x01021994), "");  // tmpfs
}

TEST_F(StoreTest, LargeResultsLieBesideTheDatabase) {
  Store store = Store::open(directory);
  plan(store, 1);
  const std::string bytes =
      encode(Result{{NamedArray{"value", {600'000}, std::vector<double>(600'000, 1.5)}}});
  store.transaction([&] { EXPECT_EQ(store.record(row_of(0, bytes), bytes), Recorded::kNew); });
  const std::string path = directory + "/results/" + to_hex(sha256(bytes));
  EXPECT_EQ(fs::file_size(path), bytes.size());
  EXPECT_EQ(store.result(key_of(0), "T")->arrays[0].data.size(), 600'000u);
  std::ofstream(path, std::ios::in | std::ios::binary) << "damage";
  EXPECT_THAT(message_of([&] { store.result(key_of(0), "T"); }), HasSubstr("is damaged"));
  fs::remove(path);
  EXPECT_THAT(message_of([&] { store.result(key_of(0), "T"); }), HasSubstr("is missing"));
}

TEST_F(StoreTest, AReaderThatEndsLetsTheLogBeCut) {
  Store store = Store::open(directory);
  plan(store, 1);
  const std::string log = directory + "/" + kFileName + "-wal";
  sqlite3* reader = nullptr;
  sqlite3_open_v2((directory + "/" + kFileName).c_str(), &reader, SQLITE_OPEN_READONLY, nullptr);
  sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM sweep", nullptr, nullptr, nullptr);
  const auto write_some = [&](int n) {
    for (int i = 0; i < n; ++i)
      store.transaction(
          [&] { store.set_meta("m", std::string(1 << 20, static_cast<char>('a' + i % 26))); });
  };
  write_some(80);
  EXPECT_GT(fs::file_size(log), 64u << 20);  // the snapshot holds it
  sqlite3_exec(reader, "COMMIT", nullptr, nullptr, nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  write_some(2);
  EXPECT_LT(fs::file_size(log), 8u << 20);
  sqlite3_close(reader);
}

}  // namespace
}  // namespace headcount::store
