#include "worker/runners.h"

#include <algorithm>

#include "schemas/error.h"
#include "schemas/version.h"

namespace headcount::worker {
namespace {

constexpr int kLastReads = 80;  // of an ended runner: more than the largest frame

std::string short_key(const ShardKey& key) { return to_hex(key).substr(0, 12); }

}  // namespace

void Runners::Slot::release() {
  for (auto* descriptor : {&channel, &output}) {
    if (*descriptor) (*descriptor)->release();  // the process owns the fd
    descriptor->reset();
  }
  process.reset();
  writing = false;
  ++generation;
}

Runners::Runners(boost::asio::io_context& io, const WorkerOptions& options,
                 std::shared_ptr<spdlog::logger> log, Ears ears)
    : io_(io), options_(options), log_(std::move(log)), ears_(std::move(ears)) {
  if (options.runner_program.empty()) return;
  for (const std::string& device : options.devices) {
    const auto share = std::count(options.devices.begin(), options.devices.end(), device);
    slots_.push_back(
        {.command = {options.runner_program, device, options.threads, static_cast<int>(share)},
         .process = nullptr,
         .channel = nullptr,
         .output = nullptr});
  }
}

Runners::~Runners() {
  for (Slot& slot : slots_) slot.release();
}

void Runners::start(int runner) {
  Slot& slot = slots_.at(static_cast<size_t>(runner));
  slot.release();
  try {
    slot.process = std::make_unique<RunnerProcess>(slot.command);
  } catch (const Error& error) {
    ears_.feed(RunnerExited{runner, Cause::kException, error.what()});
    return;
  }
  log_->info("runner {} on {} started, pid {}", runner, slot.command.device, slot.process->pid());
  slot.channel = std::make_unique<Descriptor>(io_, slot.process->channel());
  slot.output = std::make_unique<Descriptor>(io_, slot.process->output());
  watch_channel(static_cast<size_t>(runner));
  watch_output(static_cast<size_t>(runner));
}

void Runners::kill(int runner) {
  Slot& slot = slots_.at(static_cast<size_t>(runner));
  if (!slot.process) return;
  log_->info("runner {} is killed: its shard was revoked or stalled", runner);
  slot.process->kill();
}

void Runners::run(RunOn& run) {
  Slot& slot = slots_.at(static_cast<size_t>(run.runner));
  if (!slot.process) return;  // it has ended: RunnerExited is on its way
  log_->debug("runner {} takes shard {}", run.runner, short_key(run.shard.key));
  run.shard.model_path = mapped_model_path(options_.model_paths, run.shard.model_path);
  slot.process->send(run.shard);
  watch_room(static_cast<size_t>(run.runner));
}

void Runners::look() {
  for (size_t i = 0; i < slots_.size(); ++i) look_at(i);
}

void Runners::watch_channel(size_t i) {
  slots_[i].channel->async_wait(Descriptor::wait_read, [this, i, generation = slots_[i].generation](
                                                           const boost::system::error_code& error) {
    if (error || slots_[i].generation != generation) return;
    const bool open = hear(i);
    if (open && slots_[i].generation == generation) watch_channel(i);
    ears_.settle();
  });
}

void Runners::watch_output(size_t i) {
  slots_[i].output->async_wait(Descriptor::wait_read, [this, i, generation = slots_[i].generation](
                                                          const boost::system::error_code& error) {
    if (error || slots_[i].generation != generation) return;
    if (slots_[i].process->read_output()) watch_output(i);
  });
}

void Runners::watch_room(size_t i) {
  Slot& slot = slots_[i];
  if (slot.writing || !slot.process->wants_write()) return;
  slot.writing = true;
  slot.channel->async_wait(Descriptor::wait_write, [this, i, generation = slot.generation](
                                                       const boost::system::error_code& error) {
    if (error || slots_[i].generation != generation) return;
    slots_[i].writing = false;
    slots_[i].process->flush();
    watch_room(i);
  });
}

/// False once the channel is at its end.
bool Runners::hear(size_t i) {
  Slot& slot = slots_[i];
  if (!slot.process) return false;
  for (RunnerMessage& message : slot.process->receive()) heard(static_cast<int>(i), message);
  look_at(i);
  return slot.process != nullptr && !slot.process->channel_closed();
}

void Runners::heard(int i, RunnerMessage& message) {
  if (auto* ready = std::get_if<RunnerReady>(&message)) {
    is_ready(i, *ready);
  } else if (const auto* progress = std::get_if<RunnerProgress>(&message)) {
    ears_.feed(RunnerProgressed{i, progress->key, progress->progress});
  } else if (auto* done = std::get_if<RunnerDone>(&message)) {
    ears_.feed(RunnerFinished{i, done->key, done->seconds, std::move(done->result)});
  } else if (auto* failed = std::get_if<RunnerFailed>(&message)) {
    log_->warn("shard {} failed: {}", short_key(failed->key), failed->message);
    ears_.feed(RunnerReported{i, failed->key, failed->cause, std::move(failed->message)});
  }  // RunShard is ours to say, not a runner's
}

void Runners::is_ready(int i, RunnerReady& ready) {
  if (ready.version != kVersion) {
    ears_.cannot_go_on(options_.runner_program + " is of version " + ready.version +
                       ", this program of " + kVersion + ": build both together");
    return;
  }
  log_->info("runner {} on {} is ready: {}", i, ready.info.device, ready.info.tag);
  ears_.feed(RunnerIsReady{i, std::move(ready.info)});
}

void Runners::look_at(size_t i) {
  Slot& slot = slots_[i];
  if (!slot.process) return;
  // What it said last counts, so that a result is not lost to a crash on the way out.
  const auto end = slot.process->ended();
  if (!end) {
    if (slot.process->channel_closed()) slot.process->kill();
    return;
  }
  for (int n = 0; n < kLastReads && !slot.process->channel_closed(); ++n) {
    for (RunnerMessage& message : slot.process->receive()) heard(static_cast<int>(i), message);
  }
  log_->warn("{}", end->message);
  slot.release();
  ears_.feed(RunnerExited{static_cast<int>(i), end->cause, end->message});
}

std::string mapped_model_path(const std::vector<std::pair<std::string, std::string>>& map,
                              const std::string& path) {
  const std::string last = path.substr(path.find_last_of("/:") + 1);
  for (const auto& [name, folder] : map) {
    if (name == path || name == last) return folder;
  }
  return path;
}

}  // namespace headcount::worker
