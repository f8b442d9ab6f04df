#include "store/store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "schemas/error.h"
#include "store/migrations.h"

namespace headcount::store {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A folder of its own, gone afterwards.
class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    char name[] = "/tmp/headcount-store-XXXXXX";
    directory = mkdtemp(name);
  }
  ~StoreTest() override {
    chmod(directory.c_str(), 0700);
    fs::remove_all(directory);
  }
  std::string directory;
};

ShardKey key_of(int i) { return sha256("shard " + std::to_string(i)); }

std::string encoded(double value) { return encode(Result{{NamedArray{"value", {}, {value}}}}); }

ResultRow row_of(int i, const std::string& bytes, const std::string& worker = "W",
                 const std::string& tag = "T") {
  return {.key = key_of(i),
          .tag = tag,
          .hash = sha256(bytes),
          .worker = worker,
          .device = "cpu",
          .seconds = 0.5,
          .attempt = 1};
}

/// A sweep of one stage with n planned shards under tag "T".
StageId plan(Store& store, int n, const std::string& tag = "T",
             const std::string& kind = "head_importance") {
  StageId stage = 0;
  store.transaction([&] {
    const SweepId sweep = store.add_sweep({.id = 0,
                                           .name = "s",
                                           .digest = sha256("spec"),
                                           .file = "s.toml",
                                           .root = "/",
                                           .text = "name = 's'",
                                           .state = "running",
                                           .created_at = {},
                                           .finished_at = {}},
                                          {{.id = 0,
                                            .sweep = 0,
                                            .number = 0,
                                            .name = "importance",
                                            .kind = kind,
                                            .state = "open",
                                            .n_shards = n,
                                            .reason = ""}});
    stage = store.stages(sweep).front().id;
    std::vector<ShardKey> keys;
    for (int i = 0; i < n; ++i) keys.push_back(key_of(i));
    store.add_shards(stage, 0, keys, tag);
  });
  return stage;
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Store, KeepsTheFirstResultOfAShard) {
  Store store = Store::in_memory();
  const StageId stage = plan(store, 3);
  const std::string one = encoded(1), two = encoded(2);
  store.transaction([&] {
    store.add_attempt(key_of(0), 1, "W", "T");
    EXPECT_EQ(store.record(row_of(0, one), one), Recorded::kNew);
    EXPECT_EQ(store.record(row_of(0, one, "V"), one), Recorded::kSame);
    EXPECT_EQ(store.record(row_of(0, two, "V"), two), Recorded::kDiffers);
    EXPECT_EQ(store.record(row_of(0, two, "V", "another tag"), two), Recorded::kNew);
  });
  EXPECT_EQ(store.n_results(), 2);
  EXPECT_EQ(store.result(key_of(0), "T")->arrays[0].data[0], 1);
  EXPECT_EQ(store.result(key_of(0), "another tag")->arrays[0].data[0], 2);
  EXPECT_EQ(store.result(key_of(0), "any")->arrays[0].data[0], 1);
  EXPECT_EQ(store.result(key_of(1), "T"), std::nullopt);
  EXPECT_EQ(store.recorded(key_of(0), "T"), sha256(one));
  EXPECT_THAT(store.done(stage), ElementsAre(0));
}

TEST(Store, AnotherHashIsAnAlarmNamingBothWorkers) {
  Store store = Store::in_memory();
  plan(store, 1);
  const std::string one = encoded(1), two = encoded(2);
  store.transaction([&] {
    store.name_worker("V", "node-2");
    store.record(row_of(0, one), one);
    store.record(row_of(0, two, "V"), two);
  });
  ASSERT_EQ(store.alarms().size(), 1u);
  EXPECT_THAT(store.alarms()[0], HasSubstr("worker W"));
  EXPECT_THAT(store.alarms()[0], HasSubstr("worker node-2"));
}

TEST(Store, AWorkerThatSendsOneResultAfterAnotherCausesOneAlarm) {
  Store store = Store::in_memory();
  plan(store, 1);
  const std::string one = encoded(1);
  store.transaction([&] {
    store.record(row_of(0, one), one);
    for (int i = 2; i < 20; ++i) {
      const std::string other = encoded(i);
      EXPECT_EQ(store.record(row_of(0, other, "V"), other), Recorded::kDiffers);
    }
  });
  EXPECT_EQ(store.alarms().size(), 1u);
}

TEST(Store, CountsAStageByItsTags) {
  Store store = Store::in_memory();
  const StageId any = plan(store, 2, "any");
  StageId mixed = 0;
  const std::string one = encoded(1);
  store.transaction([&] {
    const SweepId sweep = store.add_sweep({.id = 0,
                                           .name = "t",
                                           .digest = sha256("t"),
                                           .file = "",
                                           .root = "",
                                           .text = "",
                                           .state = "running",
                                           .created_at = {},
                                           .finished_at = {}},
                                          {{.id = 0,
                                            .sweep = 0,
                                            .number = 0,
                                            .name = "x",
                                            .kind = "evaluate",
                                            .state = "open",
                                            .n_shards = 3,
                                            .reason = ""}});
    mixed = store.stages(sweep).front().id;
    store.add_shards(mixed, 0, {key_of(0), key_of(1)}, "T");
    store.add_shards(mixed, 2, {key_of(0)}, "U");
    store.record(row_of(0, one, "W", "U"), one);
  });
  EXPECT_THAT(store.done(any), ElementsAre(0));
  EXPECT_THAT(store.done(mixed), ElementsAre(2));
  const auto ranges = store.tag_ranges(mixed);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].end, 2);
  EXPECT_EQ(ranges[1].tag, "U");
  EXPECT_EQ(store.places(key_of(0)).size(), 3u);
  EXPECT_EQ(store.counts(mixed).done, 1);
  EXPECT_EQ(store.counts(mixed).planned, 3);
  EXPECT_EQ(store.shard_key(mixed, 1), key_of(1));
}

TEST(Store, AttemptsCountAnewAfterForgiving) {
  Store store = Store::in_memory();
  const StageId stage = plan(store, 1);
  store.transaction([&] {
    store.add_attempt(key_of(0), 1, "W", "T");
    store.end_attempt({.key = key_of(0),
                       .attempt = 1,
                       .outcome = "signal",
                       .message = "it crashed",
                       .device = "cpu",
                       .seconds = 2});
    store.quarantine(key_of(0), "crashed three times");
  });
  EXPECT_THAT(store.attempts(key_of(0), "W", "T"), ElementsAre(1));
  EXPECT_THAT(store.attempts(key_of(0), "W", "U"), IsEmpty());
  EXPECT_THAT(store.attempts(key_of(0), "V", "T"), IsEmpty());
  EXPECT_EQ(store.ended_attempts(key_of(0)).size(), 1u);
  EXPECT_THAT(store.quarantined(stage), ElementsAre(0));
  EXPECT_EQ(store.evidence(stage)[0].second, "crashed three times");
  store.transaction([&] {
    store.release_quarantine(key_of(0));
    store.add_attempt(key_of(0), 2, "V", "T");
  });
  EXPECT_TRUE(store.quarantined(stage).empty());
  EXPECT_TRUE(store.ended_attempts(key_of(0)).empty());
  EXPECT_EQ(store.attempts(key_of(0)).size(), 2u);
  EXPECT_EQ(store.open_attempts().size(), 1u);
  store.transaction([&] {
    store.end_attempt({.key = key_of(0), .attempt = 2, .outcome = "lost running", .suspect = true});
  });
  EXPECT_TRUE(store.ended_attempts(key_of(0)).at(0).suspect);
  store.transaction([&] { store.add_attempt(key_of(0), 2, "V", "T"); });  // taken up again
  EXPECT_EQ(store.open_attempts().size(), 1u);
  EXPECT_EQ(store.last_attempt(key_of(0)), 2);
}

TEST(Store, ATableComesBackByteForByteAndAsRows) {
  Store store = Store::in_memory();
  const StageId stage = plan(store, 1);
  const Table table{
      .stage = "importance",
      .kind = "head_importance",
      .columns = {"layer", "head", "mask_prob", "value", "se", "n", "model", "dataset", "ig_steps"},
      .rows = {{int64_t{0}, int64_t{1}, Cell{}, 0.1, Cell{}, int64_t{1}, std::string("mha"),
                std::string("train"), int64_t{8}},
               {int64_t{0}, int64_t{2}, 0.3, -3.0, 1e-5, int64_t{4}, std::string("mha"),
                std::string("train"), int64_t{8}}},
      .diagnostic_columns = {"model", "residual_mean", "n_missing"},
      .diagnostics = {{std::string("mha"), 1.0, int64_t{0}}},
      .warnings = {"something"}};
  store.transaction([&] { store.put_table(stage, table); });
  EXPECT_EQ(to_json({*store.table(stage)}), to_json({table}));
  const auto answer = store.query(
      "SELECT layer, head, mask_prob, value, point FROM head_importance ORDER BY head", 5);
  ASSERT_EQ(answer.rows.size(), 2u);
  EXPECT_EQ(std::get<double>(answer.rows[1][3]), -3.0);
  EXPECT_EQ(std::get<std::string>(answer.rows[0][4]), R"({"ig_steps": 8})");
  EXPECT_EQ(store.query("SELECT * FROM diagnostics", 5).rows.size(), 1u);
  EXPECT_EQ(store.query("SELECT * FROM scores", 5).rows.size(), 0u);
  EXPECT_EQ(store.query("SELECT * FROM shards", 5).rows.size(), 1u);
  EXPECT_EQ(store.query("SELECT * FROM attempts", 5).rows.size(), 0u);
}

/// A table of one row, with a list among its cells.
Table table_of(const std::string& stage, double value) {
  return {.stage = stage,
          .kind = "head_importance",
          .numerics_version = 3,
          .columns = {"layer", "head", "value", "n", "mask_probs"},
          .rows = {{int64_t{0}, int64_t{1}, value, int64_t{4}, JsonList{"[0.5, 0.9]"}}},
          .diagnostic_columns = {"n_missing"},
          .diagnostics = {{int64_t{0}}},
          .warnings = {}};
}

TEST(Store, ListsOfATableStayLists) {
  Store store = Store::in_memory();
  const StageId stage = plan(store, 1);
  const Table table = table_of("importance", 1);
  store.transaction([&] { store.put_table(stage, table); });
  EXPECT_EQ(store.table(stage)->rows, table.rows);
  EXPECT_EQ(store.table(stage)->numerics_version, 3);
  const auto answer =
      store.query("SELECT json_extract(point, '$.mask_probs[1]') FROM head_importance", 5);
  EXPECT_EQ(answer.rows.at(0).at(0), Cell(0.9));
}

TEST(Store, WhatIsMeasuredIsNoPartOfThePoint) {
  Store store = Store::in_memory();
  const StageId pruning = plan(store, 1, "T", "head_pruning"), viewed = plan(store, 1);
  const Table curves{.stage = "pruning",
                     .kind = "head_pruning",
                     .columns = {"metric", "which", "k", "prune_seed", "value", "se", "low", "high",
                                 "n_orders", "n", "scope"},
                     .rows = {{std::string("loss"), std::string("random"), int64_t{4}, Cell{}, 1.5,
                               0.2, 1.0, 2.5, int64_t{20}, int64_t{8}, std::string("layer")},
                              {std::string("loss"), std::string("most"), int64_t{4}, Cell{}, 3.5,
                               0.1, 3.0, 4.0, Cell{}, int64_t{8}, std::string("layer")}},
                     .diagnostic_columns = {},
                     .diagnostics = {},
                     .warnings = {}};
  Table scores = table_of("importance", 1);
  scores.columns.insert(scores.columns.begin() + 2, "signed_mean");
  scores.rows[0].insert(scores.rows[0].begin() + 2, Cell(-2.0));
  store.transaction([&] {
    store.put_table(pruning, curves);
    store.put_table(viewed, scores);
  });
  const auto measured =
      store.query("SELECT low, high, n_orders, point FROM scores ORDER BY value", 5).rows;
  const Cell point = std::string(R"({"scope": "layer"})");
  ASSERT_EQ(measured.size(), 2u);
  EXPECT_THAT(measured[0], ElementsAre(Cell(1.0), Cell(2.5), Cell(int64_t{20}), point));
  EXPECT_THAT(measured[1], ElementsAre(Cell(3.0), Cell(4.0), Cell{}, point));
  EXPECT_THAT(
      store.query("SELECT signed_mean, value, point FROM head_importance", 5).rows.at(0),
      ElementsAre(Cell(-2.0), Cell(1.0), Cell(std::string(R"({"mask_probs": [0.5, 0.9]})"))));
}

TEST_F(StoreTest, ATableOfTheFirstReleaseIsReadAndItsVersionUnknown) {
  StageId stage = 0;
  const Table table = table_of("importance", 1);
  {
    Store store = Store::open(directory);
    stage = plan(store, 1);
    store.transaction([&] { store.put_table(stage, table); });
  }
  // It had one item less, at the end.
  sqlite3* raw = nullptr;
  sqlite3_open((directory + "/" + kFileName).c_str(), &raw);
  ASSERT_EQ(sqlite3_exec(raw,
                         "UPDATE stage_table SET data = CAST(x'87' || "
                         "substr(data, 2, length(data) - 2) AS BLOB)",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(raw);
  const Store store = Store::open(directory);
  const auto read = store.table(stage);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->rows, table.rows);
  EXPECT_EQ(read->numerics_version, 0);
}

TEST_F(StoreTest, ADatabaseOfTheSecondVersionIsBroughtUpToDate) {
  fs::create_directory(directory + "/old");
  sqlite3* raw = nullptr;
  sqlite3_open((directory + "/old/" + kFileName).c_str(), &raw);
  const std::string old = "PRAGMA application_id = " + std::to_string(kApplicationId) + ";" +
                          migrations()[0] + migrations()[1] + "PRAGMA user_version = 2;" + R"sql(
    INSERT INTO sweep VALUES (1, 'old', x'00', 'f', '/', '', 'finished', 0, 0);
    INSERT INTO stage (id, sweep, number, name, kind, state, n_shards, reason) VALUES
      (1, 1, 0, 'i', 'head_importance', 'finished', 1, ''), (2, 1, 1, 'p', 'head_pruning', 'finished', 1, '');
    INSERT INTO table_row (stage, number, value, point) VALUES (1, 0, 1.5, '{}'), (2, 0, 2.5, '{}');)sql";
  ASSERT_EQ(sqlite3_exec(raw, old.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(raw);
  Store store = Store::open(directory + "/old");
  const StageId stage = plan(store, 1);
  store.transaction([&] { store.put_table(stage, table_of("importance", 1)); });
  EXPECT_EQ(store.query("SELECT * FROM head_importance WHERE latest", 5).rows.size(), 1u);
  const auto heads = store.query("SELECT value, signed_mean FROM head_importance", 5).rows;
  EXPECT_THAT(heads, ElementsAre(ElementsAre(Cell(1.5), Cell{}), ElementsAre(Cell(1.0), Cell{})));
  EXPECT_THAT(store.query("SELECT value, low, high, n_orders FROM scores", 5).rows,
              ElementsAre(ElementsAre(Cell(2.5), Cell{}, Cell{}, Cell{})));
}

TEST_F(StoreTest, AttemptsOfTheThirdVersionHaveTheTagTheirShardWasPlannedUnder) {
  fs::create_directory(directory + "/old");
  sqlite3* raw = nullptr;
  sqlite3_open((directory + "/old/" + kFileName).c_str(), &raw);
  const std::string old = "PRAGMA application_id = " + std::to_string(kApplicationId) + ";" +
                          migrations()[0] + migrations()[1] + migrations()[2] +
                          "PRAGMA user_version = 3;" + R"sql(
    INSERT INTO sweep VALUES (1, 'old', x'00', 'f', '/', '', 'running', 0, NULL);
    INSERT INTO stage (id, sweep, number, name, kind, state, n_shards, reason) VALUES
      (1, 1, 0, 'i', 'evaluate', 'open', 2, '');
    INSERT INTO tag VALUES (1, 'any'), (2, 'T');
    INSERT INTO worker VALUES (1, 'W', '');
    INSERT INTO shard VALUES (1, zeroblob(32)), (2, CAST(x'01' || zeroblob(31) AS BLOB));
    INSERT INTO stage_shard VALUES (1, 0, 1, 1), (1, 1, 2, 2);
    INSERT INTO attempt VALUES (1, 1, 1, 'granted', '', '', 0, 0), (2, 1, 1, 'granted', '', '', 0, 0);)sql";
  ASSERT_EQ(sqlite3_exec(raw, old.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(raw);
  const Store store = Store::open(directory + "/old");
  const auto open = store.open_attempts();
  ASSERT_EQ(open.size(), 1u) << "one whose tag nobody knows is not taken up";
  EXPECT_EQ(open[0].tag, "T");
  EXPECT_EQ(store.query("SELECT outcome, tag FROM attempts ORDER BY key", 5).rows[0][0],
            Cell(std::string("lost")));
}

TEST(Store, ViewsTellTheLatestOfSweepsOfOneName) {
  Store store = Store::in_memory();
  const StageId first = plan(store, 1), second = plan(store, 1), third = plan(store, 1);
  store.transaction([&] {
    store.put_table(first, table_of("importance", 1));
    store.put_table(second, table_of("importance", 2));
  });
  for (const char* view : {"head_importance", "diagnostics"}) {
    const auto latest =
        store.query("SELECT sweep FROM " + std::string(view) + " WHERE latest ORDER BY sweep", 5);
    ASSERT_EQ(latest.rows.size(), 1u) << view;
    EXPECT_EQ(latest.rows[0][0], Cell(int64_t{2}));
  }
  EXPECT_EQ(store.query("SELECT value FROM head_importance", 5).rows.size(), 2u);
  EXPECT_EQ(store.query("SELECT latest FROM scores", 5).rows.size(), 0u);
  const auto planned = store.query("SELECT sweep FROM shards WHERE latest", 5);
  ASSERT_EQ(planned.rows.size(), 1u);
  EXPECT_EQ(planned.rows[0][0], Cell(third));  // the only stage of its sweep
}

TEST(Store, AFailedTransactionLeavesNothing) {
  Store store = Store::in_memory();
  plan(store, 1);
  EXPECT_THROW(store.transaction([&] {
    store.add_attempt(key_of(0), 1, "a new worker", "T");
    throw Error("stop");
  }),
               Error);
  EXPECT_EQ(store.last_attempt(key_of(0)), 0);
  store.transaction([&] { store.add_attempt(key_of(0), 1, "a new worker", "T"); });
  EXPECT_THAT(store.attempts(key_of(0), "a new worker", "T"), ElementsAre(1));
}

using StoreDeathTest = StoreTest;
TEST_F(StoreDeathTest, AWriteOutsideATransactionIsABrokenInvariant) {
  Store store = Store::open(directory);
  EXPECT_DEATH(store.set_meta("a", "b"), "broken invariant");
}

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

TEST_F(StoreTest, AQueryOnlyReadsAndEnds) {
  Store store = Store::open(directory);
  plan(store, 5);
  Store reader = Store::open_read_only(directory);
  for (const char* sql :
       {"ATTACH '/tmp/other.sqlite' AS o", "DELETE FROM sweep", "PRAGMA journal_mode = DELETE",
        "CREATE TABLE t (x)", "SELECT 1; DELETE FROM sweep", "", "SELEC 1", "BEGIN",
        "SELECT load_extension('x')", "VACUUM INTO '/tmp/copy'"}) {
    EXPECT_THROW(reader.query(sql, 1), Error) << sql;
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(message_of([&] {
                reader.query(
                    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT "
                    "count(*) FROM c",
                    0.3);
              }),
              HasSubstr("longer than 0.3 s"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  EXPECT_EQ(reader.query("SELECT name FROM sweep;", 1).rows.size(),
            1u);  // the guards are off and on again
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
  EXPECT_THAT(message_of([&] { store.result(key_of(0), "T"); }), HasSubstr("cannot be read"));
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
