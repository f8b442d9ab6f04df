// Part of cli/command.h.
// headcount run | demo: coordinator and workers on this machine, progress, tables, exit. A sweep
// that was interrupted goes on when the same spec is run again.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/local.h"
#include "cli/progress.h"
#include "cli/tables.h"
#include "cluster/process/host_memory.h"
#include "experiments/check.h"
#include "experiments/memory.h"
#include "schemas/spec.h"
#include "store/store.h"
#include "worker/devices.h"

namespace headcount::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string spec, root;
  std::vector<std::string> devices, model_paths;
  int workers = 1, runners = 0;
  std::optional<int> threads;
};

std::vector<std::string> worker_flags(const Options& options) {
  std::vector<std::string> flags = {"--runners", std::to_string(options.runners), "--threads",
                                    std::to_string(options.threads.value_or(1))};
  for (const std::string& device : options.devices) flags.insert(flags.end(), {"--device", device});
  for (const std::string& path : options.model_paths) {
    flags.insert(flags.end(), {"--model-path", path});
  }
  return flags;
}

/// What is wrong with the spec that can be seen without opening a model or a dataset.
void check_text(const std::string& text, const std::string& file) {
  ParsedSpec parsed = parse_spec(text, file);
  if (parsed.spec && parsed.problems.empty()) {
    experiments::check_stages(*parsed.spec, experiments::kinds(), parsed.problems);
  }
  if (!parsed.problems.empty()) throw BadInput(to_string(parsed.problems));
}

/// CPU runners share the machine's memory: as many as hold the spec's models, of more threads where
/// those are fewer than its cores. What the user has chosen stays.
void choose_runners(Options& options, const std::string& text, const std::string& root,
                    bool quiet) {
  const auto devices = options.devices.empty() ? worker::found_devices() : options.devices;
  const bool all_cpu = std::all_of(devices.begin(), devices.end(),
                                   [](const std::string& device) { return device == "cpu"; });
  const auto cpus = worker::usable_cpus();
  const int most = std::max(1, cpus / options.threads.value_or(1));
  if (options.runners > 0 || !all_cpu || most == 1) return;
  const auto prepared = experiments::prepare(text, options.spec, root);
  if (!prepared.sweep) return;  // the coordinator says why
  const auto refuses = [&](int runners) {
    const experiments::DeviceMemory share{.bytes = process::host_memory_bytes() /
                                                   static_cast<uint64_t>(runners)};
    const auto models = experiments::model_memory(*prepared.sweep, share);
    return std::any_of(models.begin(), models.end(), [&](const auto& model) {
      return !experiments::refusal(model, share).empty();
    });
  };
  int runners = most;
  while (runners > 1 && refuses(runners)) runners /= 2;
  if (runners == most) return;
  options.runners = runners;
  if (!options.threads) options.threads = cpus / runners;
  if (!quiet)
    std::cerr << "runners: " << runners << " of " << *options.threads
              << " threads; more would not all hold the spec's models\n";
}

int run(const Session& session, Options options) {
  const Common& common = session.common;
  const std::string text = read_file(options.spec);
  check_text(text, options.spec);
  need_runner_program();
  const std::string state = fs::absolute(common.state).string();
  const std::string root = fs::absolute(options.root.empty() ? "." : options.root).string();
  choose_runners(options, text, root, common.quiet());
  const Interrupt interrupt;
  LocalCluster cluster({.state = state,
                        .root = root,
                        .workers = options.workers,
                        .worker_flags = worker_flags(options)});
  cluster.start_workers();
  Connection connection = cluster.connect();
  const Submitted submitted = submit_spec(common, connection, text, options.spec, "", true);
  if (!common.quiet()) std::cerr << to_string(submitted) << "\n";
  const Waited waited = watch_sweep(connection, submitted.id, common.quiet(), 60'000, [&] {
    cluster.supervise();
    return interrupt.count() > 0;
  });
  if (waited.state == "interrupted" && !common.quiet()) {
    std::cerr << "waits for the shards that are running (Ctrl-C again: at once)\n";
  }
  cluster.stop([&] { return interrupt.count() > 1; });
  if (waited.state == "interrupted") {
    std::cerr << "stopped; everything computed is kept. Go on by the same command: headcount run "
              << options.spec << " --state " << common.state << "\n";
    return kFailed;
  }
  const int status = show_outcome(common, waited, submitted.id);
  if (!common.quiet()) {
    std::cerr << "database: " << state << "/" << store::kFileName
              << "   (headcount results|export|query, sqlite3, pandas)\n";
  }
  return status;
}

/// examples/demo.toml of the source tree this program was built from, or installed beside it.
std::string demo_spec() {
  const fs::path here = process::program_directory();
  for (const fs::path& path :
       {here / "../../examples/demo.toml", here / "../share/headcount/examples/demo.toml",
        fs::path(HEADCOUNT_SOURCE_DIR) / "examples/demo.toml"}) {
    if (fs::exists(path)) return fs::canonical(path).string();
  }
  throw Error("examples/demo.toml is not found beside this program");
}

int demo(Session& session, Options options) {
  if (options.spec.empty()) options.spec = demo_spec();
  options.workers = 2;
  options.runners = options.runners == 0 ? 1 : options.runners;
  options.root = fs::path(options.spec).parent_path().string();
  session.common.state += "/demo";
  return run(session, options);
}

void add_devices(CLI::App& command, const std::shared_ptr<Options>& options) {
  command
      .add_option("--device", options->devices,
                  "cpu or cuda:N, several times for several (default: every visible GPU, else cpu)")
      ->type_name("DEVICE")
      ->take_all();
  command
      .add_option("--runners", options->runners,
                  "runners per device and worker (default: one a GPU; on the CPU one per --threads "
                  "cores)")
      ->check(CLI::Range(0, 1024));
  command
      .add_option("--threads", options->threads,
                  "threads of a CPU runner; part of its numerics (default: 1, more where fewer "
                  "runners hold the models)")
      ->check(CLI::Range(1, 1024));
}

}  // namespace

void add_run_commands(CLI::App& app, Session& session) {
  const std::vector<std::string> formats = {"text", "json", "quiet", "markdown", "latex", "csv"};
  const auto demo_options = std::make_shared<Options>();
  CLI::App* shown =
      add_command(app, session, "demo",
                  "a whole sweep on the built-in models: coordinator, two workers, tables",
                  "  headcount demo\n  headcount demo --state /tmp/demo-state",
                  [&session, demo_options] { return demo(session, *demo_options); });
  add_devices(*shown, demo_options);
  add_state(*shown, session);
  add_output(*shown, session, formats);

  const auto options = std::make_shared<Options>();
  CLI::App* begin = add_command(
      app, session, "run",
      "run a spec on this machine: progress, tables, exit. Ctrl-C, and the same again goes on",
      "  headcount run examples/demo.toml\n"
      "  headcount run spec.toml --device cuda:0 --device cuda:1 --format markdown -o tables.md\n"
      "  headcount run spec.toml --device cpu --runners 8 --state /data/headcount",
      [&session, options] { return run(session, *options); });
  begin->add_option("spec", options->spec, "the TOML file (docs/spec.md)")->required();
  begin
      ->add_option("--root", options->root,
                   "where its relative paths start (default: this directory)")
      ->type_name("DIR");
  begin->add_option("--workers", options->workers, "worker daemons to start")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  begin
      ->add_option(
          "--model-path", options->model_paths,
          "where a model of the spec really lies: its path in the spec, or the last part of it")
      ->type_name("NAME=DIR")
      ->take_all();
  add_devices(*begin, options);
  add_state(*begin, session);
  add_output(*begin, session, formats);
}

}  // namespace headcount::cli
