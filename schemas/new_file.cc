#include "schemas/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "schemas/try_again.h"

namespace headcount {
namespace {

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

std::string mend(const std::string& path, int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return ": free some space";
    case EACCES:
    case EPERM:
    case EROFS:
      return ": may this user write into " + folder_of(path) + "?";
    case ENOENT:
    case ENOTDIR:
      return ": make the folder " + folder_of(path) + " first";
    case EIO:
      return ": check the disk";
    default:
      return "";
  }
}

[[noreturn]] void cannot_write(const std::string& path, int error) {
  const std::string why = "cannot write " + path + ": " + strerror(error) + mend(path, error);
  for (const int may_pass : {ENOSPC, EDQUOT, EIO, EMFILE, ENFILE, EAGAIN, ESTALE, ETIMEDOUT}) {
    if (error == may_pass) throw TryAgain(why);
  }
  throw Error(why);
}

void write_into(int fd, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) cannot_write(path, errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// /dev/stdout may be a link to a regular file: its name is not ours to replace.
bool is_pipe_or_device(const std::string& path) {
  if (path.starts_with("/dev/") || path.starts_with("/proc/")) return true;
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 && !S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode);
}

/// What a killed process left: whoever still writes a file holds its lock.
void remove_if_abandoned(const std::string& file) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  struct stat opened {};
  struct stat named {};
  // It may have taken its name since, and another file this one.
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::fstat(fd, &opened) == 0 &&
      ::stat(file.c_str(), &named) == 0 && opened.st_ino == named.st_ino) {
    ::unlink(file.c_str());
  }
  ::close(fd);
}

/// Locks a file just made; false where it was taken for abandoned in between.
bool keeps(int fd) {
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;  // or no locks there
  struct stat found {};
  return ::fstat(fd, &found) == 0 && found.st_nlink > 0;
}

}  // namespace

NewFile::NewFile(std::string path, Readers readers) : path_(std::move(path)) {
  const std::string name = std::filesystem::path(path_).filename();
  const std::string start = folder_of(path_) + "/." + name + ".part-";
  const mode_t mode = readers == Readers::kOwner ? 0600 : 0666;
  // Another process or thread may be writing the same file: the next number.
  for (int n = 1; fd_ < 0; ++n) {
    beside_ = start + std::to_string(n);
    remove_if_abandoned(beside_);
    fd_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd_ < 0 && errno != EEXIST) cannot_write(path_, errno);
    if (fd_ >= 0 && !keeps(fd_)) ::close(std::exchange(fd_, -1));
  }
}

NewFile::~NewFile() {
  if (!renamed_) ::unlink(beside_.c_str());
  ::close(fd_);
}

const std::string& NewFile::lend() {
  ::flock(fd_, LOCK_UN);
  return beside_;
}

void NewFile::write(std::string_view bytes) { write_into(fd_, path_, bytes); }

void NewFile::sync() {
  if (::fsync(fd_) != 0) cannot_write(path_, errno);
}

void NewFile::take_name() {
  sync();
  if (::rename(beside_.c_str(), path_.c_str()) != 0) cannot_write(path_, errno);
  renamed_ = true;
}

void NewFile::replace() {
  take_name();
  sync_folder_of(path_);
}

bool NewFile::claim() {
  sync();
  if (::link(beside_.c_str(), path_.c_str()) != 0) {
    if (errno == EEXIST) return false;
    cannot_write(path_, errno);
  }
  ::unlink(beside_.c_str());
  renamed_ = true;
  sync_folder_of(path_);
  return true;
}

void write_file(const std::string& path, std::string_view bytes, Readers readers) {
  if (!is_pipe_or_device(path)) {
    NewFile file(path, readers);
    file.write(bytes);
    return file.replace();
  }
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) cannot_write(path, errno);
  try {
    write_into(fd, path, bytes);
  } catch (...) {
    ::close(fd);
    throw;
  }
  ::close(fd);
}

void make_private_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) cannot_write(path, errno);
}

void sync_folder_of(const std::string& path) {
  const int fd = ::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && errno == EACCES) return;  // one may write into a folder one may not read
  if (fd < 0) cannot_write(path, errno);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (error != 0 && error != EINVAL)
    cannot_write(path, error);  // EINVAL: this kind cannot be synced
}

}  // namespace headcount
