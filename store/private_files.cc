#include "store/private_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "store/store.h"

namespace headcount::store {
namespace {

namespace fs = std::filesystem;

void close_to_others(const std::string& path, std::vector<std::string>& said) {
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0 || found.st_uid != geteuid()) return;
  const bool plain = S_ISREG(found.st_mode) || S_ISDIR(found.st_mode);
  if (!plain || (found.st_mode & 077) == 0 || (found.st_mode & S_ISVTX) != 0) return;
  if (chmod(path.c_str(), found.st_mode & 0700) == 0)
    said.push_back(path + " was open to other users of this machine: now it is not");
}

bool is_ours(const std::string& name) {
  for (const char* start : {kFileName, "coordinator.", "lock", "results", "keys", "run"}) {
    if (name.rfind(start, 0) == 0) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> make_private(const std::string& directory) {
  std::vector<std::string> said;
  if (!fs::exists(fs::path(directory) / kFileName)) return said;
  close_to_others(directory, said);
  std::error_code unreadable;  // which the store will say
  for (const auto& entry : fs::directory_iterator(directory, unreadable)) {
    if (is_ours(entry.path().filename())) close_to_others(entry.path(), said);
  }
  return said;
}

}  // namespace headcount::store
