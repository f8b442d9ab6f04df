// What is stored is checked when it is read; what is damaged or withdrawn no longer counts.
#include <sys/stat.h>

#include <fstream>

#include "store/store_fixture.h"

namespace headcount::store {
namespace {

const Store::Progress kQuiet = [](int64_t, int64_t) {};

/// One SQL statement by another program.
void meddle(const std::string& directory, const std::string& sql) {
  sqlite3* raw = nullptr;
  sqlite3_open((directory + "/" + kFileName).c_str(), &raw);
  ASSERT_EQ(sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(raw);
  sqlite3_close(raw);
}

constexpr const char* kFlipABit =
    "UPDATE result SET data = CAST(substr(data, 1, length(data) - 1) AS BLOB) || x'7f' WHERE "
    "shard = 1";

void record(Store& store, int i, double value, const std::string& worker = "W",
            const std::string& tag = "T") {
  const std::string bytes = encoded(value);
  store.transaction([&] { store.record(row_of(i, bytes, worker, tag), bytes); });
}

/// Results [first, end), each its own number.
void record_all(Store& store, int first, int end) {
  store.transaction([&] {
    for (int i = first; i < end; ++i) {
      const std::string bytes = encoded(i);
      store.record(row_of(i, bytes), bytes);
    }
  });
}

TEST_F(StoreTest, AFlippedBitOfAResultIsNoResult) {
  Store store = Store::open(directory);
  const StageId stage = plan(store, 2);
  record(store, 0, 1.5);
  record(store, 1, 2.5);
  EXPECT_THAT(store.damaged(stage), IsEmpty());
  meddle(directory, kFlipABit);
  EXPECT_THROW(store.result(key_of(0), "T"), Damaged);
  EXPECT_EQ(store.result(key_of(1), "T")->arrays[0].data[0], 2.5);
  const auto damaged = store.damaged(stage);
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_EQ(damaged[0].key, key_of(0));
  store.transaction([&] { store.set_aside(damaged[0].key, damaged[0].tag, damaged[0].what); });
  EXPECT_THAT(store.done(stage), ElementsAre(1));
  EXPECT_EQ(store.query("SELECT why FROM set_aside", 5).rows.at(0).at(0), Cell(damaged[0].what));
  record(store, 0, 1.5);
  EXPECT_EQ(store.result(key_of(0), "T")->arrays[0].data[0], 1.5);
}

TEST_F(StoreTest, AFlippedBitOfATableIsNoTable) {
  Store store = Store::open(directory);
  const StageId stage = plan(store, 1);
  store.transaction([&] { store.put_table(stage, table_of("importance", 1)); });
  EXPECT_THAT(store.check(kQuiet).bad, IsEmpty());
  meddle(directory, "UPDATE table_row SET value = 2");
  EXPECT_THAT(store.check(kQuiet).bad, ElementsAre(HasSubstr("are not those of its stored table")));
  meddle(directory, "UPDATE stage_table SET data = replace(hex(data), '04', '05')");
  EXPECT_THROW(store.table(stage), Damaged);
  EXPECT_THAT(store.check(kQuiet).bad, ElementsAre(HasSubstr("the stored table of stage 1")));
}

TEST_F(StoreTest, ADamagedFileBesideTheDatabaseLeavesItsNameToTheNextOne) {
  Store store = Store::open(directory);
  const StageId stage = plan(store, 1);
  const std::string bytes =
      encode(Result{{NamedArray{"value", {600'000}, std::vector<double>(600'000, 1.5)}}});
  store.transaction([&] { store.record(row_of(0, bytes), bytes); });
  const std::string path = directory + "/results/" + to_hex(sha256(bytes));
  std::ofstream(path, std::ios::in | std::ios::binary) << "damage";
  const auto damaged = store.damaged(stage);
  ASSERT_EQ(damaged.size(), 1u);
  store.transaction([&] { store.set_aside(damaged[0].key, "T", damaged[0].what); });
  EXPECT_TRUE(fs::exists(path + ".damaged"));
  store.transaction([&] { EXPECT_EQ(store.record(row_of(0, bytes), bytes), Recorded::kNew); });
  EXPECT_EQ(store.result(key_of(0), "T")->arrays[0].data.size(), 600'000u);
}

TEST(Store, WithdrawingAWorkerLeavesTheResultsOfOthers) {
  Store store = Store::in_memory();
  const StageId bound = plan(store, 2), any = plan(store, 2, "any");
  record(store, 0, 1, "bad", "T");
  record(store, 0, 2, "good", "U");
  record(store, 1, 3, "good", "T");
  store.transaction([&] {
    store.name_worker("bad", "node-7");
    store.set_stage_state(bound, "finished", "");
    store.set_stage_state(any, "finished", "");
    EXPECT_THAT(store.withdraw("bad", "its key was revoked"), ElementsAre(key_of(0)));
  });
  EXPECT_THAT(store.workers_named("node-7"), ElementsAre("bad"));
  EXPECT_THAT(store.done(bound), ElementsAre(1));
  EXPECT_EQ(store.result(key_of(0), "any")->arrays[0].data[0], 2);  // now the first one
  for (const SweepRow& sweep : store.sweeps())
    EXPECT_EQ(store.stages(sweep.id).at(0).n_withdrawn, 1);
  EXPECT_EQ(store.query("SELECT worker, why FROM set_aside", 5).rows.size(), 1u);
  record(store, 0, 9, "good", "T");
  EXPECT_EQ(store.result(key_of(0), "any")->arrays[0].data[0], 2);
  store.transaction([&] { store.clear_table(bound); });
  EXPECT_EQ(store.stages(1).at(0).n_withdrawn, 0);
}

TEST_F(StoreTest, CheckNamesEveryDamagedResult) {
  Store store = Store::open(directory);
  plan(store, 1000);
  record_all(store, 0, 1000);
  meddle(directory, kFlipABit);
  meddle(directory, "UPDATE result SET hash = x'00' WHERE shard = 900");
  int64_t told = 0;
  const Checked checked = Store::open_read_only(directory).check(
      [&](int64_t n_done, int64_t n_all) { told = n_done == n_all ? n_done : 0; });
  EXPECT_EQ(checked.n_results, 1000);
  EXPECT_EQ(told, 1000);
  EXPECT_THAT(checked.bad, ElementsAre(HasSubstr(to_hex(key_of(0)).substr(0, 12)),
                                       HasSubstr(to_hex(key_of(899)).substr(0, 12))));
}

TEST_F(StoreTest, ABackupIsWholeWhileResultsAreWritten) {
  Store store = Store::open(directory);
  plan(store, 3000);
  const std::string large =
      encode(Result{{NamedArray{"value", {600'000}, std::vector<double>(600'000, 1.5)}}});
  store.transaction([&] { store.record(row_of(0, large), large); });
  record_all(store, 1, 1500);
  const std::string elsewhere = directory + "/restored";
  mkdir(elsewhere.c_str(), 0700);
  const std::string file = elsewhere + "/" + kFileName;
  const Store reader = Store::open_read_only(directory);
  int next = 1500;
  reader.backup(file, [&](int64_t, int64_t) { record(store, next, next), ++next; });
  EXPECT_GT(next, 1500);
  EXPECT_THAT(message_of([&] { reader.backup(file, kQuiet); }), HasSubstr("exists already"));
  struct stat found {};
  ASSERT_EQ(stat(file.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  fs::remove_all(directory + "/results");
  const Store restored = Store::open(elsewhere);
  EXPECT_EQ(restored.n_results(), 1500);
  EXPECT_EQ(restored.result(key_of(0), "T")->arrays[0].data.size(), 600'000u);
  EXPECT_THAT(restored.check(kQuiet).bad, IsEmpty());
}

}  // namespace
}  // namespace headcount::store
