#include "coordinator/planner.h"

#include <malloc.h>
#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

#include "coordinator/view.h"
#include "schemas/error.h"

namespace headcount::coordinator {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::milliseconds(500);  // with the readers there are
constexpr auto kFarewell = std::chrono::seconds(2);         // for readers to come back at the end
constexpr size_t kMaxReaders = 8;                           // of those that get on
constexpr size_t kMaxThreads = 256;
constexpr auto kStuck = std::chrono::seconds(2);  // it neither computes nor says anything

/// A job in hand.
struct Reading {
  uint64_t number = 0;
  Clock::time_point since = {};
  Clock::time_point moved = {};  // it said something, or was seen to have computed
  clockid_t cpu_clock = {};      // of its thread
  int64_t cpu_ns = 0;
  bool forgotten = false;
  std::string doing = {};
};

/// Whether it may never come back: a dead mount takes no time of the processor, reading does.
bool is_stuck(Reading& reading) {
  timespec used{};
  if (clock_gettime(reading.cpu_clock, &used) == 0) {
    const int64_t ns = used.tv_sec * 1'000'000'000 + used.tv_nsec;
    if (std::exchange(reading.cpu_ns, ns) != ns) reading.moved = Clock::now();
  }
  return Clock::now() - reading.moved > kStuck;
}

}  // namespace

PlanReader read_files() {
  const auto shared = std::make_shared<datasets::SharedDatasets>();
  return [shared](const PlanJob& job, const experiments::Tell& tell) {
    PlanDone done{.number = job.number, .prepared = {}, .files = {}, .error = {}};
    done.prepared =
        experiments::prepare(job.text, job.file, job.root,
                             {.allowed = job.allowed, .tell = tell, .shared = shared.get()});
    if (done.prepared.sweep) done.files = files_digest(*done.prepared.sweep);
    return done;
  };
}

struct Planner::Impl : std::enable_shared_from_this<Planner::Impl> {
  explicit Impl(PlanReader read_job) : reader(std::move(read_job)) {}

  /// With `mutex` held. Where no thread can be had the readers there are go on.
  void add_reader() {
    try {
      std::thread([self = shared_from_this()] { self->work(); }).detach();
      ++n_readers;
    } catch (const std::system_error&) {
      return;
    }
  }

  /// With `mutex` held.
  bool wants_reader() {
    if (jobs.empty()) return false;
    if (n_readers == 0) return true;
    const auto n_stuck =
        static_cast<size_t>(std::count_if(in_hand.begin(), in_hand.end(), is_stuck));
    return in_hand.size() == n_readers &&
           n_readers < std::min(kMaxReaders + n_stuck, kMaxThreads) &&
           Clock::now() - in_hand.back().since > kPatience;
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [this] { return stopping || !jobs.empty(); });
      if (stopping) break;
      const PlanJob job = std::move(jobs.front());
      jobs.pop_front();
      const auto at = in_hand.insert(
          in_hand.end(), {.number = job.number, .since = Clock::now(), .moved = Clock::now()});
      pthread_getcpuclockid(pthread_self(), &at->cpu_clock);
      lock.unlock();
      PlanDone result = read(job, *at);
      lock.lock();
      if (!at->forgotten) done.push_back(std::move(result));
      in_hand.erase(at);
    }
    --n_readers;
    left.notify_all();
  }

  PlanDone read(const PlanJob& job, Reading& reading) {
    const auto tell = [&](const std::string& doing) {
      const std::lock_guard lock(mutex);
      if (stopping || reading.forgotten) throw Error("nobody wants it any more");
      reading.doing = doing;
      reading.moved = Clock::now();
    };
    PlanDone result;
    try {
      result = reader(job, tell);
    } catch (const std::bad_alloc&) {
      result.error = "there is not memory enough for the models' and datasets' descriptions";
    } catch (const std::exception& error) {
      result.error = error.what();
    }
    result.number = job.number;
    malloc_trim(0);  // reading takes several times what is kept of it
    return result;
  }

  PlanReader reader;
  std::mutex mutex;  // of everything below
  std::condition_variable wake, left;
  std::deque<PlanJob> jobs;
  std::list<Reading> in_hand;  // their order: who began first
  std::deque<PlanDone> done;
  size_t n_readers = 0;
  bool stopping = false;
};

Planner::Planner(PlanReader reader) : impl_(std::make_shared<Impl>(std::move(reader))) {}

Planner::~Planner() { stop(); }

void Planner::start(PlanJob job) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->jobs.push_back(std::move(job));
    if (impl_->wants_reader()) impl_->add_reader();
  }
  impl_->wake.notify_one();
}

std::optional<PlanDone> Planner::take() {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->wants_reader()) impl_->add_reader();
  if (impl_->done.empty()) return std::nullopt;
  PlanDone result = std::move(impl_->done.front());
  impl_->done.pop_front();
  return result;
}

void Planner::forget(uint64_t number) {
  const std::lock_guard lock(impl_->mutex);
  std::erase_if(impl_->jobs, [&](const PlanJob& job) { return job.number == number; });
  std::erase_if(impl_->done, [&](const PlanDone& done) { return done.number == number; });
  for (Reading& reading : impl_->in_hand) {
    if (reading.number == number) reading.forgotten = true;
  }
}

std::string Planner::doing(uint64_t number) const {
  const std::lock_guard lock(impl_->mutex);
  for (const auto& reading : impl_->in_hand) {
    if (reading.number != number) continue;
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - reading.since).count();
    return "reading " + (reading.doing.empty() ? "its files" : reading.doing) + ", for " +
           std::to_string(seconds) + " s";
  }
  size_t n_before = impl_->in_hand.size();
  for (const auto& job : impl_->jobs) {
    if (job.number == number) return std::to_string(n_before) + " others are read first";
    ++n_before;
  }
  return "";
}

bool Planner::stop() {
  std::unique_lock lock(impl_->mutex);
  impl_->stopping = true;
  impl_->wake.notify_all();
  return impl_->left.wait_for(lock, kFarewell, [this] { return impl_->n_readers == 0; });
}

}  // namespace headcount::coordinator
