#include "cluster/transport/ports.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

namespace headcount::transport {
namespace {

namespace fs = std::filesystem;

constexpr int kFirst = 7400, kLast = 65535, kTried = 100;

// "socket:[inode]" of everything that listens on the port.
std::set<std::string> listeners(int port) {
  std::set<std::string> found;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream in(table);
    std::string line;
    std::getline(in, line);  // the names of its columns
    while (std::getline(in, line)) {
      std::istringstream words(line);
      std::string number, local, remote, state, queues, timer, retries, user, timeout, inode;
      words >> number >> local >> remote >> state >> queues >> timer >> retries >> user >>
          timeout >> inode;
      const size_t colon = local.rfind(':');
      if (state != "0A" || colon == std::string::npos) continue;  // 0A: TCP_LISTEN
      if (std::stoi(local.substr(colon + 1), nullptr, 16) == port)
        found.insert("socket:[" + inode + "]");
    }
  }
  return found;
}

bool has_one_of(const fs::path& process, const std::set<std::string>& sockets) {
  std::error_code error;
  for (const auto& file : fs::directory_iterator(process / "fd", error)) {
    if (sockets.contains(fs::read_symlink(file.path(), error).string())) return true;
  }
  return false;
}

}  // namespace

std::vector<int> ports_for(const std::string& name) {
  int low = 32768, high = 60999;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> low >> high;
  const int first = low > kFirst ? kFirst : high + 1;
  const int n = (low > kFirst ? low : kLast + 1) - first;
  std::vector<int> ports;
  const int start = static_cast<int>(std::hash<std::string>()(name) % 1'000'003);
  for (int i = 0; i < std::min(n, kTried); ++i) ports.push_back(first + (start + i) % n);
  return ports;
}

std::string holder_of(int port) {
  const auto sockets = listeners(port);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (!has_one_of(entry.path(), sockets)) continue;
    std::string program;
    std::getline(std::ifstream(entry.path() / "comm"), program);
    return "process " + pid + " (" + program + ")";
  }
  return "another user's program";
}

}  // namespace headcount::transport
