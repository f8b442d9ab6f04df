// What is behind a Store: the connection, the lock, small caches. Internal to store/.
#pragma once

#include <chrono>
#include <string>
#include <unordered_map>

#include "store/sqlite.h"
#include "store/store.h"

namespace headcount::store {

struct Store::Impl {
  std::string directory;  // empty: in memory
  int lock_fd = -1;
  std::unique_ptr<Connection> connection;
  bool in_transaction = false;
  int64_t n_commits = 0;
  int wal_pages = 0;  // as of the last commit
  std::chrono::steady_clock::time_point truncated_at{};
  // Text to row id. Rows of these tables are never removed, and ids learnt in a transaction that
  // failed are forgotten.
  std::unordered_map<std::string, int64_t> tags, workers;

  ~Impl();
  Use prepared(std::string_view sql) { return connection->prepared(sql); }
  /// A statement that writes: only inside a transaction.
  Use writing(std::string_view sql);
  int64_t tag_id(const std::string& tag);        // of a tag, adding it
  int64_t worker_id(const std::string& worker);  // likewise
  int64_t shard_id(const ShardKey& key);         // 0: unknown
  void after_commit();
};

int64_t now_ms();
/// ISO 8601 UTC with milliseconds.
std::string iso_time(int64_t ms);

/// Results larger than this lie beside the database.
constexpr size_t kInDatabaseBytes = 4 << 20;

}  // namespace headcount::store
