#include "experiments/allowed_paths.h"

#include <algorithm>
#include <deque>
#include <filesystem>

#include "schemas/error.h"

namespace headcount::experiments {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;  // as the kernel follows

/// Unlike weakly_canonical it follows links to nowhere too: whether something is at the end must
/// not be seen from outside.
fs::path destination(const std::string& path) {
  const fs::path whole = fs::absolute(path);
  std::deque<fs::path> parts(whole.begin(), whole.end());
  fs::path at = "/";
  for (int links = 0; !parts.empty();) {
    const fs::path part = parts.front();
    parts.pop_front();
    if (part == ".." || part == "." || part.empty() || part.is_absolute()) {
      if (part == "..") at = at.parent_path();
      if (part.is_absolute()) at = part;
      continue;
    }
    std::error_code unreadable;  // taken as it is written
    const fs::path next = at / part;
    const bool is_link = fs::is_symlink(fs::symlink_status(next, unreadable));
    const fs::path target = is_link ? fs::read_symlink(next, unreadable) : fs::path();
    if (target.empty()) {
      at = next;
      continue;
    }
    if (++links > kMaxLinks) throw Error(path + " leads through too many links");
    parts.insert(parts.begin(), target.begin(), target.end());
  }
  return at;
}

bool lies_in(const fs::path& path, const fs::path& directory) {
  const auto [end, differs] =
      std::mismatch(directory.begin(), directory.end(), path.begin(), path.end());
  return end == directory.end();
}

/// Also under another name, by a bind mount.
bool lies_in_state(const fs::path& path, const std::string& state) {
  if (lies_in(path, destination(state))) return true;
  std::error_code not_there;
  for (fs::path above = path; above != above.parent_path(); above = above.parent_path()) {
    if (fs::equivalent(above, state, not_there)) return true;
  }
  return false;
}

bool anywhere(const AllowedPaths& allowed) { return !allowed.within && allowed.state.empty(); }

fs::path checked(const AllowedPaths& allowed, const std::string& path, const std::string& named) {
  if (anywhere(allowed)) return path;
  const fs::path end = destination(path);
  const auto holds = [&](const std::string& directory) {
    return lies_in(end, destination(directory));
  };
  if (allowed.within && std::none_of(allowed.within->begin(), allowed.within->end(), holds))
    throw Error(named +
                " does not lie where this key may read: in the coordinator's --root, or in an "
                "--allow-path it was started with");
  if (!allowed.state.empty() && lies_in_state(end, allowed.state))
    throw Error(named + " lies in the coordinator's state directory, which no spec may read");
  return end;
}

}  // namespace

std::string allowed_file(const AllowedPaths& allowed, const std::string& path) {
  return checked(allowed, path, path).string();
}

std::string allowed_directory(const AllowedPaths& allowed, const std::string& path) {
  const fs::path end = checked(allowed, path, path);
  if (anywhere(allowed)) return path;
  std::error_code unreadable;  // whoever opens it says so
  for (const auto& entry : fs::directory_iterator(end, unreadable)) {
    if (entry.is_symlink(unreadable)) checked(allowed, entry.path().string(), path);
  }
  return end.string();
}

}  // namespace headcount::experiments
