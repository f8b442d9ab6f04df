// Between micro-batches the progress callback reads what has come, writes what is due and notices a
// parent that is gone.
#include "worker/runner/serve.h"

#include <c10/util/Exception.h>

#include <chrono>
#include <deque>
#include <new>

#include "cluster/process/process.h"
#include "experiments/run/run.h"
#include "schemas/error.h"
#include "schemas/version.h"
#include "worker/runner/device.h"
#include "worker/runner/model_cache.h"
#include "worker/runner/tag.h"

namespace headcount::runner {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kProgressInterval = std::chrono::milliseconds(200);

/// The parent closed the socket while a shard was being computed: nobody waits for it any more.
struct ParentGone {};

class Server {
 public:
  explicit Server(const ServeOptions& options)
      : stream_(options.fd, kMaxFrameBytes),
        device_(parse_device(options.device)),
        memory_{.bytes = nominal_memory(device_) / static_cast<uint64_t>(options.share),
                .gpu = !device_.is_cpu()},
        cache_(device_, memory_) {
    make_deterministic(options.threads);
    send(RunnerReady{.info = {.device = options.device,
                              .tag = numerics_tag(device_, options.threads),
                              .memory_bytes = static_cast<int64_t>(memory_.bytes)},
                     .version = kVersion});
  }

  int run() {
    try {
      while (true) {
        exchange();
        if (!queue_.empty()) {
          const RunShard task = std::move(queue_.front());
          queue_.pop_front();
          if (!compute(task)) return 1;
        } else {
          stream_.wait(-1);
        }
      }
    } catch (const ParentGone&) {
      return 0;
    }
  }

 private:
  void send(const RunnerMessage& message) { stream_.send(encode(message)); }

  /// Takes in what has come and writes what the socket takes.
  void exchange() {
    stream_.flush();
    for (const std::string& frame : stream_.receive()) {
      RunnerMessage message = decode_runner_message(frame);
      auto* task = std::get_if<RunShard>(&message);
      if (!task) throw Error("the worker daemon sent its runner something other than a shard");
      queue_.push_back(std::move(*task));
    }
    if (stream_.closed()) throw ParentGone();
  }

  /// Everything written, before a computation that may take long or an exit.
  void drain() {
    while (!stream_.flush()) {
      exchange();
      stream_.wait(-1);
    }
  }

  /// Computes one shard and reports it; false: the device is lost.
  bool compute(const RunShard& task) {
    const Clock::time_point begin = Clock::now();
    try {
      const Shard shard = decode_shard(task.shard);
      const models::Model& model = cache_.get(task.model_path, shard);
      Clock::time_point last = begin;
      const Result result = experiments::run(
          shard, model,
          [&](double share) {
            exchange();
            if (Clock::now() - last < kProgressInterval) return;
            last = Clock::now();
            send(RunnerProgress{.key = task.key, .progress = share});
          },
          memory_);
      const std::chrono::duration<double> seconds = Clock::now() - begin;
      send(RunnerDone{.key = task.key, .seconds = seconds.count(), .result = encode(result)});
    } catch (const std::exception& error) {
      const Cause cause = cause_of(error, nearly_full(device_));
      send(RunnerFailed{.key = task.key, .cause = cause, .message = message_of(error)});
      if (cause == Cause::kCuda) {
        drain();
        return false;
      }
    }
    return true;
  }

  process::FrameStream stream_;
  c10::Device device_;
  experiments::DeviceMemory memory_;
  ModelCache cache_;
  std::deque<RunShard> queue_;
};

}  // namespace

Cause cause_of(const std::exception& error, bool device_full) {
  if (dynamic_cast<const ModelRefused*>(&error)) return Cause::kModelRefused;
  if (dynamic_cast<const std::bad_alloc*>(&error)) return Cause::kOutOfMemory;
  // LibTorch throws one class for everything; its messages are what tells memory and device errors
  // apart.
  const std::string text = error.what();
  for (const char* sign :
       {"out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED"}) {
    if (text.find(sign) != std::string::npos) return Cause::kOutOfMemory;
  }
  // cuBLAS cannot be initialised on a full GPU, nor on one whose libraries do not match.
  if (device_full && text.find("CUBLAS_STATUS_NOT_INITIALIZED") != std::string::npos)
    return Cause::kOutOfMemory;
  for (const char* sign : {"CUDA error", "CUBLAS_STATUS", "device-side assert"}) {
    if (text.find(sign) != std::string::npos) return Cause::kCuda;
  }
  return Cause::kException;
}

std::string message_of(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  std::string text = torch ? torch->what_without_backtrace() : error.what();
  constexpr size_t kLongest = 2000;
  if (text.size() > kLongest) text.resize(kLongest);
  return text;
}

int serve(const ServeOptions& options) { return Server(options).run(); }

}  // namespace headcount::runner
