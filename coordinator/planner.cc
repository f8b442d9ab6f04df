#include "coordinator/planner.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "coordinator/view.h"

namespace headcount::coordinator {

struct Planner::Impl {
  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [this] { return stopping || !jobs.empty(); });
      if (stopping) return;
      const PlanJob job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      PlanDone result{.number = job.number, .prepared = {}, .files = {}, .error = {}};
      {
        const std::lock_guard reading(files);
        try {
          result.prepared = experiments::prepare(job.text, job.file, job.root, job.allowed);
          if (result.prepared.sweep) result.files = files_digest(*result.prepared.sweep);
        } catch (const std::exception& error) {
          result.error = error.what();
        }
      }
      lock.lock();
      done.push_back(std::move(result));
    }
  }

  std::mutex mutex;  // of everything below
  std::condition_variable wake;
  std::deque<PlanJob> jobs;
  std::deque<PlanDone> done;
  bool stopping = false;
  std::mutex files;  // held while models and datasets are read
  std::thread thread;
};

Planner::Planner() : impl_(std::make_unique<Impl>()) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->work(); });
}

Planner::~Planner() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_one();
  impl_->thread.join();
}

void Planner::start(PlanJob job) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->jobs.push_back(std::move(job));
  }
  impl_->wake.notify_one();
}

std::optional<PlanDone> Planner::take() {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->done.empty()) return std::nullopt;
  PlanDone result = std::move(impl_->done.front());
  impl_->done.pop_front();
  return result;
}

void Planner::apart(const std::function<void()>& body) {
  const std::lock_guard reading(impl_->files);
  body();
}

}  // namespace headcount::coordinator
