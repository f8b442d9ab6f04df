// headcount bench dispatch | tokenize | coverage | head-importance: the measurements the issues
// name. The last line of stdout is one JSON object.
#include "cli/bench.h"

#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/local.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cluster/process/process.h"

namespace headcount::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Options {
  int64_t shards = 100'000;
  int workers = 2;
  std::string peer;
};

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
    const Json status = Json::parse(connection.ask("sweep.status", {{"id", id}}));
    const Json& stage = status.at("stages").at(0);
    if (stage.value("planned", int64_t{0}) >= shards && stage.value("state", "") == "open") return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

/// The same number of no-op tasks on a local Dask cluster: the row its script prints.
Json dask(const Options& options) {
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

Json dispatch(const Options& options) {
  const TemporaryState state;
  LocalCluster cluster({.state = state.path(),
                        .root = state.path(),
                        .workers = options.workers,
                        .worker_flags = {"--noop-only"}});
  Connection connection = cluster.connect();
  const pid_t pid = cluster.coordinator_pid();
  const int64_t rss_before = rss_bytes(pid);
  const std::string id = std::to_string(
      Json::parse(connection.ask("bench.submit", {{"shards", options.shards}}, 600'000))
          .at("id")
          .get<int64_t>());
  wait_until_planned(connection, id, options.shards);
  const int64_t rss_planned = rss_bytes(pid);
  const Json info_before = Json::parse(connection.ask("coordinator.info", {}));
  const double cpu_before = cpu_seconds(pid);
  cluster.start_workers();
  const auto start = Clock::now();
  const Interrupt interrupt;
  const Waited waited = watch_sweep(connection, id, false, 60'000, [&] {
    cluster.supervise();
    return interrupt.count() > 0;
  });
  const double wall_s = seconds_since(start);
  if (waited.state != "finished") throw Error("the sweep is " + waited.state);
  const double cpu_s = cpu_seconds(pid) - cpu_before;
  const Json info_after = Json::parse(connection.ask("coordinator.info", {}));
  const double busy_s = Json::parse(waited.status_json).value("busy_s", wall_s);
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
          {"shards_per_s", n / busy_s},
          {"busy_s", busy_s},
          {"coordinator_cpu_us_per_shard", cpu_s / n * 1e6},
          {"bytes_per_unfinished_shard", static_cast<double>(rss_planned - rss_before) / n},
          {"shards_per_commit", n / std::max(1.0, grown("commits"))},
          {"restart_s", seconds_since(restart)}};
}

int bench_dispatch(const Session& session, const Options& options) {
  Json answer = dispatch(options);
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

int hand_to_runner(const CLI::App& app) {
  std::vector<std::string> arguments = {"bench", "head-importance"};
  for (const std::string& argument : app.remaining()) arguments.push_back(argument);
  become_runner(arguments);
}

}  // namespace

void add_bench_commands(CLI::App& app, Session& session) {
  CLI::App* family =
      app.add_subcommand("bench", "measure: dispatch, tokenize, coverage, head-importance");
  family->require_subcommand(1);
  const auto options = std::make_shared<Options>();

  CLI::App* dispatched =
      add_command(*family, session, "dispatch",
                  "durable no-op shards through a real coordinator and worker daemons on loopback",
                  "  headcount bench dispatch --shards 100000 --workers 2\n"
                  "  headcount bench dispatch --shards 100000 --workers 2 --peer dask",
                  [&session, options] { return bench_dispatch(session, *options); });
  dispatched->add_option("--shards", options->shards, "how many")
      ->check(CLI::Range(int64_t{1}, int64_t{100'000'000}))
      ->capture_default_str();
  dispatched->add_option("--workers", options->workers, "worker daemons")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  dispatched->add_option("--peer", options->peer, "measure this system in the same run too")
      ->check(CLI::IsMember({"dask"}));
  add_output(*dispatched, session, {"json"});

  const auto texts = std::make_shared<TokenizeBench>();
  CLI::App* cut = add_command(
      *family, session, "tokenize", "MB/s of encoding and decoding a text, on one core",
      "  headcount bench tokenize wikitext.txt --tokenizer /models/gpt2 --tokenizer tok512.bin",
      [&session, texts] { return bench_tokenize(session, *texts); });
  cut->add_option("file", texts->file, "the text")->required();
  cut->add_option("--tokenizer", texts->tokenizers, "a tokenizer file or folder; repeatable")
      ->required()
      ->type_name("PATH");
  cut->add_option("--runs", texts->runs, "timed runs; the median counts")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}))
      ->capture_default_str();
  add_output(*cut, session, {"json"});

  const auto trials = std::make_shared<CoverageBench>();
  CLI::App* covered = add_command(*family, session, "coverage",
                                  "how often the intervals of tables hold the truth, simulated",
                                  "  headcount bench coverage",
                                  [&session, trials] { return bench_coverage(session, *trials); });
  covered->add_option("--trials", trials->trials, "samples of each population")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000'000}))
      ->capture_default_str();
  covered->add_option("--seed", trials->seed, "other samples")->capture_default_str();
  covered
      ->add_option("--orders", trials->orders,
                   "draw from the random orders of `headcount results --format json`, 100 or more")
      ->type_name("FILE");
  add_output(*covered, session, {"json"});

  CLI::App* computed = family->add_subcommand(
      "head-importance", "useful GFLOP/s of gate gradients, by headcount-runner");
  computed->footer(
      "Examples:\n  headcount bench head-importance --threads 2\n"
      "Flags are headcount-runner's: headcount-runner bench head-importance --help");
  computed->prefix_command();
  computed->set_help_flag();  // --help is the runner's
  computed->callback(
      [&session, computed] { session.command = [computed] { return hand_to_runner(*computed); }; });
}

}  // namespace headcount::cli
