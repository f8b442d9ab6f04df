#include "coordinator/loop.h"

#include <algorithm>
#include <sstream>

#include "schemas/error.h"
#include "schemas/result.h"
#include "schemas/try_again.h"
#include "schemas/version.h"

namespace headcount::coordinator {
namespace {

constexpr int64_t kTickMs = 100;
constexpr int64_t kTurnMs = 20;            // what a turn takes in before it commits
constexpr size_t kPacketMessages = 1024;   // a packet is sent when it holds so many messages
constexpr size_t kPacketBytes = 1u << 20;  // ... or about so many bytes

size_t size_of(const Message& message) {
  if (const auto* grant = std::get_if<Grant>(&message)) return 200 + grant->shard.size();
  if (const auto* reply = std::get_if<Reply>(&message)) return 200 + reply->json.size();
  return 100;
}

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::string arrays_meta(const ShardKey& key) { return "arrays of shard " + to_hex(key); }

// One array a line: its name, then its shape.
std::string text_of(const std::vector<ArrayPlan>& arrays) {
  std::string text;
  for (const auto& array : arrays) {
    text += array.name;
    for (const int64_t extent : array.shape) text += " " + std::to_string(extent);
    text += "\n";
  }
  return text;
}

std::vector<ArrayPlan> arrays_from(const std::string& text) {
  std::vector<ArrayPlan> arrays;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    ArrayPlan& array = arrays.emplace_back();
    words >> array.name;
    for (int64_t extent = 0; words >> extent;) array.shape.push_back(extent);
  }
  return arrays;
}

/// The worker may have it still, and send its result when the sweep is over.
bool may_come_late(Outcome outcome) {
  return outcome == Outcome::kRevoked || outcome == Outcome::kLost || is_loss(outcome);
}

}  // namespace

Loop::Loop(const CoordinatorOptions& options, store::Store& store, transport::Server& server,
           transport::AllowList& allowed, Log& log)
    : options_(options),
      store_(store),
      server_(server),
      allowed_(allowed),
      log_(log),
      records_(store),
      scheduler_(settings_of(options), records_) {}

Millis Loop::now() const {
  return 1 + std::chrono::duration_cast<std::chrono::milliseconds>(
                 std::chrono::steady_clock::now() - started_)
                 .count();
}

void Loop::turn(int stop_fd) {
  if (!waits_.empty()) return turn_waiting(stop_fd);
  const bool busy = !notices_.empty() || !broken_.empty() ||
                    std::any_of(live_.begin(), live_.end(), [](const auto& sweep) {
                      return std::any_of(sweep.second.stages.begin(), sweep.second.stages.end(),
                                         [](const auto& stage) {
                                           return stage.phase == LiveStage::Phase::kPlanning;
                                         });
                    });
  const auto before = Clock::now();
  server_.wait(busy ? 0 : kTickMs, stop_fd);
  // Where nothing had to be waited for, it may have been there since the last look.
  const bool waited = Clock::now() - before > std::chrono::microseconds(100);
  const auto heard_from = waited ? Clock::now() : received_until_;
  auto commits_from = before;
  const int64_t n_commits = store_.n_commits();
  bool stepped = false;
  try {
    store_.transaction([&] {
      stepped = true;
      handle();
      commits_from = Clock::now();
    });
  } catch (const TryAgain& error) {
    wait_for_store(error.what(), stepped);
    return;
  }
  if (n_commits != store_.n_commits()) commit_latency_.add(ms_since(commits_from));
  const int64_t n_answers = send_grants();
  flush();
  for (int64_t i = 0; i < n_answers; ++i) grant_latency_.add(ms_since(heard_from));
  heard_.clear();
}

// What one transaction holds.
void Loop::handle() {
  if (std::exchange(waited_, false)) step(Rearm{});
  if (!std::exchange(started_reading_, true)) restore();
  const Millis until = now() + kTurnMs;
  while (auto incoming = server_.receive()) {
    take(std::move(*incoming));
    if (now() >= until) break;
  }
  received_until_ = Clock::now();
  take_planned();
  for (const auto& notice : std::exchange(notices_, {})) {
    if (const auto* complete_notice = std::get_if<StageComplete>(&notice))
      complete(*complete_notice);
    if (const auto* memory = std::get_if<OutOfMemory>(&notice)) out_of_memory(*memory);
  }
  for (const StageId id : std::exchange(broken_, {})) {
    const auto [sweep, stage] = live_stage(id);
    if (stage == nullptr || stage->phase != LiveStage::Phase::kOpen) continue;
    step(StageClosed{id});
    stop_stage(*sweep, *stage, not_as_planned(store_, sweep->id));
    end_if_over(*sweep);
  }
  advance();
  if (now() - ticked_at_ >= kTickMs) tick();
}

void Loop::tick() {
  ticked_at_ = now();
  step(Tick{});
  if (now() - sampled_at_ < 1000) return;
  sampled_at_ = now();
  for (auto& [id, sweep] : live_) {
    for (auto& stage : sweep.stages) {
      if (stage.phase != LiveStage::Phase::kOpen) continue;
      if (const auto view = scheduler_.stage(stage.id)) stage.rate.sample(now(), view->n_done);
    }
  }
  for (auto& [key, totals] : totals_) totals.rate.sample(now(), totals.done);
  look_at_peers();
  count_alarms();
  if (!options_.curve) return;
  // Whatever changed just now: the thread that lets peers in reads the list too.
  for (const auto& worker : scheduler_.workers()) {
    if (worker.connected && !allowed_.find(worker.worker)) {
      log_.line("the key of a connected worker was revoked: " + worker.host);
      step(WorkerGone{worker.worker});
    }
  }
}

// Who may connect, read again where it changed; each trouble is said once.
void Loop::look_at_peers() {
  allowed_.refresh();
  if (const auto trouble = allowed_.trouble(); trouble != std::exchange(key_trouble_, trouble)) {
    log_.line(trouble.empty() ? "the keys can be read again"
                              : "keys cannot be read, and stay as they were: " + trouble);
  }
  const int64_t n_shut_out = server_.n_shut_out();
  if (const auto before = std::exchange(n_shut_out_, n_shut_out); before != n_shut_out) {
    log_.line(std::to_string(n_shut_out - before) +
              " new connections were shut: too many files are open (raise `ulimit -n`)");
  }
}

void Loop::count_alarms() {
  const auto name_of = [this](const WorkerKey& peer) {
    const auto key = allowed_.find(peer);
    return key ? key->name : peer;
  };
  for (const auto& [worker, n] : alarm_limit_.left_out(now()))
    log_.line("alarm: " + std::to_string(n) + " more alarms about worker " + name_of(worker) +
              " are counted here only");
  for (const auto& [peer, n] : line_limit_.left_out(now()))
    log_.line(std::to_string(n) + " more lines about what " + name_of(peer) +
              " said are counted here only");
}

void Loop::take(transport::Incoming incoming) {
  transport::AllowedKey key{.name = incoming.peer,
                            .role = transport::Role::kAdmin,
                            .public_key = incoming.peer,
                            .created_at = {}};
  if (options_.curve) {
    const auto found = allowed_.find(incoming.peer);
    if (!found) return;
    key = *found;
  }
  std::vector<Message> messages;
  try {
    messages = decode(incoming.packet.header, std::move(incoming.packet.frames));
  } catch (const Error& error) {
    if (line_limit_.admits(incoming.peer, now()))
      log_.line("from " + key.name + ": " + error.what());
    send(incoming.route, Refused{error.what()});
    return;
  }
  for (auto& message : messages) {
    if (const auto* request = std::get_if<Request>(&message)) {
      take_request(incoming, key.role, *request);
    } else if (options_.curve && key.role != transport::Role::kWorker) {
      send(incoming.route,
           Refused{"the key " + key.name + " is for a " + to_string(key.role) +
                   ": a worker needs one of its own (`headcount key create worker`)"});
      return;
    } else if (waits_.empty()) {
      if (std::holds_alternative<Hello>(message)) {
        store_.name_worker(incoming.peer, key.name);
        if (line_limit_.admits(incoming.peer, now()))
          log_.line("worker " + key.name + " says hello from " + std::get<Hello>(message).host);
      }
      take_worker_message(incoming, std::move(message));
    }
  }
}

void Loop::take_worker_message(const transport::Incoming& incoming, Message message) {
  heard_.insert(incoming.peer);
  // What an unread sweep has lent is not the scheduler's to judge yet.
  const auto awaited = [this](const Held& held) { return awaited_.contains(held.key); };
  if (auto* hello = std::get_if<Hello>(&message)) std::erase_if(hello->held, awaited);
  if (auto* beat = std::get_if<Heartbeat>(&message)) std::erase_if(beat->held, awaited);
  std::string defect;
  if (const auto* done = std::get_if<ShardDone>(&message)) {
    const auto found = defect_of(*done);
    // Nobody can say for now: not answered, so that the worker keeps it until its sweep is under
    // way. Of a sweep that is over it is not kept, or the worker would never be done.
    if (!found && !store_.attempts(done->key, incoming.peer, done->tag).empty() &&
        may_be_wanted(done->key))
      return;
    defect = found.value_or("no sweep under way wants it");
    if (!defect.empty() && line_limit_.admits(incoming.peer, now()))
      log_.line("a result of shard " + to_hex(done->key) + " was refused: " + defect);
  }
  step(WorkerMessage{.worker = incoming.peer,
                     .connection = incoming.route,
                     .message = std::move(message),
                     .defect = std::move(defect)});
}

// The arrays a shard must yield, whether or not its sweep is still under way; nullopt: unknown.
std::optional<std::vector<ArrayPlan>> Loop::arrays_for(const ShardKey& key) {
  if (const auto found = granted_.find(key); found != granted_.end()) return found->second;
  for (const auto& [stage_id, index] : store_.places(key)) {
    const auto [sweep, stage] = live_stage(stage_id);
    if (stage == nullptr || !has_its_scores(*sweep, *stage)) continue;
    const Shard shard = shard_of(*sweep, *stage, index);
    if (headcount::key(shard) == key) return experiments::arrays(shard);
  }
  if (const auto kept = store_.meta(arrays_meta(key))) return arrays_from(*kept);
  return std::nullopt;
}

// Empty: valid; nullopt: nobody can say for now.
std::optional<std::string> Loop::defect_of(const ShardDone& done) {
  if (sha256(done.result) != done.hash) return "its bytes do not have the hash it names";
  const auto arrays = arrays_for(done.key);
  if (!arrays) {
    if (store_.recorded(done.key, done.tag) == done.hash) return "";
    return std::nullopt;
  }
  try {
    return mismatch(decode_result(done.result), *arrays);
  } catch (const Error& error) {
    return error.what();
  }
}

void Loop::step(Event event) { perform(scheduler_.step(std::move(event), now())); }

void Loop::perform(std::vector<Action> actions) {
  for (auto& action : actions) {
    if (const auto* alarm = std::get_if<Alarm>(&action);
        alarm != nullptr && !alarm_limit_.admits(alarm->worker, now())) {
      continue;
    }
    if (is_record(action)) {
      store::Recorded recorded = store::Recorded::kSame;
      apply(store_, action, &recorded);
      if (const auto* result = std::get_if<RecordResult>(&action);
          result != nullptr && recorded == store::Recorded::kNew) {
        ++n_recorded_;
        ++totals_[result->worker].done;
      } else if (const auto* ended = std::get_if<EndAttempt>(&action)) {
        if (may_come_late(ended->outcome)) {
          if (const auto arrays = arrays_for(ended->key))
            store_.set_meta(arrays_meta(ended->key), text_of(*arrays));
        }
        granted_.erase(ended->key);
        forget_awaited(*ended);
        if (!ended->message.empty())
          log_.line("shard " + to_hex(ended->key) + " attempt " + std::to_string(ended->attempt) +
                    ": " + std::string(to_string(ended->outcome)) + ": " + ended->message);
      } else if (const auto* alarm = std::get_if<Alarm>(&action)) {
        log_.line("alarm: " + alarm->message);
      } else if (const auto* quarantine = std::get_if<Quarantine>(&action)) {
        log_.line("shard " + to_hex(quarantine->key) + " is quarantined: " + quarantine->evidence);
      }
    } else if (auto* message = std::get_if<Send>(&action)) {
      send(message->connection, std::move(message->message));
    } else if (std::holds_alternative<SendGrant>(action)) {
      grants_.push_back(std::move(action));
    } else {
      notices_.push_back(std::move(action));
    }
  }
}

void Loop::send(const std::string& route, Message message, bool stands) {
  Outgoing& outgoing = outbox_[route];
  outgoing.bytes += size_of(message);
  if (stands) outgoing.standing.insert(outgoing.messages.size());
  outgoing.messages.push_back(std::move(message));
}

// Grants are made of the plan only now, after the commit: nothing else is built for work that may
// not be recorded.
int64_t Loop::send_grants() {
  int64_t n_answers = 0;
  for (auto& action : std::exchange(grants_, {})) {
    const auto& grant = std::get<SendGrant>(action);
    const auto [sweep, stage] = live_stage(grant.stage);
    if (stage == nullptr || stage->phase != LiveStage::Phase::kOpen)
      continue;  // closed in this turn: its Revoke is on its way
    const Shard shard = shard_of(*sweep, *stage, grant.index);
    std::string body = encode(shard);
    if (sha256(body) != grant.key) {
      broken_.push_back(grant.stage);
      continue;
    }
    granted_[grant.key] = experiments::arrays(shard);
    if (Span& span = spans_[sweep->id]; span.first_grant == 0) span.first_grant = now();
    n_answers += heard_.contains(grant.worker);
    send(grant.connection, Grant{.key = grant.key,
                                 .attempt = grant.attempt,
                                 .model_path = model_path_of(*sweep, *stage, grant.index),
                                 .tag = grant.tag,
                                 .stall_ms = grant.stall_ms,
                                 .shard = std::move(body)});
  }
  return n_answers;
}

void Loop::flush() {
  for (auto& [route, outgoing] : std::exchange(outbox_, {})) {
    std::vector<Message> packet;
    size_t size = 0;
    const auto post = [&, &to = route] {
      if (!packet.empty()) server_.send(to, encode(packet));
      packet.clear();
      size = 0;
    };
    for (auto& message : outgoing.messages) {
      size += size_of(message);
      packet.push_back(std::move(message));
      if (packet.size() >= kPacketMessages || size >= kPacketBytes) post();
    }
    post();
  }
}

}  // namespace headcount::coordinator
