// Opening, locking, transactions and the write-ahead log.
#include "store/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <map>

#include "schemas/error.h"
#include "schemas/try_again.h"
#include "store/impl.h"
#include "store/migrations.h"

namespace headcount::store {
namespace {

constexpr int kOpeningMs = 5000;  // for a reader that recovers the log after a crash
constexpr int kBusyMs = 200;      // a writer waits no longer for a lock: it has others to serve
constexpr int kCheckpointPages = 4000;  // 16 MiB of log: move it into the database
constexpr int kTruncatePages =
    16000;  // 64 MiB: also cut the file, which needs a moment without readers

void refuse_network(const std::string& directory) {
  struct statfs found {};
  if (statfs(directory.c_str(), &found) != 0) {
    throw Error("the state directory " + directory + " cannot be used: " + std::strerror(errno));
  }
  const std::string name = untrusted_file_system(static_cast<int64_t>(found.f_type));
  if (!name.empty()) {
    throw Error(
        "the state directory " + directory + " is on " + name +
        ", whose locks a database cannot trust: name a directory on a local disk with --state");
  }
}

int take_lock(const std::string& directory) {
  const std::string path = directory + "/lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    throw Error("the state directory " + directory + " cannot be written (" + std::strerror(errno) +
                "): check its permissions, or name another with --state");
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    char text[32] = {};
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);
    ::close(fd);
    const std::string pid = n > 0 ? std::string(text, static_cast<size_t>(n)) : "unknown";
    throw Error("another headcount (process " + pid.substr(0, pid.find('\n')) +
                ") is using the state directory " + directory +
                ": stop it first, or name another directory with --state");
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    // The lock itself holds; only the name of its holder is missing (a full disk says so at the
    // first commit).
  }
  return fd;
}

int remember_wal(void* impl, sqlite3*, const char*, int pages) {
  static_cast<int*>(impl)[0] = pages;
  return SQLITE_OK;
}

}  // namespace

std::string untrusted_file_system(int64_t f_type) {
  static const std::map<uint32_t, const char*> kKnown = {
      {0x6969, "NFS"},      {0x0bd00bd0, "Lustre"}, {0x19830326, "BeeGFS"}, {0x65735546, "FUSE"},
      {0xff534d42, "CIFS"}, {0xfe534d42, "SMB"},    {0x517b, "SMB"},        {0x00c36400, "Ceph"},
      {0x47504653, "GPFS"}, {0x5346414f, "AFS"},    {0x01021997, "9P"},
  };
  const auto found = kKnown.find(static_cast<uint32_t>(f_type));
  return found == kKnown.end() ? "" : found->second;
}

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string iso_time(int64_t ms) {
  const time_t seconds = ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  const size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  char whole[48];
  std::snprintf(whole, sizeof whole, "%.*s.%03dZ", static_cast<int>(n), text,
                static_cast<int>(ms % 1000));
  return whole;
}

Store::Impl::~Impl() {
  connection.reset();
  if (lock_fd >= 0) ::close(lock_fd);
}

Use Store::Impl::writing(std::string_view sql) {
  HC_CHECK(in_transaction);
  return prepared(sql);
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Store Store::open(const std::string& directory) {
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  refuse_network(directory);
  auto impl = std::make_unique<Impl>();
  impl->directory = directory;
  impl->lock_fd = take_lock(directory);
  const std::string path = directory + "/" + kFileName;
  impl->connection =
      std::make_unique<Connection>(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, path);
  auto& connection = *impl->connection;
  sqlite3_busy_timeout(connection.raw(), kOpeningMs);
  connection.execute(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA "
      "cache_size = -65536");
  migrate(connection);
  sqlite3_busy_timeout(connection.raw(), kBusyMs);
  sqlite3_wal_hook(connection.raw(), remember_wal,
                   &impl->wal_pages);  // replaces SQLite's own automatic checkpoint
  return Store(std::move(impl));
}

Store Store::open_read_only(const std::string& directory) {
  const std::string path = directory + "/" + kFileName;
  if (access(path.c_str(), F_OK) != 0) {
    throw Error("there is no database in " + directory +
                ": run or submit a spec first, or name the state directory with --state");
  }
  auto impl = std::make_unique<Impl>();
  impl->directory = directory;
  const auto open_as = [&](const std::string& uri) {
    impl->connection = std::make_unique<Connection>(uri, SQLITE_OPEN_READONLY, path);
    sqlite3_busy_timeout(impl->connection->raw(), kOpeningMs);
    check_version(*impl->connection);
  };
  try {
    open_as(path);
  } catch (const Error&) {
    // A database at rest in a folder we may not write: there is no log to share, so it can be read
    // as it lies.
    struct stat log {};
    const bool at_rest = stat((path + "-wal").c_str(), &log) != 0 || log.st_size == 0;
    if (!at_rest || access(directory.c_str(), W_OK) == 0 || access(path.c_str(), R_OK) != 0) throw;
    open_as("file:" + path + "?immutable=1");
  }
  return Store(std::move(impl));
}

Store Store::in_memory() {
  auto impl = std::make_unique<Impl>();
  impl->connection = std::make_unique<Connection>(
      ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "the in-memory database");
  impl->connection->execute("PRAGMA foreign_keys = ON");
  migrate(*impl->connection);
  return Store(std::move(impl));
}

void Store::transaction(const std::function<void()>& body) {
  HC_CHECK(!impl_->in_transaction);
  impl_->prepared("BEGIN IMMEDIATE")->run();
  impl_->in_transaction = true;
  impl_->written_bytes = 0;
  const int changes_before = sqlite3_total_changes(impl_->connection->raw());
  try {
    body();
    // After some errors SQLite takes all back by itself: whoever caught such a one did not know.
    if (sqlite3_get_autocommit(impl_->connection->raw()) != 0)
      throw TryAgain("a transaction of " + impl_->connection->path() + " was taken back");
    impl_->prepared("COMMIT")->run();
  } catch (...) {
    impl_->in_transaction = false;
    impl_->tags.clear();
    impl_->workers.clear();
    impl_->shards.clear();
    impl_->ask_for_room();
    // SQLite has rolled back by itself after some errors; a failing ROLLBACK must not hide the
    // first error.
    if (sqlite3_get_autocommit(impl_->connection->raw()) == 0)
      sqlite3_exec(impl_->connection->raw(), "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
  impl_->in_transaction = false;
  if (impl_->written_bytes > 0) impl_->room_bytes = kRoomBytes;
  if (sqlite3_total_changes(impl_->connection->raw()) != changes_before) ++impl_->n_commits;
  impl_->after_commit();
}

void Store::Impl::after_commit() {
  if (wal_pages < kCheckpointPages) return;
  const auto now = std::chrono::steady_clock::now();
  int mode = SQLITE_CHECKPOINT_PASSIVE;
  if (wal_pages >= kTruncatePages) {
    if (now - truncated_at < std::chrono::seconds(1)) return;
    truncated_at = now;
    mode = SQLITE_CHECKPOINT_TRUNCATE;
    sqlite3_busy_timeout(connection->raw(), 20);  // wait no longer than that for readers
  }
  // Not succeeding now is no error: the log is complete, and the next commit tries again.
  if (sqlite3_wal_checkpoint_v2(connection->raw(), nullptr, mode, nullptr, nullptr) == SQLITE_OK)
    wal_pages = 0;
  sqlite3_busy_timeout(connection->raw(), kBusyMs);
}

// Of a transaction that failed, where the disk has no room for it.
void Store::Impl::ask_for_room() {
  struct statvfs disk {};
  if (directory.empty() || statvfs(directory.c_str(), &disk) != 0) return;
  const int64_t needed = kRoomBytes + written_bytes;
  if (static_cast<int64_t>(disk.f_bavail * disk.f_frsize) < needed)
    room_bytes = std::max(room_bytes, needed);
}

// Where a full disk let a short transaction through, the next one would fail again.
void Store::probe() {
  impl_->prepared("BEGIN IMMEDIATE")->run();
  impl_->prepared("ROLLBACK")->run();
  if (impl_->directory.empty()) return;
  const std::string path = impl_->directory + "/room";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  unlink(path.c_str());  // first: a kill leaves nothing behind
  const int failed = fd < 0 ? errno : posix_fallocate(fd, 0, impl_->room_bytes);
  if (fd >= 0) ::close(fd);
  if (failed != 0)
    throw TryAgain("the disk holding " + impl_->directory + " has no room (" +
                   std::strerror(failed) + "); everything recorded so far is intact: free " +
                   std::to_string(impl_->room_bytes >> 20) + " MB or more");
}

void Store::checkpoint() {
  sqlite3_busy_timeout(impl_->connection->raw(), 20);
  sqlite3_wal_checkpoint_v2(impl_->connection->raw(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                            nullptr);
  sqlite3_busy_timeout(impl_->connection->raw(), kBusyMs);
}

int64_t Store::n_commits() const { return impl_->n_commits; }

void Store::set_meta(const std::string& name, const std::string& value) {
  impl_
      ->writing(
          "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
      ->bind_text(name)
      .bind_text(value)
      .run();
}

std::optional<std::string> Store::meta(const std::string& name) const {
  auto statement = impl_->prepared("SELECT value FROM meta WHERE name = ?");
  if (!statement->bind_text(name).step()) return std::nullopt;
  return statement->text(0);
}

}  // namespace headcount::store
