#include "store/sqlite.h"

#include "schemas/error.h"
#include "schemas/try_again.h"

namespace headcount::store {
namespace {

// What keeps a write from the disk; of a quota, too, which SQLite does not know from a broken disk.
bool is_of_writing(int code) {
  switch (code) {
    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
    case SQLITE_IOERR_TRUNCATE:
    case SQLITE_IOERR_LOCK:
    case SQLITE_IOERR_SHMOPEN:
    case SQLITE_IOERR_SHMSIZE:
    case SQLITE_IOERR_SHMMAP:
      return true;
    default:
      return false;
  }
}

}  // namespace

void fail(int code, sqlite3* db, const std::string& path) {
  const std::string said = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_FULL:
      throw TryAgain("the disk holding " + path +
                     " is full; everything recorded so far is intact: free some space");
    case SQLITE_READONLY:
      throw Error(path + " cannot be written (" + said +
                  "): check the permissions of the file and its folder");
    case SQLITE_NOTADB:
      throw Error(path +
                  " is not a Headcount database: move it away, or name another state directory");
    case SQLITE_CORRUPT:
      throw Error(
          path + " is damaged (" + said +
          "): restore it from a copy, or recover what is readable with `sqlite3 FILE .recover`");
    case SQLITE_CANTOPEN:
      throw Error(path +
                  " cannot be opened: check that it exists and that you may read and write it and "
                  "its folder");
    case SQLITE_PERM:
    case SQLITE_AUTH:
      throw Error("not allowed in a query: " + said);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw TryAgain("another program holds the lock of " + path + ": close it");
    case SQLITE_IOERR:
      if (is_of_writing(code))
        throw TryAgain("writing " + path + " failed (" + said +
                       "); everything recorded so far is intact: check the disk and its quota");
      throw Error("reading or writing " + path + " failed (" + said + "): check the disk");
    case SQLITE_INTERRUPT:
      throw Error("the query took longer than its time limit");
    default:
      throw Error(path + ": " + said);
  }
}

Statement::Statement(sqlite3* db, std::string_view sql, const std::string& path)
    : db_(db), path_(path) {
  const int code = sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  if (code != SQLITE_OK) fail(code, db, path);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int64_t value) {
  sqlite3_bind_int64(statement_, ++bound_, value);
  return *this;
}

Statement& Statement::bind(double value) {
  sqlite3_bind_double(statement_, ++bound_, value);
  return *this;
}

Statement& Statement::bind_text(std::string_view value) {
  sqlite3_bind_text64(statement_, ++bound_, value.empty() ? "" : value.data(), value.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind_blob(std::string_view value) {
  sqlite3_bind_blob64(statement_, ++bound_, value.empty() ? "" : value.data(), value.size(),
                      SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind_null() {
  sqlite3_bind_null(statement_, ++bound_);
  return *this;
}

Statement& Statement::bind_cell(const Cell& cell) {
  if (const auto* integer = std::get_if<int64_t>(&cell)) return bind(*integer);
  if (const auto* number = std::get_if<double>(&cell)) return bind(*number);
  if (const auto* text = std::get_if<std::string>(&cell)) return bind_text(*text);
  if (const auto* list = std::get_if<JsonList>(&cell)) return bind_text(list->json);
  return bind_null();
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) {
    sqlite3_reset(statement_);
    fail(code, db_, path_);
  }
  return false;
}

void Statement::run() {
  while (step()) {
  }
}

void Statement::reset() {
  sqlite3_reset(statement_);
  if (bound_ > 0) sqlite3_clear_bindings(statement_);
  bound_ = 0;
}

std::string Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return data == nullptr
             ? std::string()
             : std::string(data, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
}

std::string_view Statement::blob(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return data == nullptr ? std::string_view()
                         : std::string_view(
                               data, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
}

Cell cell_of(sqlite3_stmt* statement, int column) {
  // The type is asked first: asking for the size of a number turns it into text.
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return sqlite3_column_int64(statement, column);
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
      return std::string(text, static_cast<size_t>(sqlite3_column_bytes(statement, column)));
    }
    case SQLITE_BLOB: {
      const auto* data = static_cast<const uint8_t*>(sqlite3_column_blob(statement, column));
      std::string hex;
      for (int i = 0; i < sqlite3_column_bytes(statement, column); ++i) {
        constexpr char kDigits[] = "0123456789abcdef";
        hex += kDigits[data[i] >> 4];
        hex += kDigits[data[i] & 15];
      }
      return hex;
    }
    default:
      return {};
  }
}

Cell Statement::cell(int column) const { return cell_of(statement_, column); }

Connection::Connection(const std::string& uri, int flags, const std::string& path) : path_(path) {
  const int code = sqlite3_open_v2(
      uri.c_str(), &db_, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      nullptr);
  if (code != SQLITE_OK) {
    try {
      fail(code, db_, path_);
    } catch (...) {
      sqlite3_close_v2(db_);
      throw;
    }
  }
}

Connection::~Connection() {
  statements_.clear();
  sqlite3_close_v2(db_);
}

Use Connection::prepared(std::string_view sql) {
  auto found = statements_.find(sql);
  if (found == statements_.end()) {
    found =
        statements_.emplace(std::string(sql), std::make_unique<Statement>(db_, sql, path_)).first;
  }
  return Use(*found->second);
}

void Connection::execute(const std::string& sql) {
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code, db_, path_);
}

int64_t Connection::pragma(const std::string& name) {
  Statement statement(db_, "PRAGMA " + name, path_);
  return statement.step() ? statement.integer(0) : 0;
}

}  // namespace headcount::store
