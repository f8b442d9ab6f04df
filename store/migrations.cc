// Tables hold integers for what repeats (shards, tags, workers); people read the views, which
// docs/database.md describes.
#include "store/migrations.h"

#include "schemas/error.h"
#include "schemas/sha256.h"

namespace headcount::store {
namespace {

constexpr const char* kFirst = R"sql(
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE sweep (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, digest BLOB NOT NULL, file TEXT NOT NULL,
  root TEXT NOT NULL, text TEXT NOT NULL, state TEXT NOT NULL, created_ms INTEGER NOT NULL, finished_ms INTEGER);
CREATE TABLE stage (
  id INTEGER PRIMARY KEY AUTOINCREMENT, sweep INTEGER NOT NULL REFERENCES sweep, number INTEGER NOT NULL, name TEXT NOT NULL,
  kind TEXT NOT NULL, state TEXT NOT NULL, n_shards INTEGER NOT NULL, reason TEXT NOT NULL,
  n_cached INTEGER NOT NULL DEFAULT 0, n_missing INTEGER NOT NULL DEFAULT 0, micro_batch INTEGER NOT NULL DEFAULT 0, UNIQUE (sweep, number));
CREATE TABLE binding (
  sweep INTEGER NOT NULL REFERENCES sweep, model TEXT NOT NULL, tag TEXT NOT NULL, micro_batch INTEGER NOT NULL,
  PRIMARY KEY (sweep, model)) WITHOUT ROWID;

CREATE TABLE tag (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE worker (id INTEGER PRIMARY KEY, public_key TEXT NOT NULL UNIQUE, name TEXT NOT NULL DEFAULT '');
CREATE TABLE shard (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE stage_shard (
  stage INTEGER NOT NULL REFERENCES stage, number INTEGER NOT NULL, shard INTEGER NOT NULL REFERENCES shard,
  tag INTEGER NOT NULL REFERENCES tag, PRIMARY KEY (stage, number)) WITHOUT ROWID;
CREATE INDEX stage_shard_by_shard ON stage_shard (shard);

CREATE TABLE attempt (
  shard INTEGER NOT NULL REFERENCES shard, attempt INTEGER NOT NULL, worker INTEGER NOT NULL REFERENCES worker,
  outcome TEXT NOT NULL, message TEXT NOT NULL, device TEXT NOT NULL, seconds REAL NOT NULL, at_ms INTEGER NOT NULL,
  PRIMARY KEY (shard, attempt)) WITHOUT ROWID;
CREATE TABLE result (
  shard INTEGER NOT NULL REFERENCES shard, tag INTEGER NOT NULL REFERENCES tag, number INTEGER NOT NULL, hash BLOB NOT NULL,
  worker INTEGER NOT NULL REFERENCES worker, device TEXT NOT NULL, seconds REAL NOT NULL, attempt INTEGER NOT NULL,
  at_ms INTEGER NOT NULL, data BLOB, PRIMARY KEY (shard, tag));
CREATE TABLE quarantine (shard INTEGER PRIMARY KEY REFERENCES shard, evidence TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE TABLE forgiven (shard INTEGER PRIMARY KEY REFERENCES shard, attempt INTEGER NOT NULL);
CREATE TABLE alarm (id INTEGER PRIMARY KEY, text TEXT NOT NULL, at_ms INTEGER NOT NULL);

CREATE TABLE stage_table (stage INTEGER PRIMARY KEY REFERENCES stage, data BLOB NOT NULL);
CREATE TABLE table_row (
  stage INTEGER NOT NULL REFERENCES stage, number INTEGER NOT NULL, layer INTEGER, head INTEGER, mask_prob REAL, metric TEXT,
  "which" TEXT, k INTEGER, prune_seed INTEGER, value REAL, se REAL, n INTEGER, model TEXT, dataset TEXT, point TEXT NOT NULL,
  PRIMARY KEY (stage, number)) WITHOUT ROWID;
CREATE TABLE table_diagnostic (
  stage INTEGER NOT NULL REFERENCES stage, number INTEGER NOT NULL, n_missing INTEGER, point TEXT NOT NULL,
  PRIMARY KEY (stage, number)) WITHOUT ROWID;

CREATE VIEW head_importance AS
  SELECT sweep.id AS sweep, sweep.name AS sweep_name, stage.name AS stage, r.layer, r.head, r.mask_prob, r.value, r.se, r.n,
         r.model, r.dataset, r.point
  FROM table_row r JOIN stage ON stage.id = r.stage JOIN sweep ON sweep.id = stage.sweep
  WHERE stage.kind = 'head_importance';
CREATE VIEW scores AS
  SELECT sweep.id AS sweep, sweep.name AS sweep_name, stage.name AS stage, stage.kind, r.metric, r."which", r.k, r.prune_seed, r.value,
         r.se, r.n, r.model, r.dataset, r.point
  FROM table_row r JOIN stage ON stage.id = r.stage JOIN sweep ON sweep.id = stage.sweep
  WHERE stage.kind <> 'head_importance';
CREATE VIEW diagnostics AS
  SELECT sweep.id AS sweep, sweep.name AS sweep_name, stage.name AS stage, stage.kind, d.n_missing, d.point
  FROM table_diagnostic d JOIN stage ON stage.id = d.stage JOIN sweep ON sweep.id = stage.sweep;
CREATE VIEW shards AS
  SELECT stage.sweep AS sweep, stage.name AS stage, s.number AS shard, lower(hex(shard.key)) AS key, tag.text AS tag,
         CASE WHEN r.hash IS NOT NULL THEN 'done' WHEN q.shard IS NOT NULL THEN 'quarantined' ELSE 'open' END AS state,
         (SELECT count(*) FROM attempt a WHERE a.shard = s.shard) AS attempts,
         CASE WHEN w.name <> '' THEN w.name ELSE w.public_key END AS worker, r.device, r.seconds, lower(hex(r.hash)) AS hash, q.evidence
  FROM stage_shard s JOIN stage ON stage.id = s.stage JOIN shard ON shard.id = s.shard JOIN tag ON tag.id = s.tag
  LEFT JOIN result r ON r.shard = s.shard AND (r.tag = s.tag OR (tag.text = 'any' AND r.number = 0))
  LEFT JOIN worker w ON w.id = r.worker LEFT JOIN quarantine q ON q.shard = s.shard;
CREATE VIEW attempts AS
  SELECT lower(hex(shard.key)) AS key, a.attempt, CASE WHEN w.name <> '' THEN w.name ELSE w.public_key END AS worker, a.outcome,
         a.message, a.device, a.seconds, strftime('%Y-%m-%dT%H:%M:%fZ', a.at_ms / 1000.0, 'unixepoch') AS at
  FROM attempt a JOIN shard ON shard.id = a.shard JOIN worker w ON w.id = a.worker;
)sql";

// The stage alone holds a micro-batch.
constexpr const char* kSecond = "ALTER TABLE binding DROP COLUMN micro_batch;";

// `latest`: of the sweeps of one name, the newest that has rows of that stage in the view. What is
// measured has columns of its own, so that `point` names a point and nothing else.
constexpr const char* kThird = R"sql(
DROP VIEW head_importance;
DROP VIEW scores;
DROP VIEW diagnostics;
DROP VIEW shards;
ALTER TABLE table_row ADD COLUMN signed_mean REAL;
ALTER TABLE table_row ADD COLUMN low REAL;
ALTER TABLE table_row ADD COLUMN high REAL;
ALTER TABLE table_row ADD COLUMN n_orders INTEGER;
CREATE VIEW latest_table AS
  SELECT max(stage.id) AS stage FROM stage_table t JOIN stage ON stage.id = t.stage JOIN sweep ON sweep.id = stage.sweep
  GROUP BY sweep.name, stage.name;
CREATE VIEW latest_plan AS
  SELECT max(stage.id) AS stage FROM stage JOIN sweep ON sweep.id = stage.sweep
  WHERE EXISTS (SELECT 1 FROM stage_shard s WHERE s.stage = stage.id) GROUP BY sweep.name, stage.name;
CREATE VIEW head_importance AS
  SELECT sweep.id AS sweep, sweep.name AS sweep_name, stage.id IN (SELECT stage FROM latest_table) AS latest, stage.name AS stage,
         r.layer, r.head, r.mask_prob, r.signed_mean, r.value, r.se, r.n, r.model, r.dataset, r.point
  FROM table_row r JOIN stage ON stage.id = r.stage JOIN sweep ON sweep.id = stage.sweep
  WHERE stage.kind = 'head_importance';
CREATE VIEW scores AS
  SELECT sweep.id AS sweep, sweep.name AS sweep_name, stage.id IN (SELECT stage FROM latest_table) AS latest, stage.name AS stage,
         stage.kind, r.metric, r."which", r.k, r.prune_seed, r.value, r.se, r.low, r.high, r.n_orders, r.n, r.model, r.dataset, r.point
  FROM table_row r JOIN stage ON stage.id = r.stage JOIN sweep ON sweep.id = stage.sweep
  WHERE stage.kind <> 'head_importance';
CREATE VIEW diagnostics AS
  SELECT sweep.id AS sweep, sweep.name AS sweep_name, stage.id IN (SELECT stage FROM latest_table) AS latest, stage.name AS stage,
         stage.kind, d.n_missing, d.point
  FROM table_diagnostic d JOIN stage ON stage.id = d.stage JOIN sweep ON sweep.id = stage.sweep;
CREATE VIEW shards AS
  SELECT stage.sweep AS sweep, stage.id IN (SELECT stage FROM latest_plan) AS latest, stage.name AS stage, s.number AS shard,
         lower(hex(shard.key)) AS key, tag.text AS tag,
         CASE WHEN r.hash IS NOT NULL THEN 'done' WHEN q.shard IS NOT NULL THEN 'quarantined' ELSE 'open' END AS state,
         (SELECT count(*) FROM attempt a WHERE a.shard = s.shard) AS attempts,
         CASE WHEN w.name <> '' THEN w.name ELSE w.public_key END AS worker, r.device, r.seconds, lower(hex(r.hash)) AS hash, q.evidence
  FROM stage_shard s JOIN stage ON stage.id = s.stage JOIN shard ON shard.id = s.shard JOIN tag ON tag.id = s.tag
  LEFT JOIN result r ON r.shard = s.shard AND (r.tag = s.tag OR (tag.text = 'any' AND r.number = 0))
  LEFT JOIN worker w ON w.id = r.worker LEFT JOIN quarantine q ON q.shard = s.shard;
)sql";

// Older attempts have the tag their shard was planned under, where that is one: a result under
// another is not theirs. One without cannot be taken up again.
constexpr const char* kFourth = R"sql(
ALTER TABLE attempt ADD COLUMN tag INTEGER REFERENCES tag;
ALTER TABLE attempt ADD COLUMN suspect INTEGER NOT NULL DEFAULT 0;
UPDATE attempt SET tag = (
  SELECT CASE WHEN min(s.tag) = max(s.tag) AND min(tag.text) <> 'any' THEN min(s.tag) END
  FROM stage_shard s JOIN tag ON tag.id = s.tag WHERE s.shard = attempt.shard);
UPDATE attempt SET outcome = 'lost' WHERE outcome = 'granted' AND tag IS NULL;
ALTER TABLE sweep ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stage ADD COLUMN n_done INTEGER;
ALTER TABLE stage ADD COLUMN n_quarantined INTEGER;
DROP VIEW attempts;
CREATE VIEW attempts AS
  SELECT lower(hex(shard.key)) AS key, a.attempt, CASE WHEN w.name <> '' THEN w.name ELSE w.public_key END AS worker,
         tag.text AS tag, a.outcome, a.message, a.device, a.seconds,
         strftime('%Y-%m-%dT%H:%M:%fZ', a.at_ms / 1000.0, 'unixepoch') AS at
  FROM attempt a JOIN shard ON shard.id = a.shard JOIN worker w ON w.id = a.worker LEFT JOIN tag ON tag.id = a.tag;
)sql";

// Results that no longer count are kept aside; finished tables have a hash, as results do.
constexpr const char* kFifth = R"sql(
CREATE TABLE aside (
  id INTEGER PRIMARY KEY, shard INTEGER NOT NULL REFERENCES shard, tag INTEGER NOT NULL REFERENCES tag, hash BLOB NOT NULL,
  worker INTEGER NOT NULL REFERENCES worker, device TEXT NOT NULL, seconds REAL NOT NULL, attempt INTEGER NOT NULL,
  at_ms INTEGER NOT NULL, data BLOB, why TEXT NOT NULL, aside_ms INTEGER NOT NULL);
ALTER TABLE stage ADD COLUMN n_withdrawn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stage_table ADD COLUMN hash BLOB;
UPDATE stage_table SET hash = sha256(data);
CREATE VIEW set_aside AS
  SELECT lower(hex(shard.key)) AS key, tag.text AS tag, lower(hex(a.hash)) AS hash,
         CASE WHEN w.name <> '' THEN w.name ELSE w.public_key END AS worker, a.device, a.attempt, a.why,
         strftime('%Y-%m-%dT%H:%M:%fZ', a.aside_ms / 1000.0, 'unixepoch') AS at
  FROM aside a JOIN shard ON shard.id = a.shard JOIN tag ON tag.id = a.tag JOIN worker w ON w.id = a.worker;
)sql";

constexpr const char* kMigrations[] = {kFirst, kSecond, kThird, kFourth, kFifth};

// SQL's sha256(blob), for the migration that gives older tables their hash.
void sql_sha256(sqlite3_context* context, int, sqlite3_value** values) {
  const auto* data = static_cast<const char*>(sqlite3_value_blob(values[0]));
  const auto size = static_cast<size_t>(sqlite3_value_bytes(values[0]));
  const Digest digest = sha256({data, size});
  sqlite3_result_blob(context, digest.bytes.data(), static_cast<int>(digest.bytes.size()),
                      SQLITE_TRANSIENT);
}

bool empty(Connection& connection) {
  Statement statement(connection.raw(), "SELECT count(*) FROM sqlite_schema", connection.path());
  statement.step();
  return statement.integer(0) == 0;
}

}  // namespace

std::span<const char* const> migrations() { return kMigrations; }

void check_version(Connection& connection) {
  const int64_t version = connection.pragma("user_version");
  const auto newest = static_cast<int64_t>(migrations().size());
  if (connection.pragma("application_id") != kApplicationId) {
    throw Error(connection.path() +
                " is not a Headcount database but another program's: name another state directory");
  }
  if (version > newest) {
    throw Error(connection.path() + " was written by a newer headcount (database version " +
                std::to_string(version) + ", this program knows " + std::to_string(newest) +
                "): use that program");
  }
  if (version < newest) {
    throw Error(connection.path() +
                " was written by an older headcount: start its coordinator once with this program "
                "to bring it up to date");
  }
}

void migrate(Connection& connection) {
  if (connection.pragma("application_id") != kApplicationId && empty(connection)) {
    connection.execute("PRAGMA application_id = " + std::to_string(kApplicationId));
  }
  const int64_t version = connection.pragma("user_version");
  const auto steps = migrations();
  sqlite3_create_function_v2(connection.raw(), "sha256", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                             nullptr, sql_sha256, nullptr, nullptr, nullptr);
  if (connection.pragma("application_id") == kApplicationId) {
    for (auto i = static_cast<size_t>(version < 0 ? 0 : version); i < steps.size(); ++i) {
      connection.execute("BEGIN IMMEDIATE;" + std::string(steps[i]) +
                         "PRAGMA user_version = " + std::to_string(i + 1) + "; COMMIT");
    }
  }
  check_version(connection);
}

}  // namespace headcount::store
