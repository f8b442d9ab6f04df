// Part of cli/command.h.
// headcount worker start | list | drain.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/connection.h"
#include "cli/local.h"
#include "cli/text.h"
#include "cluster/transport/keys.h"
#include "coordinator/coordinator.h"
#include "coordinator/sweep_status.h"
#include "worker/daemon.h"
#include "worker/devices.h"

namespace headcount::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Options {
  std::vector<std::string> devices, model_paths;
  int runners = 0, threads = 1;
  std::string idle_exit, until, name;
  bool detach = false, noop_only = false;
};

int64_t unix_now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// The key of --key, else one for this machine's own worker where the coordinator runs here.
transport::KeyFile find_key(const Common& common) {
  if (!common.key_file.empty()) {
    transport::KeyFile key = transport::read_key_file(common.key_file);
    if (!common.coordinator.empty()) key.address = common.coordinator;
    return key;
  }
  const auto running = coordinator::find_running(common.state);
  if (!running) {
    throw BadInput(
        "worker start needs --key FILE (headcount key create worker NAME -o FILE on the "
        "coordinator's machine); no coordinator runs in " +
        common.state);
  }
  const std::string path = common.state + "/keys/local-worker.key";
  if (!fs::exists(path)) {
    transport::write_key_file(path, transport::create_key(common.state, transport::Role::kWorker,
                                                          "local", running->address));
  }
  transport::KeyFile key = transport::read_key_file(path);
  key.address = running->address;
  return key;
}

std::vector<std::pair<std::string, std::string>> model_paths(
    const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::string>> map;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
      throw BadInput("--model-path " + text + ": expected NAME=DIR");
    }
    const std::string folder = text.substr(equals + 1);
    if (!fs::is_directory(folder)) {
      throw BadInput("--model-path " + text + ": " + folder + " is no directory");
    }
    map.emplace_back(text.substr(0, equals), fs::absolute(folder).string());
  }
  return map;
}

worker::WorkerOptions worker_options(const Session& session, const Options& options) {
  worker::WorkerOptions run;
  std::vector<std::string> devices = options.devices;
  for (const std::string& device : devices) {
    try {
      worker::check_device(device);
    } catch (const Error& error) {
      throw BadInput(error.what());
    }
  }
  if (devices.empty()) devices = worker::found_devices();
  run.devices =
      worker::runner_devices(devices, options.runners, options.threads, worker::usable_cpus());
  run.threads = options.threads;
  run.model_paths = model_paths(options.model_paths);
  if (!options.idle_exit.empty()) {
    run.idle_exit_ms = parse_duration_ms(options.idle_exit, "--idle-exit");
  }
  if (!options.until.empty()) {
    run.until_unix_ms = parse_time_ms(options.until, "--until", unix_now_s());
  }
  run.key = find_key(session.common);
  if (run.key.role != transport::Role::kWorker) {
    throw BadInput("the key \"" + run.key.name + "\" is a " + transport::to_string(run.key.role) +
                   "'s; a worker needs one made by headcount key create worker NAME");
  }
  run.state = session.common.state + "/workers/" + run.key.name;
  if (!options.noop_only) run.runner_program = need_runner_program();
  return run;
}

/// The arguments of the same start in the foreground.
std::vector<std::string> foreground_arguments(const Session& session, const Options& options) {
  std::vector<std::string> arguments = {"worker", "start", "--state",
                                        fs::absolute(session.common.state).string()};
  const auto add = [&](const std::string& flag, const std::string& value) {
    if (!value.empty()) arguments.insert(arguments.end(), {flag, value});
  };
  add("--key", session.common.key_file);
  add("--coordinator", session.common.coordinator);
  for (const std::string& device : options.devices) add("--device", device);
  for (const std::string& path : options.model_paths) add("--model-path", path);
  add("--runners", std::to_string(options.runners));
  add("--threads", std::to_string(options.threads));
  add("--idle-exit", options.idle_exit);
  add("--until", options.until);
  if (options.noop_only) arguments.emplace_back("--noop-only");
  return arguments;
}

int start(const Session& session, const Options& options) {
  const worker::WorkerOptions run = worker_options(session, options);
  if (!options.detach) return worker::worker_main(run);
  const std::string ready = run.state + "/worker.json";
  const int pid = start_detached(foreground_arguments(session, options), run.state + "/worker.out",
                                 [&] { return fs::exists(ready); });
  if (session.common.json()) {
    emit(session.common, Json{{"pid", pid}, {"name", run.key.name}, {"state", run.state}}.dump());
  } else if (!session.common.quiet()) {
    emit(session.common, "worker " + run.key.name + " runs (pid " + std::to_string(pid) + ", log " +
                             run.state + "/worker.log)");
  }
  return kOk;
}

std::string devices_text(const std::vector<coordinator::WorkerStatus::Device>& devices) {
  std::vector<std::pair<std::string, int>> counts;
  for (const auto& runner : devices) {
    if (counts.empty() || counts.back().first != runner.device)
      counts.emplace_back(runner.device, 0);
    ++counts.back().second;
  }
  std::string text;
  for (const auto& [name, n] : counts) {
    text += (text.empty() ? "" : ", ") + (n > 1 ? std::to_string(n) + " x " : "") + name;
  }
  return text.empty() ? "no runner" : text;
}

int list(const Session& session) {
  const std::string answer = Connection::need(session.common).ask("worker.list", {});
  if (session.common.json()) {
    emit(session.common, answer);
    return kOk;
  }
  std::vector<std::vector<std::string>> rows = {
      {"name", "host", "state", "runners", "running", "held", "done", "heard", "numerics"}};
  std::string names, problems;
  for (const auto& worker : coordinator::workers_from_json(answer)) {
    std::vector<std::string> tags;
    for (const auto& runner : worker.devices) {
      if (!runner.tag.empty() && (tags.empty() || tags.back() != runner.tag))
        tags.push_back(runner.tag);
    }
    std::string tag_text;
    for (const std::string& tag : tags) tag_text += (tag_text.empty() ? "" : " | ") + tag;
    rows.push_back({worker.name, worker.host, worker.state, devices_text(worker.devices),
                    grouped(worker.running), grouped(worker.held), grouped(worker.done),
                    duration_text(worker.last_seen_s) + " ago", tag_text});
    names += worker.name + "\n";
    if (!worker.problem.empty()) problems += worker.name + " waits: " + worker.problem + "\n";
  }
  emit(session.common, session.common.quiet() ? names : aligned(rows) + problems);
  return kOk;
}

int drain(const Session& session, const Options& options) {
  Connection::need(session.common).ask("worker.drain", {{"name", options.name}});
  if (session.common.json()) {
    emit(session.common, Json{{"draining", options.name}}.dump());
  } else if (!session.common.quiet()) {
    emit(session.common, options.name + " drains: what runs ends, then the worker does");
  }
  return kOk;
}

}  // namespace

void add_worker_commands(CLI::App& app, Session& session) {
  CLI::App* family =
      app.add_subcommand("worker", "the daemon that computes: one per node; start, list, drain");
  family->require_subcommand(1);
  const auto options = std::make_shared<Options>();

  CLI::App* begin = add_command(
      *family, session, "start",
      "run a worker: one headcount-runner per device. SIGTERM drains it, a second one ends it",
      "  headcount worker start --key node1.key\n"
      "  headcount worker start --key node1.key --device cuda:0 --device cuda:1\n"
      "  headcount worker start --key node1.key --device cpu --runners 8 --idle-exit 10m\n"
      "  headcount worker start --key node1.key --until 18:30 "
      "--model-path LLaDA-8B=/scratch/llada",
      [&session, options] { return start(session, *options); });
  begin
      ->add_option(
          "--device", options->devices,
          "cpu or cuda:N, several times for several (default: every visible GPU, else cpu)")
      ->type_name("DEVICE")
      ->take_all();
  begin
      ->add_option("--runners", options->runners,
                   "runners per device (default: one a GPU; on the CPU one per --threads cores)")
      ->check(CLI::Range(0, 1024));
  begin->add_option("--threads", options->threads, "threads of a CPU runner; part of its numerics")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  begin
      ->add_option(
          "--model-path", options->model_paths,
          "where a model of the spec lies on this node: its path there, or the last part of it")
      ->type_name("NAME=DIR")
      ->take_all();
  begin->add_option("--idle-exit", options->idle_exit, "end after so long without work")
      ->type_name("10m");
  begin
      ->add_option(
          "--until", options->until,
          "take no shard that cannot finish by then, and end: 18:30, 2026-11-21 07:00, +8h")
      ->type_name("TIME");
  begin->add_flag("--noop-only", options->noop_only,
                  "start no runner: only the no-op shards of bench dispatch are done");
  begin->add_flag("--detach", options->detach,
                  "return once the coordinator has welcomed it; it runs on");
  add_coordinator(*begin, session);
  add_output(*begin, session, {"text", "json", "quiet"});

  CLI::App* all = add_command(*family, session, "list", "every worker the coordinator knows",
                              "  headcount worker list", [&session] { return list(session); });
  CLI::App* away = add_command(*family, session, "drain", "let a worker end what runs, then itself",
                               "  headcount worker drain node1",
                               [&session, options] { return drain(session, *options); });
  away->add_option("name", options->name, "its key's name")->required();
  for (CLI::App* command : {all, away}) {
    add_output(*command, session, {"text", "json", "quiet"});
    add_coordinator(*command, session);
  }
}

}  // namespace headcount::cli
