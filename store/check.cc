// Part of store/store.h.
// `headcount store`: whether everything is as it was recorded, and a copy of it in one file. Both
// read while a coordinator writes, and hold no snapshot of the log for long but for the copy.
#include <sys/stat.h>

#include "schemas/error.h"
#include "schemas/new_file.h"
#include "store/impl.h"

namespace headcount::store {
namespace {

constexpr int64_t kSliceRows = 256;
constexpr int kSlicePages = 2048;  // 8 MiB

// Everything, as of the moment it begins: pages that the coordinator changes meanwhile do not
// matter.
void copy_pages(Connection& from, Connection& to, const Store::Progress& progress) {
  from.execute("BEGIN");
  from.pragma("schema_version");  // the snapshot is taken by the first read
  sqlite3_backup* backup = sqlite3_backup_init(to.raw(), "main", from.raw(), "main");
  int code = SQLITE_OK;
  while (backup != nullptr && code == SQLITE_OK) {
    code = sqlite3_backup_step(backup, kSlicePages);
    const int64_t n_all = sqlite3_backup_pagecount(backup);
    progress(n_all - sqlite3_backup_remaining(backup), n_all);
  }
  sqlite3_backup_finish(backup);
  sqlite3_exec(from.raw(), "COMMIT", nullptr, nullptr, nullptr);
  if (code != SQLITE_DONE) fail(backup == nullptr ? SQLITE_ERROR : code, to.raw(), to.path());
}

}  // namespace

Checked Store::check(const Progress& progress) const {
  Checked checked;
  {
    auto pages = impl_->prepared("PRAGMA integrity_check");
    while (pages->step()) {
      if (pages->text(0) != "ok") checked.bad.push_back("the database file: " + pages->text(0));
    }
  }
  const int64_t n_before = n_results();
  std::vector<StageId> tables;
  {
    auto s = impl_->prepared("SELECT stage FROM stage_table ORDER BY stage");
    while (s->step()) tables.push_back(s->integer(0));
  }
  const int64_t n_all = n_before + std::ssize(tables);
  int64_t last = 0;
  for (bool more = true; more;) {
    more = false;
    auto s = impl_->prepared(
        "SELECT r.hash, r.data, r.rowid, shard.key, tag.text FROM result r JOIN shard ON shard.id "
        "= r.shard JOIN tag ON tag.id = r.tag WHERE r.rowid > ? ORDER BY r.rowid LIMIT ?");
    s->bind(last).bind(kSliceRows);
    while (s->step()) {
      more = true;
      last = s->integer(2);
      ++checked.n_results;
      const std::string damage = stored_bytes(impl_->directory, *s, 0, 1).damage;
      if (!damage.empty())
        checked.bad.push_back(damage_text(digest_from_bytes(s->blob(3)), s->text(4), damage));
    }
    progress(checked.n_results, n_all);
  }
  for (const StageId stage : tables) {
    try {
      const auto whole = table(stage);
      if (!whole) continue;  // opened again meanwhile
      const std::string why = impl_->rows_differ(stage, *whole);
      if (!why.empty()) checked.bad.push_back(why);
    } catch (const Damaged& error) {
      checked.bad.emplace_back(error.what());
    }
    progress(checked.n_results + ++checked.n_tables, n_all);
  }
  return checked;
}

void Store::backup(const std::string& file, const Progress& progress) const {
  struct stat found {};
  if (::stat(file.c_str(), &found) == 0)
    throw Error(file + " exists already: name a new file, nothing is overwritten");
  NewFile part(file, Readers::kOwner);
  {
    Connection copy(part.lend(), SQLITE_OPEN_READWRITE, part.beside());
    copy_pages(*impl_->connection, copy, progress);
    // One file: no log beside it, and the results that lie beside the database in it.
    copy.execute("PRAGMA journal_mode = DELETE");
    std::vector<int64_t> beside;
    {
      auto s = copy.prepared("SELECT rowid FROM result WHERE data IS NULL");
      while (s->step()) beside.push_back(s->integer(0));
    }
    for (const int64_t row : beside) {
      std::string bytes;
      {
        auto s = copy.prepared("SELECT hash, data FROM result WHERE rowid = ?");
        if (!s->bind(row).step()) continue;
        StoredBytes stored = stored_bytes(impl_->directory, *s, 0, 1);
        // A missing file stays missing, and is computed again where the copy is restored.
        if (!stored.damage.empty()) continue;
        bytes = std::move(stored.bytes);
      }
      copy.prepared("UPDATE result SET data = ? WHERE rowid = ?")->bind_blob(bytes).bind(row).run();
    }
  }
  part.replace();
}

}  // namespace headcount::store
