#include "worker/devices.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "schemas/error.h"
#include "schemas/new_file.h"

namespace headcount::worker {
namespace {

bool all_digits(std::string_view text) {
  return !text.empty() && text.size() < 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

void check_device(const std::string& device) {
  if (device == "cpu") return;
  if (device.rfind("cuda:", 0) == 0 && all_digits(std::string_view(device).substr(5))) return;
  throw Error("--device " + device + ": expected cpu or cuda:N");
}

std::vector<std::string> default_devices(const char* visible, int n_nvidia) {
  int n = n_nvidia;
  if (visible != nullptr) {
    const std::string_view list = visible;
    const bool none = list.empty() || list.rfind("-1", 0) == 0;
    n = none ? 0 : 1 + static_cast<int>(std::count(list.begin(), list.end(), ','));
    n = std::min(n, n_nvidia);
  }
  if (n == 0) return {"cpu"};
  std::vector<std::string> devices;
  for (int i = 0; i < n; ++i) devices.push_back("cuda:" + std::to_string(i));
  return devices;
}

std::vector<std::string> found_devices() {
  int n_nvidia = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", ignored)) {
    const std::string name = entry.path().filename();
    if (name.rfind("nvidia", 0) == 0 && all_digits(std::string_view(name).substr(6))) ++n_nvidia;
  }
  return default_devices(std::getenv("CUDA_VISIBLE_DEVICES"), n_nvidia);
}

int usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

std::vector<std::string> runner_devices(const std::vector<std::string>& devices, int runners,
                                        int threads, int cpus) {
  std::vector<std::string> list;
  for (const std::string& device : devices) {
    int n = runners;
    if (n == 0) n = device == "cpu" ? std::max(1, cpus / std::max(1, threads)) : 1;
    list.insert(list.end(), static_cast<size_t>(n), device);
  }
  return list;
}

uint64_t next_incarnation(const std::string& directory, uint64_t now_us) {
  const std::string file = directory + "/incarnation";
  uint64_t last = 0;
  std::ifstream(file) >> last;
  const uint64_t next = std::max(last + 1, now_us);
  write_file(file, std::to_string(next) + "\n", Readers::kOwner);
  return next;
}

}  // namespace headcount::worker
