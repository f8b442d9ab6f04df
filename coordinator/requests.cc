#include "coordinator/requests.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "coordinator/loop.h"
#include "experiments/kinds/noop/noop.h"
#include "schemas/error.h"
#include "schemas/try_again.h"
#include "schemas/version.h"

namespace headcount::coordinator {
namespace {

using Json = nlohmann::ordered_json;
using Phase = LiveStage::Phase;
using transport::Role;

constexpr size_t kMaxUnread = 1u << 20;  // bytes of answers: one large one at a time

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string id_json(store::SweepId id, const std::string& state) {
  return dump({{"id", id}, {"state", state}});
}

int64_t rss_bytes() {
  int64_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

/// Whether it happens whatever becomes of the transaction.
bool is_outside_store(const Request& request) {
  return request.verb == "coordinator.stop" || request.verb == "key.create" ||
         (request.verb == "key.revoke" && !get_or<bool>(request.fields, "set_aside", false));
}

/// Whether the answer needs no write of the database.
bool writes_nothing(const Request& request) {
  static const std::set<std::string_view> kVerbs = {
      "coordinator.info", "sweep.list",  "sweep.status", "sweep.explain",
      "results",          "worker.list", "key.list"};
  return kVerbs.contains(request.verb) || is_outside_store(request);
}

double cpu_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

}  // namespace

std::optional<Role> role_needed(std::string_view verb) {
  static const std::map<std::string_view, Role> kVerbs = {
      {"coordinator.info", Role::kClient}, {"coordinator.stop", Role::kAdmin},
      {"sweep.submit", Role::kClient},     {"sweep.list", Role::kClient},
      {"sweep.status", Role::kClient},     {"sweep.cancel", Role::kClient},
      {"sweep.pause", Role::kClient},      {"sweep.resume", Role::kClient},
      {"sweep.retry", Role::kClient},      {"sweep.explain", Role::kClient},
      {"results", Role::kClient},          {"worker.list", Role::kClient},
      {"worker.drain", Role::kAdmin},      {"key.list", Role::kAdmin},
      {"key.create", Role::kAdmin},        {"key.revoke", Role::kAdmin},
      {"bench.submit", Role::kAdmin}};
  const auto found = kVerbs.find(verb);
  return found == kVerbs.end() ? std::nullopt : std::optional(found->second);
}

Message reply_to(uint64_t number, std::string json) {
  return Reply{.number = number, .ok = true, .error = {}, .json = std::move(json)};
}

Message refusal_to(uint64_t number, const std::string& error) {
  return Reply{.number = number, .ok = false, .error = error, .json = "{}"};
}

void Loop::take_request(const transport::Incoming& incoming, Role role, const Request& request) {
  try {
    const auto needed = role_needed(request.verb);
    if (!needed)
      throw Error("this coordinator (headcount " + std::string(kVersion) + ") does not know \"" +
                  request.verb + "\": use the same version on both machines");
    if (role == Role::kWorker)
      throw Error("a worker's key may not ask for \"" + request.verb +
                  "\": use a client's or admin's");
    if (*needed == Role::kAdmin && role != Role::kAdmin)
      throw Error("\"" + request.verb + "\" needs an admin's key");
    if (outbox_[incoming.route].bytes + server_.unread(incoming.route) > kMaxUnread)
      throw Error("the answers before this one have not been read yet: ask again once they are");
    if (!waits_.empty() && !writes_nothing(request))
      throw Error("nothing can be recorded now: " + waits_ + "; ask again");
    std::string json = answer(incoming, request);
    if (!json.empty())
      send(incoming.route, reply_to(request.number, std::move(json)), is_outside_store(request));
  } catch (const Error& error) {
    send(incoming.route, refusal_to(request.number, error.what()));
    // Of a turn under way all is taken back, whatever was answered.
    if (waits_.empty() && dynamic_cast<const TryAgain*>(&error) != nullptr) throw;
  }
}

std::string Loop::answer(const transport::Incoming& incoming, const Request& request) {
  const std::string& verb = request.verb;
  const auto text = [&](const std::string& name) { return get<std::string>(request.fields, name); };
  if (verb == "coordinator.info") return info_json();
  if (verb == "coordinator.stop") {
    stopping_ = true;
    return "{}";
  }
  if (verb == "sweep.submit") {
    Submission submission;
    submission.route = incoming.route;
    submission.request = request.number;
    submission.confined = options_.curve && incoming.peer != options_.local_admin;
    submission.job = {.number = ++n_jobs_,
                      .text = text("text"),
                      .file = text("file"),
                      .root = get_or<std::string>(request.fields, "root", options_.root),
                      .allowed = allowed_paths(submission.confined)};
    submission.continue_equal = get_or<bool>(request.fields, "continue", false);
    start(std::move(submission));
    return "";
  }
  if (verb == "sweep.list")
    return list_json(store_, [this](const auto& row) { return counts(row); });
  if (verb == "sweep.status") return status(find_sweep(store_, text("id")).id);
  if (verb == "sweep.explain") {
    const auto id = find_sweep(store_, text("id")).id;
    auto lines = explain(store_, id);
    if (const auto unread = unread_text(id); !unread.empty()) lines.push_back(unread);
    if (!waits_.empty())
      lines.push_back("nothing can be recorded now: " + waits_ + "; it goes on by itself then");
    if (LiveSweep* sweep = live_sweep(id)) {
      if (!sweep->bound)
        lines.push_back(
            "no worker with a runner is connected yet: the sweep is bound to the numerics tag of "
            "those that are, of the largest capacity");
      for (auto& line : unable_workers(*sweep)) lines.push_back(std::move(line));
      for (const auto& stage : sweep->stages) {
        if (stage.phase != Phase::kOpen) continue;
        for (const auto& line : scheduler_.explain(stage.id))
          lines.push_back("stage " + stage.name + ": " + line);
      }
    }
    return dump({{"lines", lines}});
  }
  if (verb.rfind("sweep.", 0) == 0) return change_sweep(verb, text("id"));
  if (verb == "results") return results(incoming, request);
  if (verb == "worker.list") return workers_json(worker_statuses());
  if (verb == "worker.drain") {
    const std::string name = text("name");
    for (const auto& worker : scheduler_.workers()) {
      const auto key = allowed_.find(worker.worker);
      if (!worker.connected || !key || key->name != name) continue;
      step(Drain{worker.worker});
      return dump({{"name", name}});
    }
    throw Error("no worker named \"" + name + "\" is connected: see `headcount worker list`");
  }
  if (verb == "key.list") {
    Json keys = Json::array();
    for (const auto& key : transport::list_keys(options_.state)) {
      keys.push_back({{"name", key.name},
                      {"role", transport::to_string(key.role)},
                      {"public_key", key.public_key},
                      {"created_at", key.created_at}});
    }
    return dump({{"keys", keys}});
  }
  if (verb == "key.create") return create_key(request);
  if (verb == "key.revoke") return revoke_key(request);
  return bench(get<int64_t>(request.fields, "shards"));
}

std::string Loop::info_json() const {
  Json sweeps = Json::object();
  for (const auto& sweep : store_.sweeps()) sweeps[sweep.state] = sweeps.value(sweep.state, 0) + 1;
  Json reading = Json::array();
  for (const auto& [number, submission] : submissions_)
    reading.push_back({{"file", submission.job.file}, {"doing", planner_.doing(number)}});
  int64_t unfinished = 0, connected = 0;
  for (const auto& stage : scheduler_.stages())
    unfinished += stage.n_shards - stage.n_done - stage.n_quarantined;
  for (const auto& worker : scheduler_.workers()) connected += worker.connected ? 1 : 0;
  return dump({{"version", kVersion},
               {"pid", getpid()},
               {"address", server_.address()},
               {"state", options_.state},
               {"restored", restored_},
               {"reading", reading},
               {"waits", waits_},
               {"workers", connected},
               {"sweeps", sweeps},
               {"results", store_.n_results()},
               {"records", n_recorded_},
               {"commits", store_.n_commits()},
               {"grant_p99_ms", grant_latency_.quantile_ms(0.99)},
               {"commit_p99_ms", commit_latency_.quantile_ms(0.99)},
               {"unfinished", unfinished},
               {"uptime_s", static_cast<double>(now()) / 1000.0},
               {"cpu_s", cpu_seconds()},
               {"rss_bytes", rss_bytes()},
               {"log", log_.path()},
               {"key_trouble", allowed_.trouble()},
               {"shut_out", server_.n_shut_out()}});
}

std::vector<WorkerStatus> Loop::worker_statuses() const {
  std::vector<WorkerStatus> workers;
  for (const auto& worker : scheduler_.workers()) {
    const auto key = allowed_.find(worker.worker);
    WorkerStatus status{.name = key ? key->name : worker.worker,
                        .host = worker.host,
                        .devices = {},
                        .state = !worker.connected         ? "lost"
                                 : worker.draining         ? "draining"
                                 : !worker.problem.empty() ? "waiting"
                                                           : "connected",
                        .problem = worker.problem,
                        .held = worker.n_queued + worker.n_running,
                        .running = worker.n_running,
                        .last_seen_s = static_cast<double>(now() - worker.heard_at) / 1000.0};
    for (const auto& runner : worker.runners) {
      status.devices.push_back(
          {.device = runner.device, .tag = runner.tag, .memory_bytes = runner.memory_bytes});
    }
    if (const auto totals = totals_.find(worker.worker); totals != totals_.end()) {
      status.done = totals->second.done;
      status.rate = totals->second.rate.per_second();
    }
    workers.push_back(std::move(status));
  }
  return workers;
}

std::string Loop::status(store::SweepId id) const {
  SweepStatus status = sweep_status(store_, id, [this](const auto& row) { return counts(row); });
  const auto sweep = live_.find(id);
  const std::string unread = unread_text(id);
  for (StageStatus& stage : status.stages) {
    if (!unread.empty() && (stage.state == "open" || stage.state == "waiting"))
      stage.reason = unread;
    if (sweep == live_.end()) continue;
    for (const auto& live : sweep->second.stages) {
      if (live.id != stage.id) continue;
      if (live.phase == Phase::kPlanning) stage.reason = "planning";
      if (live.phase == Phase::kWaiting && !sweep->second.bound)
        stage.reason = "waits for a worker with a runner";
      stage.rate = live.phase == Phase::kOpen ? live.rate.per_second() : 0;
      const int64_t left = stage.shards - stage.done - stage.quarantined;
      if (stage.rate > 0) stage.time_left_s = static_cast<double>(left) / stage.rate;
    }
  }
  status.live = {.waits = waits_, .workers = worker_statuses()};
  if (const auto span = spans_.find(id); span != spans_.end() && span->second.first_grant > 0) {
    const Millis end = span->second.end > 0 ? span->second.end : now();
    status.live->busy_s = static_cast<double>(end - span->second.first_grant) / 1000.0;
  }
  return status_json(status);
}

std::string Loop::change_sweep(const std::string& verb, const std::string& text) {
  const auto row = find_sweep(store_, text);
  const bool over = row.state != "running" && row.state != "paused";
  if (verb == "sweep.retry") {
    if (row.state == "cancelled")
      throw Error("sweep " + std::to_string(row.id) + " was cancelled: submit its spec again");
    retry(row.id);
    return id_json(row.id, store_.sweep(row.id)->state);
  }
  if (over) throw Error("sweep " + std::to_string(row.id) + " is " + row.state + " already");
  if (verb == "sweep.cancel") cancel(row.id);
  if (verb == "sweep.pause") pause(row.id, true);
  if (verb == "sweep.resume") pause(row.id, false);
  return id_json(row.id, store_.sweep(row.id)->state);
}

void Loop::cancel(store::SweepId id) {
  for (const auto& row : store_.stages(id)) {
    const auto [sweep, stage] = live_stage(row.id);
    const bool ends = row.state == "open" || row.state == "waiting";
    if (stage != nullptr && ends) store_.set_stage_counts(row.id, counts(*stage));
    if (stage != nullptr && stage->phase == Phase::kOpen) step(StageClosed{row.id});
    if (ends) store_.set_stage_state(row.id, "cancelled", "");
    sweep_of_.erase(row.id);
  }
  store_.set_sweep_state(id, "cancelled");
  log_.line("sweep " + std::to_string(id) + " is cancelled");
  live_.erase(id);
  unread_.erase(id);
  std::erase_if(submissions_, [&](const auto& one) {
    if (one.second.resumes == id) planner_.forget(one.first);
    return one.second.resumes == id;
  });
  release_awaited();
}

void Loop::pause(store::SweepId id, bool paused) {
  store_.set_sweep_state(id, paused ? "paused" : "running");
  LiveSweep* sweep = live_sweep(id);
  if (sweep == nullptr || sweep->paused == paused) return;
  sweep->paused = paused;
  for (const auto& stage : sweep->stages) {
    if (stage.phase != Phase::kOpen) continue;
    if (paused) {
      step(StagePaused{stage.id});
    } else {
      step(StageResumed{stage.id});
    }
  }
}

// Quarantined shards are forgiven; ended stages that miss some, or whose results were withdrawn,
// are opened again, and what reads their tables is planned anew. Other stages under way go on as
// they are.
void Loop::retry(store::SweepId id) {
  if (unread_.contains(id))
    throw Error("sweep " + std::to_string(id) + " is still being read: try again in a moment");
  bool any = false;
  for (const auto& row : store_.stages(id)) {
    const bool ended = row.state == "finished" || row.state == "stopped";
    if (ended || store_.evidence(row.id).empty()) continue;
    step(Retry{row.id});
    any = true;
  }
  const bool opened = open_again(id, [](const auto& row) {
    return row.state == "stopped" ||
           (row.state == "finished" && (row.n_missing > 0 || row.n_withdrawn > 0));
  });
  if (!any && !opened)
    throw Error("sweep " + std::to_string(id) +
                " has no quarantined shard, no withdrawn result and no stopped stage to try again");
}

std::string Loop::results(const transport::Incoming& incoming, const Request& request) {
  const auto row = find_sweep(store_, get<std::string>(request.fields, "id"));
  const auto stage = get_or<std::string>(request.fields, "stage", "");
  if (live_sweep(row.id) == nullptr && !unread_.contains(row.id) &&
      needs_files(store_, row.id, stage)) {
    Submission submission;
    submission.route = incoming.route;
    submission.request = request.number;
    submission.job = job_of(row);
    submission.results_of = row.id;
    submission.stage = stage;
    start(std::move(submission));
    return "";
  }
  try {
    return results(row, stage);
  } catch (const store::Damaged& damage) {
    throw Error(mended(row.id, damage));
  }
}

// What needs no file.
std::string Loop::results(const store::SweepRow& row, const std::string& stage) {
  const LiveSweep* sweep = live_sweep(row.id);
  if (sweep != nullptr) return to_json(tables_so_far(*sweep, stage));
  const std::string unread = unread_text(row.id);
  const auto found = tables(store_, row.id, stage, [] { return std::nullopt; });
  if (found.empty() && !unread.empty())
    throw Error("sweep " + std::to_string(row.id) + " has no finished table yet: " + unread);
  return to_json(found);
}

std::vector<Table> Loop::tables_so_far(const LiveSweep& sweep, const std::string& stage) const {
  std::vector<Table> found;
  bool named = stage.empty();
  for (const auto& row : store_.stages(sweep.id)) {
    if (!stage.empty() && row.name != stage) continue;
    named = true;
    const auto& live = sweep.stages[static_cast<size_t>(row.number)];
    if (auto table = stored_table(store_, row); table && live.phase == Phase::kEnded) {
      found.push_back(std::move(*table));
    } else if (live.phase == Phase::kOpen && can_be_aggregated(store_, row)) {
      found.push_back(aggregate(store_, row, sweep.plan.stages[live.number]));
    }
  }
  if (!named) throw Error("sweep " + std::to_string(sweep.id) + " has no stage \"" + stage + "\"");
  return found;
}

// Connected, and yet none of their runners computes for the sweep.
std::vector<std::string> Loop::unable_workers(const LiveSweep& sweep) const {
  std::set<std::string> bound;
  for (const auto& binding : store_.bindings(sweep.id)) bound.insert(binding.tag);
  if (bound.empty() || !sweep.bound || bound.contains(std::string(kAnyTag))) return {};
  std::string wanted;
  for (const auto& tag : bound) wanted += (wanted.empty() ? "" : " or ") + tag;
  std::vector<std::string> lines;
  for (const auto& worker : scheduler_.workers()) {
    std::set<std::string> tags;
    for (const auto& runner : worker.runners) tags.insert(runner.tag);
    const bool helps =
        std::any_of(tags.begin(), tags.end(), [&](const auto& tag) { return bound.contains(tag); });
    if (!worker.connected || tags.empty() || helps) continue;
    const auto key = allowed_.find(worker.worker);
    std::string offered;
    for (const auto& tag : tags) offered += (offered.empty() ? "" : ", ") + tag;
    lines.push_back("worker " + (key ? key->name : worker.worker) +
                    " may not help: it computes as " + offered + ", and the sweep is bound to " +
                    wanted);
  }
  return lines;
}

std::string Loop::create_key(const Request& request) {
  const auto role = transport::role_from(get<std::string>(request.fields, "role"));
  const auto address =
      get_or<std::string>(request.fields, "address",
                          options_.advertise.empty() ? server_.address() : options_.advertise);
  const auto file =
      transport::create_key(options_.state, role, get<std::string>(request.fields, "name"),
                            transport::address_elsewhere(address));
  ticked_at_ = sampled_at_ = 0;
  return dump({{"key_file",
                {{"role", transport::to_string(file.role)},
                 {"name", file.name},
                 {"address", file.address},
                 {"coordinator_public", file.coordinator_public},
                 {"public_key", file.pair.public_key},
                 {"secret_key", file.pair.secret_key}}}});
}

std::string Loop::revoke_key(const Request& request) {
  const auto name = get<std::string>(request.fields, "name");
  const auto workers = get_or<bool>(request.fields, "set_aside", false)
                           ? bearers(store_, options_.state, name)
                           : std::vector<std::string>();
  if (workers.empty() || is_allowed(options_.state, name))
    transport::revoke_key(options_.state, name);
  allowed_.refresh();            // nothing more is taken of its bearer
  ticked_at_ = sampled_at_ = 0;  // ... who is gone in this turn
  return dump({{"name", name}, {"set_aside", withdraw(name, workers)}});
}

std::string Loop::bench(int64_t n_shards) {
  if (n_shards < 1 || n_shards > 100'000'000)
    throw Error("bench.submit takes 1 to 100,000,000 shards");
  const experiments::Sweep plan = experiments::noop::sweep(0, n_shards);  // its number is to come
  store::SweepRow row;
  row.name = plan.spec.name;
  row.digest = sha256(row.name + " " + std::to_string(n_shards));
  row.file = "bench dispatch";
  row.root = options_.root;
  row.state = "running";
  const auto id = store_.add_sweep(row, stage_rows(plan));
  read_again(*store_.sweep(id));
  return dump({{"id", id}});
}

}  // namespace headcount::coordinator
