// A file that is either whole or as it was. It is written beside its name (".NAME.part-N"),
// synced, renamed, and its folder synced: neither a crash nor a full disk leaves half a file under
// the name. What a killed process leaves beside it is read by nobody, and gone when the file is
// written next. Not for files that grow (logs, the worker's journal, the database).
#pragma once

#include <string>
#include <string_view>

namespace headcount {

/// Who may read a new file: those the umask lets, or its owner alone (mode 0600).
enum class Readers { kUmask, kOwner };

/// `path` holds exactly `bytes`, on disk, when it returns. A pipe or device of that name, and
/// whatever lies in /dev or /proc (/dev/stdout), is written into instead. Throws TryAgain where what went wrong may pass (no room, no
/// quota, an I/O error, too many open files, a server away), else Error, both naming the file and how to mend it.
/// The file is then as it was; where only its folder could not be synced, it may be the new one.
void write_file(const std::string& path, std::string_view bytes, Readers readers = Readers::kUmask);

/// The folder is there when it returns, of mode 0700 if it was not. Throws like write_file.
void make_private_folder(const std::string& path);

/// What was made or renamed in the folder of `path` is on disk when it returns. Throws like
/// write_file.
void sync_folder_of(const std::string& path);

/// The same for a file written in pieces, or by somebody else into the one lent. Until it
/// takes its name nothing has changed; if it never does, nothing is left. Throws like write_file.
class NewFile {
 public:
  explicit NewFile(std::string path, Readers readers = Readers::kUmask);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  const std::string& beside() const { return beside_; }
  void write(std::string_view bytes);
  /// beside(), for somebody else (SQLite) to write: unlocked, as some file systems have but one
  /// kind of lock. Another writer of the same file may take it for abandoned: then it never takes
  /// its name, which is an Error.
  const std::string& lend();

  /// Whole and on disk under its name, in place of what had it. The last call.
  void replace();
  /// The same where nothing has that name; else false, and nothing changes.
  bool claim();
  /// replace() but for sync_folder_of: where this throws, nothing was renamed.
  void take_name();

 private:
  void sync();

  std::string path_, beside_;
  int fd_ = -1;
  bool renamed_ = false;
};

}  // namespace headcount
