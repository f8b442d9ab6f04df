// Everything Headcount must not forget, in one SQLite file (WAL, synchronous=FULL, one writer).
// Tables and views: store/migrations.cc and docs/database.md. A Store belongs to one thread. A
// write outside a transaction is a broken invariant: the caller decides what commits together.
// Every function throws Error where the disk or the file fails.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/error.h"
#include "schemas/result.h"
#include "schemas/shard.h"
#include "schemas/table.h"

namespace headcount::store {

/// A stored result or table is not what was recorded: its bytes do not have the hash beside them.
/// Nothing is made of it; Store::damaged names such results, Store::set_aside takes them out.
class Damaged : public Error {
 public:
  using Error::Error;
};

using SweepId = int64_t;
using StageId = int64_t;

struct SweepRow {
  SweepId id = 0;
  std::string name;
  Digest digest;         // of the spec
  std::string file;      // as the user named it
  std::string root;      // where relative paths start
  std::string text;      // the spec
  std::string state;     // running | paused | cancelled | finished | stopped (an incomplete input)
  int64_t priority = 0;  // of the spec: higher first
  std::string created_at;   // ISO 8601 UTC; given by the store
  std::string finished_at;  // empty: not yet
};

struct StageRow {
  StageId id = 0;
  SweepId sweep = 0;
  int number = 0;  // position in the spec
  std::string name, kind;
  std::string state;        // waiting | open | finished | stopped | cancelled
  int64_t n_shards = 0;     // known from the start
  std::string reason;       // why stopped
  int64_t n_cached = 0;     // results that were there already when it was planned
  int64_t n_missing = 0;    // of a finished stage: quarantined shards its table lacks
  int64_t n_withdrawn = 0;  // of a finished stage: results of its table that were withdrawn since
  // Of a cancelled stage: how far it was then; nullopt: nobody counted.
  std::optional<int64_t> n_done = {}, n_quarantined = {};
  int64_t micro_batch =
      0;  // 0: as the spec or the kind says; else halved to this after running out of memory
};

/// One attempt at one shard, for provenance and for "was this worker ever granted it".
struct AttemptRow {
  ShardKey key;
  int64_t attempt = 0;
  std::string worker = {};   // public key (z85)
  std::string tag = {};      // it was granted for; empty: nobody knows, of an older database
  std::string outcome = {};  // "granted", or how it ended: coordinator::Outcome as text
  std::string message = {};
  std::string device = {};
  double seconds = 0;
  bool suspect = false;  // a loss that points at the shard
  std::string at = {};   // ISO 8601 UTC of the grant; given by the store
};

/// A finished shard's record.
struct ResultRow {
  ShardKey key;
  std::string tag;
  Digest hash;
  std::string worker, device;
  double seconds = 0;
  int64_t attempt = 0;
};

/// Shards [first, end) of a stage count under one numerics tag.
struct TagRange {
  int64_t first = 0, end = 0;
  std::string tag;
};

/// How far a stage is.
struct StageCounts {
  int64_t planned = 0, done = 0, quarantined = 0;
};

/// A stored result whose bytes do not have their hash.
struct DamagedResult {
  ShardKey key;
  std::string tag;
  std::string what;  // one sentence naming it
};

/// What Store::check found.
struct Checked {
  int64_t n_results = 0, n_tables = 0;
  std::vector<std::string> bad;  // one sentence each; empty: all is as recorded
};

enum class Recorded { kNew, kSame, kDiffers };  // kDiffers: an alarm was written too

class Store {
 public:
  /// Opens or creates DIR/headcount.sqlite and migrates it. Throws Error: unreadable, not a
  /// database, of a newer version, on a network file system, folder not writable, another process
  /// has it (named).
  static Store open(const std::string& directory);
  /// For readers while a coordinator may run: no migration, no lock, no write.
  static Store open_read_only(const std::string& directory);
  static Store in_memory();
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  /// Runs `body` in one transaction and commits; on an exception rolls back and rethrows. Throws
  /// TryAgain, before `body` runs or after, where another program holds the write lock or the disk
  /// is full or does not write; the file stays sound.
  void transaction(const std::function<void()>& body);
  /// Throws TryAgain where a transaction of some megabytes would not commit now, or one that
  /// writes as much as the one that failed last.
  void probe();
  int64_t n_commits() const;  // that changed something, since it was opened
  /// Moves the write-ahead log into the database and cuts it where no reader stands in the way;
  /// after large logs done by itself, at most once a second. A reader that never ends keeps the
  /// log: `query` has its time limit.
  void checkpoint();

  // sweeps and stages
  SweepId add_sweep(const SweepRow& sweep, const std::vector<StageRow>& stages);
  std::vector<SweepRow> sweeps() const;
  std::vector<StageRow> stages(SweepId sweep) const;
  std::optional<SweepRow> sweep(SweepId id) const;
  void set_sweep_state(
      SweepId sweep, const std::string& state);  // finished, cancelled, stopped: finished_at is now
  void set_stage_state(StageId stage, const std::string& state, const std::string& reason);
  void set_stage_cached(StageId stage, int64_t n_cached);
  void set_stage_missing(StageId stage, int64_t n_missing);
  void set_stage_counts(StageId stage, const StageCounts& counts);
  /// Also forgets the stage's planned shards.
  void set_stage_micro_batch(StageId stage, int64_t micro_batch);
  void bind_model(SweepId sweep, const std::string& model, const std::string& tag);
  struct Binding {
    std::string model, tag;
  };
  std::vector<Binding> bindings(SweepId sweep) const;

  // shards of a planned stage: index -> key. Indices are added in order, without gaps.
  void add_shards(StageId stage, int64_t first, const std::vector<ShardKey>& keys,
                  const std::string& tag);
  void clear_shards(StageId stage);
  int64_t n_planned(StageId stage) const;
  ShardKey shard_key(StageId stage, int64_t index) const;
  std::vector<std::pair<StageId, int64_t>> places(const ShardKey& key) const;
  std::vector<TagRange> tag_ranges(StageId stage) const;
  /// Indices of the stage's shards that have a result under the stage's tag for them ("any" tag:
  /// under whichever), ascending.
  std::vector<int64_t> done(StageId stage) const;
  StageCounts counts(StageId stage) const;

  // attempts and results
  /// A new attempt, or (same key and attempt) an ended one taken up again: outcome 'granted'. The
  /// shard must be planned somewhere.
  void add_attempt(const ShardKey& key, int64_t attempt, const std::string& worker,
                   const std::string& tag);
  /// The attempt of that key and number ends so; worker, tag and time stay as they are.
  void end_attempt(const AttemptRow& ended);
  int64_t last_attempt(const ShardKey& key) const;  // 0: none
  /// Those in which that worker was granted the shard for a runner of that tag, ascending.
  std::vector<int64_t> attempts(const ShardKey& key, const std::string& worker,
                                const std::string& tag) const;
  std::vector<AttemptRow> open_attempts() const;  // outcome 'granted'
  std::vector<AttemptRow> attempts(const ShardKey& key) const;
  /// Ended attempts after the last release_quarantine of the key, in order.
  std::vector<AttemptRow> ended_attempts(const ShardKey& key) const;
  /// The first result of (key, tag) is kept; another hash becomes an alarm naming both workers.
  /// Results above 4 MiB lie in DIR/results/.
  Recorded record(const ResultRow& row, std::string_view encoded_result);
  std::optional<Digest> recorded(const ShardKey& key, const std::string& tag) const;
  /// Tag "any": the first recorded one. Throws Damaged where its bytes do not have its hash.
  std::optional<Result> result(const ShardKey& key, const std::string& tag) const;
  int64_t n_results() const;
  /// The results that count for a stage and do not have their hash.
  std::vector<DamagedResult> damaged(StageId stage) const;
  /// That result no longer counts: it is kept, with the reason, in the table `aside`.
  void set_aside(const ShardKey& key, const std::string& tag, const std::string& why);
  /// The same for everything whose provenance names this worker; finished stages whose tables were
  /// made of some are marked (StageRow::n_withdrawn). The keys.
  std::vector<ShardKey> withdraw(const std::string& worker, const std::string& why);
  void quarantine(const ShardKey& key, const std::string& evidence);
  /// Lifts it; earlier attempts no longer count (ended_attempts). Also for keys that are not
  /// quarantined.
  void release_quarantine(const ShardKey& key);
  std::vector<int64_t> quarantined(StageId stage) const;  // indices, ascending
  std::vector<std::pair<ShardKey, std::string>> evidence(StageId stage) const;
  /// Kept once, however often it is said.
  void alarm(const std::string& text);
  std::vector<std::string> alarms() const;
  /// What views and alarms call the worker of that public key.
  void name_worker(const std::string& public_key, const std::string& name);
  /// Every public key that has borne the name.
  std::vector<std::string> workers_named(const std::string& name) const;

  // finished tables
  void put_table(StageId stage, const Table& table);
  void clear_table(StageId stage);  // of a stage that is opened again: not `withdrawn` either
  /// Throws Damaged where its bytes do not have their hash.
  std::optional<Table> table(StageId stage) const;

  // small named values (coordinator identity, incarnations)
  void set_meta(const std::string& name, const std::string& value);
  std::optional<std::string> meta(const std::string& name) const;

  /// `headcount query`: one read-only statement, ATTACH denied, stopped after `seconds`. Columns
  /// and rows as cells.
  struct Answer {
    std::vector<std::string> columns;
    std::vector<std::vector<Cell>> rows;
  };
  Answer query(const std::string& sql, double seconds) const;

  // `headcount store`, also beside a running coordinator
  /// Every result and table against its hash, the views' rows against their tables, and SQLite's
  /// own integrity_check. `progress` is told how many of all results and tables are done.
  using Progress = std::function<void(int64_t n_done, int64_t n_all)>;
  Checked check(const Progress& progress) const;
  /// The database as of now, results beside it included, as one new file of mode 0600. Throws Error
  /// where `file` exists; leaves nothing behind where it fails. `progress` counts pages.
  void backup(const std::string& file, const Progress& progress) const;

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// "NFS", "FUSE" ... when statfs's f_type is of a file system whose locks cannot be trusted; else
/// "".
std::string untrusted_file_system(int64_t f_type);

/// The name of the file in its directory.
constexpr const char* kFileName = "headcount.sqlite";

}  // namespace headcount::store
