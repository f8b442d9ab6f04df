// Part of store/store.h.
// `headcount query`: somebody else's SQL, read-only, without ATTACH, within a time limit.
#include <cctype>

#include "schemas/bad_input.h"
#include "store/impl.h"

namespace headcount::store {
namespace {

// What a reading statement may do; ATTACH, PRAGMA (but for descriptions of tables), transactions
// and every write are refused.
int authorize(void*, int action, const char* first, const char*, const char*, const char*) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_PRAGMA: {
      const std::string name = first != nullptr ? first : "";
      return name == "table_info" || name == "table_list" || name == "table_xinfo" ? SQLITE_OK
                                                                                   : SQLITE_DENY;
    }
    default:
      return SQLITE_DENY;
  }
}

int past(void* deadline) {
  return std::chrono::steady_clock::now() >
                 *static_cast<std::chrono::steady_clock::time_point*>(deadline)
             ? 1
             : 0;
}

// The connection's guards, on for one query.
class Guards {
 public:
  Guards(sqlite3* db, double seconds)
      : db_(db),
        deadline_(std::chrono::steady_clock::now() +
                  std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6))) {
    sqlite3_set_authorizer(db_, authorize, nullptr);
    sqlite3_progress_handler(db_, 1000, past, &deadline_);
  }
  Guards(const Guards&) = delete;
  ~Guards() {
    sqlite3_set_authorizer(db_, nullptr, nullptr);
    sqlite3_progress_handler(db_, 0, nullptr, nullptr);
  }
  bool expired() const { return std::chrono::steady_clock::now() > deadline_; }

 private:
  sqlite3* db_;
  std::chrono::steady_clock::time_point deadline_;
};

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

bool blank(const char* text) {
  for (; *text != '\0'; ++text) {
    if (std::isspace(static_cast<unsigned char>(*text)) == 0 && *text != ';') return false;
  }
  return true;
}

}  // namespace

Store::Answer Store::query(const std::string& sql, double seconds) const {
  sqlite3* db = impl_->connection->raw();
  const Guards guards(db, seconds);
  const char* rest = nullptr;
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v2(db, sql.c_str(), -1, &raw, &rest);
  const std::unique_ptr<sqlite3_stmt, Finalize> statement(raw);
  if (code == SQLITE_AUTH) {
    throw BadInput(
        "a query only reads: SELECT over head_importance, scores, diagnostics, shards, attempts "
        "(docs/database.md); ATTACH, PRAGMA and writes are refused");
  }
  if (code != SQLITE_OK)
    throw BadInput("the query is not understood: " + std::string(sqlite3_errmsg(db)));
  if (raw == nullptr || sqlite3_stmt_readonly(raw) == 0)
    throw BadInput("a query is one SELECT statement");
  if (!blank(rest)) throw BadInput("a query is one statement, found more after the first ';'");
  Answer answer;
  for (int i = 0; i < sqlite3_column_count(raw); ++i)
    answer.columns.emplace_back(sqlite3_column_name(raw, i));
  int step = sqlite3_step(raw);
  for (; step == SQLITE_ROW; step = sqlite3_step(raw)) {
    auto& row = answer.rows.emplace_back();
    for (int i = 0; i < sqlite3_column_count(raw); ++i) row.push_back(cell_of(raw, i));
  }
  if (step == SQLITE_INTERRUPT || (step != SQLITE_DONE && guards.expired())) {
    throw Error("the query took longer than " + shortest(seconds) +
                " s and was stopped: narrow it, or copy the database and use sqlite3");
  }
  if (step != SQLITE_DONE) fail(step, db, impl_->connection->path());
  return answer;
}

}  // namespace headcount::store
