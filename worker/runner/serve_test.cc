// The runner over a real socketpair, as a worker daemon sees it, on the shipped model.
#include "worker/runner/serve.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "cluster/process/process.h"
#include "experiments/datasets/addition.h"
#include "experiments/datasets/dataset.h"
#include "experiments/kinds/evaluate/evaluate.h"
#include "experiments/run/run.h"
#include "schemas/error.h"
#include "schemas/version.h"
#include "worker/runner/device.h"
#include "worker/runner/model_cache.h"
#include "worker/runner/tag.h"

namespace headcount::runner {
namespace {

constexpr const char* kModel = "builtin:addition";

/// A runner in a thread of its own and the daemon's end of its socket.
class Runner {
 public:
  Runner() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) throw Error("socketpair");
    ours_ = fds[0];
    stream_.emplace(ours_, kMaxFrameBytes);
    thread_ = std::thread([this, theirs = fds[1]] {
      try {
        status_ = serve({.fd = theirs});
      } catch (const Error& error) {
        failure_ = error.what();
      }
      close(theirs);
    });
  }
  ~Runner() {
    hang_up();
    if (thread_.joinable()) thread_.join();
  }
  void send(const RunnerMessage& message) {
    stream_->send(encode(message));
    while (!stream_->flush()) stream_->wait(1000);
  }
  void send_raw(const std::string& frame) { stream_->send(frame); }
  /// The next message that is no progress report.
  RunnerMessage next() {
    while (true) {
      while (arrived_.empty()) {
        if (stream_->closed()) throw Error("the runner is gone");
        if (!stream_->wait(60000)) throw Error("the runner says nothing");
        for (const std::string& frame : stream_->receive())
          arrived_.push_back(decode_runner_message(frame));
      }
      RunnerMessage message = std::move(arrived_.front());
      arrived_.erase(arrived_.begin());
      if (!std::holds_alternative<RunnerProgress>(message)) return message;
    }
  }
  void hang_up() {
    if (ours_ >= 0) close(ours_);
    ours_ = -1;
  }
  int wait_for_end() {
    thread_.join();
    return status_;
  }
  const std::string& failure() const { return failure_; }

 private:
  int ours_ = -1;
  std::optional<process::FrameStream> stream_;
  std::vector<RunnerMessage> arrived_;
  std::thread thread_;
  int status_ = -1;
  std::string failure_;
};

Shard small_shard(const std::string& fingerprint) {
  const models::Config config = models::open_model(kModel).config;
  experiments::evaluate::Params params;
  params.n_layers = config.n_layers;
  params.n_heads = config.n_heads;
  params.mask_id = config.mask_id;
  params.mask_prob = 0.5;
  std::vector<Row> rows = {datasets::addition::row({1234, 8766}, 1)};
  datasets::assign_ids(rows);
  return {.kind = "evaluate",
          .numerics_version = experiments::evaluate::kNumericsVersion,
          .model = fingerprint,
          .dtype = "float32",
          .params = to_fields(params),
          .seed = 1,
          .micro_batch = 8,
          .rows = std::move(rows)};
}

RunShard order(const Shard& shard) {
  return {.key = key(shard), .model_path = kModel, .shard = encode(shard)};
}

bool have_builtin() {
  return std::filesystem::exists(models::builtin_directory() + "/addition/config.json");
}

/// The nominal memory of a device that just holds `bytes`.
uint64_t device_for(uint64_t bytes) {
  return static_cast<uint64_t>(static_cast<double>(bytes) / models::kUsableShare) + 1000;
}

TEST(ModelCache, ForgetsAModelThatLeavesNoRoomForTheNextOnesPasses) {
  if (!have_builtin()) GTEST_SKIP() << "no built-in model here";
  const models::ModelFiles files = models::open_model(kModel);
  Shard shard = small_shard(models::fingerprint(files)), wider = shard;
  wider.dtype = "float64";
  const auto total = [&](const Shard& one) {
    return models::memory_plan(files.config, one.dtype, experiments::pass_of(one, files.config, {}))
        .total();
  };
  const auto warm_with = [&](uint64_t bytes) {
    ModelCache cache(c10::Device(c10::kCPU), {.bytes = bytes});
    cache.get(kModel, shard);
    cache.get(kModel, wider);
    cache.get(kModel, wider);
    return cache.n_warm();
  };
  EXPECT_EQ(warm_with(0), 2u);
  EXPECT_EQ(warm_with(24'000'000'000), 2u);
  EXPECT_EQ(warm_with(device_for(total(wider))), 1u);
}

TEST(ModelCache, ForgetsAModelThatLeavesNoRoomForAWarmOnesLongerPasses) {
  if (!have_builtin()) GTEST_SKIP() << "no built-in model here";
  const models::ModelFiles files = models::open_model(kModel);
  Shard shard = small_shard(models::fingerprint(files)), wider = shard;
  wider.dtype = "float64";
  const auto plan = [&](const Shard& one) {
    return models::memory_plan(files.config, one.dtype,
                               experiments::pass_of(one, files.config, {}));
  };
  const uint64_t both = plan(wider).total() + plan(shard).weights;
  ModelCache cache(c10::Device(c10::kCPU), {.bytes = device_for(both)});
  cache.get(kModel, shard);
  cache.get(kModel, wider);
  EXPECT_EQ(cache.n_warm(), 2u);
  for (int i = 0; i < 100; ++i) wider.rows.push_back(wider.rows[0]);
  wider.micro_batch = 101;
  ASSERT_GT(plan(wider).total() + plan(shard).weights, both + 10000);
  cache.get(kModel, wider);
  EXPECT_EQ(cache.n_warm(), 1u);
}

TEST(ModelCache, RefusesAModelThatFitsNotAtAllWithTheNumbers) {
  if (!have_builtin()) GTEST_SKIP() << "no built-in model here";
  const Shard shard = small_shard(models::fingerprint(models::open_model(kModel)));
  ModelCache cache(c10::Device(c10::kCPU), {.bytes = 100'000'000});
  try {
    cache.get(kModel, shard);
    FAIL() << "it was loaded";
  } catch (const ModelRefused& refused) {
    EXPECT_NE(std::string(refused.what()).find("does not fit: float32 weights"), std::string::npos)
        << refused.what();
  }
}

TEST(Serve, IntroducesItselfThenComputesShardsInOrder) {
  if (!have_builtin()) GTEST_SKIP() << "no built-in model here";
  const models::ModelFiles files = models::open_model(kModel);
  Runner runner;
  const auto ready = std::get<RunnerReady>(runner.next());
  EXPECT_EQ(ready.version, kVersion);
  EXPECT_EQ(ready.info.device, "cpu");
  EXPECT_EQ(ready.info.tag, numerics_tag(c10::Device(c10::kCPU), 1));
  const Shard shard = small_shard(models::fingerprint(files));
  Shard second = shard;
  second.seed = 2;
  runner.send(order(shard));
  runner.send(order(second));
  const auto done = std::get<RunnerDone>(runner.next());
  EXPECT_EQ(done.key, key(shard));
  EXPECT_GT(done.seconds, 0);
  const models::Model model = models::load(files, c10::kFloat, c10::kCPU);
  EXPECT_EQ(done.result, encode(experiments::run(shard, model, [](double) {})));
  EXPECT_EQ(std::get<RunnerDone>(runner.next()).key, key(second));
  runner.hang_up();
  EXPECT_EQ(runner.wait_for_end(), 0);
}

TEST(Serve, RefusesAnotherModelByNameAndGoesOn) {
  if (!have_builtin()) GTEST_SKIP() << "no built-in model here";
  Runner runner;
  runner.next();
  runner.send(order(small_shard(std::string(64, 'a'))));
  const auto refused = std::get<RunnerFailed>(runner.next());
  EXPECT_EQ(refused.cause, Cause::kModelRefused);
  EXPECT_NE(refused.message.find(kModel), std::string::npos);
  EXPECT_NE(refused.message.find("aaaaaaaaaaaaaaaa"), std::string::npos);

  RunShard absent = order(small_shard(std::string(64, 'b')));
  absent.model_path = "/nowhere/at/all";
  runner.send(absent);
  const auto missing = std::get<RunnerFailed>(runner.next());
  EXPECT_EQ(missing.cause, Cause::kModelRefused);
  EXPECT_NE(missing.message.find("/nowhere/at/all"), std::string::npos);

  RunShard garbage = order(small_shard(std::string(64, 'c')));
  garbage.shard = "no shard";
  runner.send(garbage);
  EXPECT_EQ(std::get<RunnerFailed>(runner.next()).cause, Cause::kException);

  runner.send(order(small_shard(models::fingerprint(models::open_model(kModel)))));
  EXPECT_TRUE(std::holds_alternative<RunnerDone>(runner.next()));
}

TEST(Serve, EndsOnAFrameThatIsNoMessage) {
  Runner runner;
  runner.next();
  runner.send_raw("\xff\xff garbage");
  runner.wait_for_end();
  EXPECT_NE(runner.failure(), "");
}

TEST(Serve, ChargesFailuresToTheirCause) {
  EXPECT_EQ(cause_of(ModelRefused("x")), Cause::kModelRefused);
  EXPECT_EQ(cause_of(std::bad_alloc()), Cause::kOutOfMemory);
  EXPECT_EQ(cause_of(std::runtime_error("CUDA out of memory. Tried to allocate 2 GiB")),
            Cause::kOutOfMemory);
  EXPECT_EQ(cause_of(std::runtime_error("CUDA error: an illegal memory access")), Cause::kCuda);
  EXPECT_EQ(cause_of(Error("row 1 of the shard")), Cause::kException);
  const std::runtime_error no_handle("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED");
  EXPECT_EQ(cause_of(no_handle, true), Cause::kOutOfMemory);
  EXPECT_EQ(cause_of(no_handle, false), Cause::kCuda);
}

TEST(Tag, SaysWhatChangesLastBitsAndNothingElse) {
  const std::string tag = numerics_tag(c10::Device(c10::kCPU), 3);
  EXPECT_TRUE(tag.starts_with("cpu-")) << tag;
  EXPECT_NE(tag.find("-t3-libtorch"), std::string::npos) << tag;
  EXPECT_EQ(
      tag.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"),
      std::string::npos)
      << tag;
  EXPECT_EQ(tag, numerics_tag(c10::Device(c10::kCPU), 3));
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  EXPECT_EQ(tag.find(host), std::string::npos) << tag;
}

TEST(Device, RefusesNamesItDoesNotKnow) {
  EXPECT_TRUE(parse_device("cpu").is_cpu());
  for (const char* name : {"", "gpu", "cuda", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", "cpu:0"})
    EXPECT_THROW(parse_device(name), Error) << name;
  EXPECT_THROW(parse_dtype("float8"), Error);
}

}  // namespace
}  // namespace headcount::runner
