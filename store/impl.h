// What is behind a Store: the connection, the lock, small caches. Internal to store/.
#pragma once

#include <chrono>
#include <string>
#include <unordered_map>

#include "store/sqlite.h"
#include "store/store.h"

namespace headcount::store {

/// A row of `result`.
struct ResultPlace {
  int64_t shard = 0, tag = 0, number = 0;
};

/// What probe() asks for.
constexpr int64_t kRoomBytes = 8 << 20;

struct Store::Impl {
  std::string directory;  // empty: in memory
  int lock_fd = -1;
  std::unique_ptr<Connection> connection;
  bool in_transaction = false;
  int64_t n_commits = 0;
  int wal_pages = 0;                // as of the last commit
  int64_t written_bytes = 0;        // by this transaction: twice where it goes through the log
  int64_t room_bytes = kRoomBytes;  // what the next one may need: more, once a larger one failed
  std::chrono::steady_clock::time_point truncated_at{};
  // Text to row id. Rows of these tables are never removed, and ids learnt in a transaction that
  // failed are forgotten.
  std::unordered_map<std::string, int64_t> tags, workers;
  std::unordered_map<ShardKey, int64_t> shards;  // those met last, kShardsKnown at most

  ~Impl();
  Use prepared(std::string_view sql) { return connection->prepared(sql); }
  /// A statement that writes: only inside a transaction.
  Use writing(std::string_view sql);
  int64_t tag_id(const std::string& tag);        // of a tag, adding it
  int64_t worker_id(const std::string& worker);  // likewise
  int64_t shard_id(const ShardKey& key);         // 0: unknown
  void know(const ShardKey& key, int64_t shard);
  void move_aside(const ResultPlace& place, const std::string& why);
  /// "", or one sentence: the rows behind the views are not those of the stage's table.
  std::string rows_differ(StageId stage, const Table& table);
  void after_commit();
  void ask_for_room();
};

/// What a row of `result` or `aside` holds, of the database or of the file beside it.
struct StoredBytes {
  std::string bytes;
  std::string damage;  // "": they have their hash; else what is wrong, as the end of a sentence
};
StoredBytes stored_bytes(const std::string& directory, const Statement& row, int hash_column,
                         int data_column);
/// The sentence for it.
std::string damage_text(const ShardKey& key, const std::string& tag, const std::string& damage);
/// Beside the database, of a result above kInDatabaseBytes.
std::string result_path(const std::string& directory, const Digest& hash);
/// "0123456789ab": enough of a digest for a sentence.
std::string short_hex(const Digest& digest);

int64_t now_ms();
/// ISO 8601 UTC with milliseconds.
std::string iso_time(int64_t ms);

/// Results larger than this lie beside the database.
constexpr size_t kInDatabaseBytes = 4 << 20;

/// A shard is asked for five times from its grant to its result: about 5 MB spare four searches.
constexpr size_t kShardsKnown = 1 << 16;

}  // namespace headcount::store
