// SQLite in the few words the store needs: a connection, cached statements, errors as sentences.
// Internal to store/.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "schemas/table.h"

namespace headcount::store {

/// One prepared statement, bound from 1, read from 0. Blob and text arguments must outlive the
/// step.
class Statement {
 public:
  Statement(sqlite3* db, std::string_view sql, const std::string& path);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  Statement& bind(int64_t value);
  Statement& bind(double value);
  Statement& bind_text(std::string_view value);
  Statement& bind_blob(std::string_view value);
  Statement& bind_null();
  /// Binds by the cell's own type.
  Statement& bind_cell(const Cell& cell);

  /// True: a row is there. Throws Error on anything but a row or the end; resets itself at the end.
  bool step();
  /// Runs it to its end.
  void run();
  /// Forgets bindings and position.
  void reset();

  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  double number(int column) const { return sqlite3_column_double(statement_, column); }
  std::string text(int column) const;
  std::string_view blob(int column) const;  // until the next step
  Cell cell(int column) const;
  bool null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
  const std::string& path_;
  int bound_ = 0;
};

/// A column of the current row by its own type; a blob as hex digits.
Cell cell_of(sqlite3_stmt* statement, int column);

/// Resets a cached statement when its user is done with it, also by an exception.
class Use {
 public:
  explicit Use(Statement& statement) : statement_(statement) {}
  Use(const Use&) = delete;
  ~Use() { statement_.reset(); }
  Statement* operator->() { return &statement_; }
  Statement& operator*() { return statement_; }

 private:
  Statement& statement_;
};

/// A connection. `path` is only for messages.
class Connection {
 public:
  Connection(const std::string& uri, int flags, const std::string& path);
  Connection(const Connection&) = delete;
  ~Connection();
  sqlite3* raw() const { return db_; }
  const std::string& path() const { return path_; }
  /// The cached statement of this text, reset and unbound.
  Use prepared(std::string_view sql);
  /// Runs one or more statements without results.
  void execute(const std::string& sql);
  int64_t pragma(const std::string& name);

 private:
  sqlite3* db_ = nullptr;
  std::string path_;
  std::map<std::string, std::unique_ptr<Statement>, std::less<>> statements_;
};

/// The sentence for an SQLite result code: disk full, read-only, not a database, busy ... A
/// TryAgain where it may pass: somebody's lock, a full disk, one that does not write.
[[noreturn]] void fail(int code, sqlite3* db, const std::string& path);

}  // namespace headcount::store
