// Rows: results, attempts, tables, views, queries.
#include "store/store.h"

#include "store/migrations.h"
#include "store/store_fixture.h"

namespace headcount::store {
namespace {

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

/// A database of an older version, with these rows.
void make_older(const std::string& directory, size_t version, const std::string& rows) {
  std::string sql = "PRAGMA application_id = " + std::to_string(kApplicationId) + ";";
  for (size_t i = 0; i < version; ++i) sql += migrations()[i];
  sql += "PRAGMA user_version = " + std::to_string(version) + ";" + rows;
  sqlite3* raw = nullptr;
  sqlite3_open((directory + "/" + kFileName).c_str(), &raw);
  ASSERT_EQ(sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(raw);
  sqlite3_close(raw);
}

TEST_F(StoreTest, ATableOfTheFirstReleaseIsReadAndItsVersionUnknown) {
  Store today = Store::in_memory();
  const Table table = table_of("importance", 1);
  const StageId stage = plan(today, 1);
  today.transaction([&] { today.put_table(stage, table); });
  auto data = std::get<std::string>(today.query("SELECT data FROM stage_table", 5).rows[0][0]);
  data = "87" + data.substr(2, data.size() - 4);  // it had one item less, at the end
  make_older(directory, 3,
             R"sql(
    INSERT INTO sweep VALUES (1, 'old', x'00', 'f', '/', '', 'finished', 0, 0);
    INSERT INTO stage (id, sweep, number, name, kind, state, n_shards, reason) VALUES
      (1, 1, 0, 'i', 'head_importance', 'finished', 1, '');
    INSERT INTO stage_table VALUES (1, x')sql" +
                 data + "');");
  const Store store = Store::open(directory);
  const auto read = store.table(stage);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->rows, table.rows);
  EXPECT_EQ(read->numerics_version, 0);
  EXPECT_EQ(store.check([](int64_t, int64_t) {}).bad.size(), 0u);
}

TEST_F(StoreTest, ADatabaseOfTheSecondVersionIsBroughtUpToDate) {
  make_older(directory, 2, R"sql(
    INSERT INTO sweep VALUES (1, 'old', x'00', 'f', '/', '', 'finished', 0, 0);
    INSERT INTO stage (id, sweep, number, name, kind, state, n_shards, reason) VALUES
      (1, 1, 0, 'i', 'head_importance', 'finished', 1, ''), (2, 1, 1, 'p', 'head_pruning', 'finished', 1, '');
    INSERT INTO table_row (stage, number, value, point) VALUES (1, 0, 1.5, '{}'), (2, 0, 2.5, '{}');)sql");
  Store store = Store::open(directory);
  const StageId stage = plan(store, 1);
  store.transaction([&] { store.put_table(stage, table_of("importance", 1)); });
  EXPECT_EQ(store.query("SELECT * FROM head_importance WHERE latest", 5).rows.size(), 1u);
  const auto heads = store.query("SELECT value, signed_mean FROM head_importance", 5).rows;
  EXPECT_THAT(heads, ElementsAre(ElementsAre(Cell(1.5), Cell{}), ElementsAre(Cell(1.0), Cell{})));
  EXPECT_THAT(store.query("SELECT value, low, high, n_orders FROM scores", 5).rows,
              ElementsAre(ElementsAre(Cell(2.5), Cell{}, Cell{}, Cell{})));
}

TEST_F(StoreTest, AttemptsOfTheThirdVersionHaveTheTagTheirShardWasPlannedUnder) {
  make_older(directory, 3, R"sql(
    INSERT INTO sweep VALUES (1, 'old', x'00', 'f', '/', '', 'running', 0, NULL);
    INSERT INTO stage (id, sweep, number, name, kind, state, n_shards, reason) VALUES
      (1, 1, 0, 'i', 'evaluate', 'open', 2, '');
    INSERT INTO tag VALUES (1, 'any'), (2, 'T');
    INSERT INTO worker VALUES (1, 'W', '');
    INSERT INTO shard VALUES (1, zeroblob(32)), (2, CAST(x'01' || zeroblob(31) AS BLOB));
    INSERT INTO stage_shard VALUES (1, 0, 1, 1), (1, 1, 2, 2);
    INSERT INTO attempt VALUES (1, 1, 1, 'granted', '', '', 0, 0), (2, 1, 1, 'granted', '', '', 0, 0);)sql");
  const Store store = Store::open(directory);
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

}  // namespace
}  // namespace headcount::store
