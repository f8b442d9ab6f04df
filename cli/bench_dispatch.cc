// Part of cli/bench.h.
// headcount bench dispatch | soak: how fast, how cheaply and how steadily a coordinator hands out
// shards that need no computation, with real daemons, TCP, CURVE and a durable database.
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/bench.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/light_workers.h"
#include "cli/local.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cluster/process/process.h"
#include "store/store.h"

namespace headcount::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr auto kIdleFor = std::chrono::seconds(20);        // of connected workers, measured
constexpr auto kWelcomedWithin = std::chrono::minutes(5);  // all of them
constexpr double kGrowthAllowed = 1.05;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// CPU seconds a process has used, user and system.
double cpu_seconds(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  std::istringstream rest(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) rest >> skipped;
  double user = 0, system = 0;
  rest >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

int64_t rss_bytes(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/statm");
  int64_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

/// A folder that is gone with this object, in --state's place or the system's for temporary files.
class TemporaryState {
 public:
  TemporaryState() {
    std::string name = (fs::temp_directory_path() / "headcount-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw Error("cannot create " + name + ": " + std::strerror(errno));
    }
    path_ = name;
  }
  TemporaryState(const TemporaryState&) = delete;
  TemporaryState& operator=(const TemporaryState&) = delete;
  ~TemporaryState() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Waits until every shard is planned, so that memory is that of unfinished shards.
void wait_until_planned(Connection& connection, const std::string& id, int64_t shards) {
  while (true) {
    const auto status = coordinator::status_from_json(connection.ask("sweep.status", {{"id", id}}));
    const auto& stage = status.stages.at(0);
    if (stage.planned >= shards && stage.state == "open") return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

/// The same number of no-op tasks on a local Dask cluster: the row its script prints.
Json dask(const DispatchBench& options) {
  const char* shared = std::getenv("HEADCOUNT_SHARED");
  const std::string script =
      (shared != nullptr ? std::string(shared) : HEADCOUNT_SOURCE_DIR "/../shared") +
      "/reference/dask_noop.py";
  if (!fs::exists(script)) throw Error("--peer dask: there is no " + script);
  const TemporaryState folder;
  const std::string answer = folder.path() + "/dask.json";
  process::Command command;
  command.arguments = {"/usr/bin/python3", script, std::to_string(options.shards)};
  command.environment = {{"WORKERS", std::to_string(options.workers)}, {"JSON", answer}};
  command.capture = false;
  process::Child child = process::Child::start(command);
  const auto exit = child.wait(3'600'000);
  if (!exit || exit->signal != 0 || exit->status != 0)
    throw Error("--peer dask: " + script + " failed");
  return Json::parse(read_file(answer)).at(0);
}

std::string submit_noops(Connection& connection, int64_t shards) {
  const auto answer = connection.ask("bench.submit", {{"shards", shards}}, 600'000);
  return std::to_string(Json::parse(answer).at("id").get<int64_t>());
}

/// Of `shards`, what each of `n` sweeps gets: the first ones one more where they do not divide.
std::vector<int64_t> shares(int64_t shards, int n) {
  std::vector<int64_t> all(static_cast<size_t>(n), shards / n);
  for (int64_t i = 0; i < shards % n; ++i) ++all[static_cast<size_t>(i)];
  return all;
}

Json dispatch(const DispatchBench& options) {
  if (options.shards < options.sweeps) throw BadInput("--shards: at least one a sweep");
  const TemporaryState state;
  LocalCluster cluster({.state = state.path(),
                        .root = state.path(),
                        .workers = options.workers,
                        .worker_flags = {"--noop-only"}});
  Connection connection = cluster.connect();
  const pid_t pid = cluster.coordinator_pid();
  const int64_t rss_before = rss_bytes(pid);
  std::vector<std::string> ids;
  for (const int64_t share : shares(options.shards, options.sweeps)) {
    ids.push_back(submit_noops(connection, share));
    wait_until_planned(connection, ids.back(), share);
  }
  const int64_t rss_planned = rss_bytes(pid);
  const Json info_before = Json::parse(connection.ask("coordinator.info", {}));
  const double cpu_before = cpu_seconds(pid);
  cluster.start_workers();
  const auto start = Clock::now();
  const Interrupt interrupt;
  double busy_s = 0;
  for (const std::string& id : ids) {
    const Waited waited = watch_sweep(connection, id, options.sweeps > 1, 60'000, [&] {
      cluster.supervise();
      return interrupt.count() > 0;
    });
    if (waited.state != "finished") throw Error("sweep " + id + " is " + waited.state);
    const auto& live = waited.status.live;
    // Of several sweeps the workers' start is included.
    busy_s = options.sweeps == 1 && live && live->busy_s ? *live->busy_s : seconds_since(start);
  }
  const double cpu_s = cpu_seconds(pid) - cpu_before;
  const Json info_after = Json::parse(connection.ask("coordinator.info", {}));
  const auto grown = [&](const char* name) {
    return info_after.value(name, 0.0) - info_before.value(name, 0.0);
  };
  const auto n = static_cast<double>(options.shards);
  if (grown("records") != n) {
    throw Error("of " + std::to_string(options.shards) + " shards " +
                std::to_string(static_cast<int64_t>(grown("records"))) + " were recorded");
  }
  cluster.kill_coordinator();
  const auto restart = Clock::now();
  cluster.start_coordinator();
  return {{"shards", options.shards},
          {"workers", options.workers},
          {"sweeps", options.sweeps},
          {"shards_per_s", n / busy_s},
          {"busy_s", busy_s},
          {"coordinator_cpu_us_per_shard", cpu_s / n * 1e6},
          {"bytes_per_unfinished_shard", static_cast<double>(rss_planned - rss_before) / n},
          {"shards_per_commit", n / std::max(1.0, grown("commits"))},
          {"grant_p99_ms", info_after.at("grant_p99_ms")},
          {"commit_p99_ms", info_after.at("commit_p99_ms")},
          {"database_bytes_per_shard",
           static_cast<double>(fs::file_size(state.path() + "/" + store::kFileName)) / n},
          {"restart_s", seconds_since(restart)}};
}

/// What workers that are only connected cost the coordinator.
Json idle(int n_workers) {
  const TemporaryState state;
  LocalCluster cluster({.state = state.path(), .root = state.path(), .worker_flags = {}});
  const pid_t pid = cluster.coordinator_pid();
  const int64_t rss_before = rss_bytes(pid);
  const auto start = Clock::now();
  const LightWorkers workers(state.path(), cluster.address(), n_workers);
  while (workers.n_welcomed() < n_workers) {
    cluster.supervise();
    if (Clock::now() - start > kWelcomedWithin) {
      throw Error("of " + std::to_string(n_workers) + " workers " +
                  std::to_string(workers.n_welcomed()) + " were welcomed within five minutes");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const double welcomed_s = seconds_since(start);
  const double cpu_before = cpu_seconds(pid);
  const auto quiet = Clock::now();
  std::this_thread::sleep_for(kIdleFor);
  const double share = (cpu_seconds(pid) - cpu_before) / seconds_since(quiet);
  if (workers.n_welcomed() < n_workers) throw Error("not every worker stayed welcome");
  return {{"workers", n_workers},
          {"welcomed_s", welcomed_s},
          {"coordinator_share_of_a_core", share},
          {"coordinator_bytes_per_worker",
           static_cast<double>(rss_bytes(pid) - rss_before) / n_workers}};
}

struct Sample {
  double at_s = 0;
  int64_t coordinator = 0, workers = 0, database = 0;  // bytes
};

/// The largest of `samples` in [from, to), of the coordinator or of all workers.
int64_t most(const std::vector<Sample>& samples, double from, double to, int64_t Sample::*bytes) {
  int64_t found = 0;
  for (const Sample& sample : samples) {
    if (sample.at_s >= from && sample.at_s < to) found = std::max(found, sample.*bytes);
  }
  return found;
}

}  // namespace

int bench_dispatch(const Session& session, const DispatchBench& options) {
  Json answer;
  if (options.connected > 0) answer["connected"] = idle(options.connected);
  answer.update(dispatch(options));
  if (options.peer == "dask") {
    const Json row = dask(options);
    const auto n = static_cast<double>(options.shards);
    answer["dask_tasks_per_s"] = row.at("tasks_per_s");
    answer["dask_cpu_us_per_task"] = row.at("sched_client_cpu_s").get<double>() / n * 1e6;
    answer["dask_bytes_per_task"] = row.at("sched_client_rss_growth_B_per_task");
  }
  emit(session.common, answer.dump());
  return kOk;
}

int bench_soak(const Session& session, const SoakBench& options) {
  if (options.seconds <= options.settle) throw BadInput("--seconds must be more than --settle");
  const TemporaryState state;
  LocalCluster cluster(
      {.state = state.path(), .root = state.path(), .workers = 2, .worker_flags = {"--noop-only"}});
  Connection connection = cluster.connect();
  cluster.start_workers();
  const Interrupt interrupt;
  const auto start = Clock::now();
  std::vector<Sample> samples;
  int64_t records = 0, sweeps = 0;
  double next_sample = 0;
  while (seconds_since(start) < static_cast<double>(options.seconds) && interrupt.count() == 0) {
    cluster.supervise();
    const Json info = Json::parse(connection.ask("coordinator.info", {}, 60'000));
    records = info.value("records", int64_t{0});
    if (info.at("sweeps").value("running", 0) < 2) {
      submit_noops(connection, options.shards);
      ++sweeps;
    }
    if (seconds_since(start) >= next_sample) {
      Sample sample{
          .at_s = seconds_since(start),
          .coordinator = rss_bytes(cluster.coordinator_pid()),
          .database = static_cast<int64_t>(fs::file_size(state.path() + "/" + store::kFileName))};
      for (const pid_t worker : cluster.worker_pids()) sample.workers += rss_bytes(worker);
      samples.push_back(sample);
      std::cerr << static_cast<int64_t>(sample.at_s) << " s: " << records << " shards, "
                << sample.coordinator / 1'000'000 << " MB\n";
      next_sample += 10;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  const double seconds = seconds_since(start);
  const auto settle = static_cast<double>(options.settle);
  // The largest of the first part after settling against the largest of all: sweeps come and go in
  // between, so single samples say nothing.
  const double half = settle + (seconds - settle) / 2;
  Json answer = {{"seconds", seconds},
                 {"shards_per_s", static_cast<double>(records) / seconds},
                 {"sweeps", sweeps}};
  double worst = 0;
  for (const auto& [name, bytes] :
       {std::pair("coordinator", &Sample::coordinator), std::pair("workers", &Sample::workers)}) {
    const auto before = static_cast<double>(most(samples, settle, half, bytes));
    const auto after = static_cast<double>(most(samples, half, seconds, bytes));
    answer[std::string(name) + "_growth"] = before > 0 ? after / before : 0.0;
    worst = std::max(worst, before > 0 ? after / before : 0.0);
  }
  for (const Sample& sample : samples) {
    answer["samples"].push_back({{"at_s", sample.at_s},
                                 {"coordinator_bytes", sample.coordinator},
                                 {"workers_bytes", sample.workers},
                                 {"database_bytes", sample.database}});
  }
  emit(session.common, answer.dump());
  if (worst <= kGrowthAllowed) return kOk;
  std::cerr << "headcount: memory grew by more than five percent after settling\n";
  return kFailed;
}

}  // namespace headcount::cli
