#include "coordinator/alarm_limit.h"

namespace headcount::coordinator {
namespace {

constexpr Millis kMinute = 60'000;
constexpr int64_t kInAMinute = 20;

}  // namespace

bool AlarmLimit::admits(const WorkerKey& worker, Millis now) {
  Count& count = counts_[worker];
  if (now - count.since >= kMinute) {
    count.since = now;
    count.n = 0;
  }
  const bool kept = ++count.n <= kInAMinute && count.n_kept < in_all_;
  ++(kept ? count.n_kept : count.n_left_out);
  return kept;
}

std::vector<std::pair<WorkerKey, int64_t>> AlarmLimit::left_out(Millis now) {
  std::vector<std::pair<WorkerKey, int64_t>> found;
  for (auto& [worker, count] : counts_) {
    if (count.n_left_out == 0 || now - count.since < kMinute) continue;
    found.emplace_back(worker, std::exchange(count.n_left_out, 0));
  }
  return found;
}

}  // namespace headcount::coordinator
