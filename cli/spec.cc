// Part of cli/command.h.
// headcount check | plan | submit: what a spec says, what it would run, and giving it to a
// coordinator.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "cli/command.h"
#include "cli/connection.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/tables.h"
#include "cli/text.h"
#include "cluster/process/host_memory.h"
#include "coordinator/view.h"
#include "experiments/memory.h"
#include "experiments/plan_summary.h"
#include "experiments/sweep.h"
#include "experiments/trust.h"

namespace headcount::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using experiments::Stage;
using experiments::Sweep;

constexpr double kEstimateSeconds = 5.0;  // spent on asking the database

struct Options {
  std::string spec, root, shards_file, device_memory;
  bool gpu = false;
  bool wait = false;
};

int report_problems(const Common& common, const std::vector<Problem>& problems) {
  const std::string count =
      std::to_string(problems.size()) + (problems.size() == 1 ? " problem" : " problems");
  if (common.json()) {
    Json list = Json::array();
    for (const Problem& problem : problems) {
      list.push_back({{"file", problem.file},
                      {"line", problem.at.line},
                      {"column", problem.at.column},
                      {"key", problem.key},
                      {"message", problem.message}});
    }
    emit(common, Json{{"error", count + " in the spec"}, {"problems", list}}.dump());
  } else {
    std::cerr << to_string(problems);
    if (!to_string(problems).ends_with('\n')) std::cerr << '\n';
    if (!common.quiet()) std::cerr << count << "\n";
  }
  return kBadInput;
}

/// The spec read, checked and expanded; nullopt after its problems were reported.
std::optional<Sweep> prepared(const Session& session, const Options& options) {
  const std::string root = fs::absolute(options.root.empty() ? "." : options.root).string();
  experiments::Prepared result = experiments::prepare(read_file(options.spec), options.spec, root);
  if (!result.problems.empty() || !result.sweep) {
    report_problems(session.common, result.problems);
    return std::nullopt;
  }
  return std::move(result.sweep);
}

int check(const Session& session, const Options& options) {
  const auto sweep = prepared(session, options);
  if (!sweep) return kBadInput;
  Json stages = Json::array();
  int64_t shards = 0;
  size_t points = 0;
  for (const Stage& stage : sweep->stages) {
    stages.push_back({{"name", stage.name},
                      {"kind", std::string(stage.kind->name)},
                      {"points", stage.points.size()},
                      {"shards", experiments::count(stage)}});
    shards += experiments::count(stage);
    points += stage.points.size();
  }
  if (session.common.json()) {
    emit(session.common, Json{{"ok", true},
                              {"name", sweep->spec.name},
                              {"digest", to_hex(digest(sweep->spec))},
                              {"stages", stages}}
                             .dump());
  } else if (!session.common.quiet()) {
    emit(session.common, options.spec + ": fine; " + std::to_string(stages.size()) +
                             (stages.size() == 1 ? " stage, " : " stages, ") +
                             grouped(static_cast<int64_t>(points)) +
                             (points == 1 ? " point, " : " points, ") + grouped(shards) +
                             (shards == 1 ? " shard" : " shards"));
  }
  return kOk;
}

/// Mean seconds a shard of this kind took in this state's past; nullopt: none ran.
std::optional<double> seconds_per_shard(const store::Store& store, const std::string& kind) {
  const auto answer = store.query(
      "SELECT avg(s.seconds) FROM shards s JOIN stage t ON t.sweep = s.sweep AND t.name = s.stage "
      "WHERE s.state = 'done' AND t.kind = '" +
          kind + "'",
      kEstimateSeconds);
  const auto* seconds = answer.rows.empty() ? nullptr : std::get_if<double>(&answer.rows[0][0]);
  return seconds != nullptr ? std::optional(*seconds) : std::nullopt;
}

/// Seconds one runner would take for what is left; nullopt where some kind never ran here.
std::optional<double> estimate(const experiments::PlanSummary& summary,
                               const std::optional<store::Store>& store) {
  double total = 0;
  for (const experiments::StageSummary& stage : summary.stages) {
    const int64_t left =
        stage.n_unique ? *stage.n_unique - stage.n_cached.value_or(0) : stage.n_shards;
    if (left == 0) continue;
    const auto each = store ? seconds_per_shard(*store, stage.kind) : std::nullopt;
    if (!each) return std::nullopt;
    total += *each * static_cast<double>(left);
  }
  return total;
}

/// The shards of all stages that read no other, each once; returns how many.
size_t write_shards(const Sweep& sweep, const std::string& path) {
  ShardFile file;
  for (const auto& model : sweep.models) file.model_paths[model->fingerprint] = model->path;
  std::set<ShardKey> seen;
  for (const Stage& stage : sweep.stages) {
    if (stage.input >= 0) continue;
    for (int64_t i = 0; i < experiments::count(stage); ++i) {
      Shard one = experiments::shard(stage, i);
      if (seen.insert(key(one)).second) file.shards.push_back(std::move(one));
    }
  }
  write_shard_file(path, file);
  return file.shards.size();
}

/// "24GB", "24 GiB", "24000000000"; empty: this machine's.
uint64_t device_memory(const std::string& text) {
  if (text.empty()) return process::host_memory_bytes();
  size_t end = 0;
  double number = 0;
  try {
    number = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  std::string unit = text.substr(end);
  std::erase(unit, ' ');
  const std::map<std::string, double> units = {{"", 1},      {"B", 1},
                                               {"MB", 1e6},  {"MiB", 1024.0 * 1024},
                                               {"GB", 1e9},  {"GiB", 1024.0 * 1024 * 1024},
                                               {"TB", 1e12}, {"TiB", 1024.0 * 1024 * 1024 * 1024}};
  const auto found = units.find(unit);
  if (end == 0 || found == units.end() || !(number > 0 && number * found->second < 1e18))
    throw BadInput("--device-memory: write bytes or a size as 24GB or 80GiB, not \"" + text + "\"");
  return static_cast<uint64_t>(number * found->second);
}

Json memory_json(const std::vector<experiments::ModelMemory>& models,
                 const experiments::DeviceMemory& device) {
  Json list = Json::array();
  for (const auto& one : models) {
    list.push_back({{"model", one.model},
                    {"dtype", one.dtype},
                    {"micro_batch_asked", one.pass.micro_batch},
                    {"micro_batch", one.fit.micro_batch},
                    {"checkpointing", one.fit.checkpointing},
                    {"length", one.pass.length},
                    {"weight_bytes", one.plan.weights},
                    {"activation_bytes", one.plan.activations},
                    {"logit_bytes", one.plan.logits},
                    {"total_bytes", one.plan.total()},
                    {"device_bytes", device.bytes},
                    {"fits", one.fit.micro_batch > 0}});
  }
  return list;
}

/// Throws Error, with the numbers, unless every model fits the device.
void need_memory(const std::vector<experiments::ModelMemory>& models,
                 const experiments::DeviceMemory& device) {
  for (const auto& one : models) {
    const std::string why = experiments::refusal(one, device);
    if (!why.empty()) throw Error(why);
  }
}

/// Gives stages the scores they read, as far as the newest sweep of this spec and these files has
/// them on record.
void attach_recorded_scores(Sweep& sweep, const store::Store& store) {
  const Digest spec = digest(sweep.spec);
  const auto sweeps = store.sweeps();
  const auto row = std::find_if(sweeps.rbegin(), sweeps.rend(),
                                [&](const auto& one) { return one.digest == spec; });
  if (row == sweeps.rend()) return;
  const auto stages = store.stages(row->id);
  const Digest files = coordinator::files_digest(sweep);
  if (!coordinator::changed_files(store, row->id, sweep, files, stages).empty()) return;
  for (const auto& stage : stages) {
    const int input = sweep.stages.at(static_cast<size_t>(stage.number)).input;
    if (input < 0) continue;
    const auto& source = stages.at(static_cast<size_t>(input));
    if (source.n_shards != experiments::count(sweep.stages.at(static_cast<size_t>(input))))
      continue;
    const auto table = store.table(source.id);
    if (table && experiments::outdated(*table).empty())
      experiments::attach_scores(sweep, stage.number, *table);
  }
}

int plan(const Session& session, const Options& options) {
  const experiments::DeviceMemory device{.bytes = device_memory(options.device_memory),
                                         .gpu = options.gpu};
  auto sweep = prepared(session, options);
  if (!sweep) return kBadInput;
  const auto memory = experiments::model_memory(*sweep, device);
  std::optional<store::Store> store;
  if (fs::exists(session.common.state + "/" + store::kFileName)) {
    store = store::Store::open_read_only(session.common.state);
    attach_recorded_scores(*sweep, *store);
  }
  const auto summary = experiments::summarize(*sweep, [&](const ShardKey& shard_key) {
    return store && store->recorded(shard_key, "any").has_value();
  });
  const std::optional<double> seconds = estimate(summary, store);
  const size_t written =
      options.shards_file.empty() ? 0 : write_shards(*sweep, options.shards_file);
  if (session.common.json()) {
    Json json = Json::parse(experiments::to_json(summary));
    json["runner_seconds"] = seconds ? Json(*seconds) : Json();
    json["memory"] = memory_json(memory, device);
    emit(session.common, json.dump());
    need_memory(memory, device);
    return kOk;
  }
  if (session.common.quiet()) {
    need_memory(memory, device);
    return kOk;
  }
  std::string text = experiments::to_text(summary);
  text += seconds
              ? "about " + duration_text(*seconds) +
                    " on one runner, by shards of these kinds in " + session.common.state + "\n"
              : "time: unknown, as no such shard was ever run in " + session.common.state + "\n";
  if (!options.shards_file.empty()) {
    text += "wrote " + grouped(static_cast<int64_t>(written)) + " shards to " +
            options.shards_file + "\n";
  }
  text += experiments::to_text(memory, device);
  emit(session.common, text);
  need_memory(memory, device);
  return kOk;
}

int submit(const Session& session, const Options& options) {
  const std::string text = read_file(options.spec);
  const ParsedSpec parsed = parse_spec(text, options.spec);
  if (!parsed.problems.empty()) return report_problems(session.common, parsed.problems);
  Connection connection = Connection::need(session.common);
  const Submitted submitted =
      submit_spec(session.common, connection, text, options.spec,
                  options.root.empty() ? "" : fs::absolute(options.root).string(), false);
  if (!options.wait) {
    if (session.common.json()) {
      emit(session.common, submitted.json);
    } else {
      emit(session.common, session.common.quiet() ? submitted.id : to_string(submitted));
    }
    return kOk;
  }
  if (!session.common.quiet()) std::cerr << to_string(submitted) << "\n";
  const Interrupt interrupt;
  const Waited waited = watch_sweep(connection, submitted.id, session.common.quiet(), 600'000,
                                    [&] { return interrupt.count() > 0; });
  if (waited.state == "interrupted") {
    std::cerr << "the sweep goes on without this command: headcount sweep watch " << submitted.id
              << "\n";
    return kFailed;
  }
  return show_outcome(session.common, waited, submitted.id);
}

}  // namespace

void add_spec_commands(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  const auto add_spec = [&](CLI::App* command, const char* root_help) {
    command->add_option("spec", options->spec, "the TOML file (docs/spec.md)")->required();
    command->add_option("--root", options->root, root_help)->type_name("DIR");
  };

  CLI::App* checked = add_command(
      app, session, "check", "everything that is wrong with a spec, before anything runs",
      "  headcount check examples/demo.toml\n  headcount check spec.toml --format json",
      [&session, options] { return check(session, *options); });
  add_spec(checked, "where relative paths start (default: this directory)");
  add_output(*checked, session, {"text", "json", "quiet"});

  CLI::App* planned = add_command(
      app, session, "plan",
      "what a spec would run: points, shards, what is on record already, time, memory",
      "  headcount plan spec.toml\n  headcount plan spec.toml --shards shards.bin\n"
      "  headcount-runner run shards.bin -o results.bin      (then, without any coordinator)",
      [&session, options] { return plan(session, *options); });
  add_spec(planned, "where relative paths start (default: this directory)");
  planned
      ->add_option("--shards", options->shards_file,
                   "write the shards themselves (of stages that read no other) for "
                   "headcount-runner run")
      ->type_name("FILE");
  planned
      ->add_option("--device-memory", options->device_memory,
                   "plan for a device of that memory, as 24GB or 80GiB (default: this machine's)")
      ->type_name("SIZE");
  planned->add_flag("--gpu", options->gpu, "that device is a GPU, whose passes hold a little more");
  add_output(*planned, session, {"text", "json", "quiet"});
  add_state(*planned, session);

  CLI::App* submitted = add_command(
      app, session, "submit", "give a spec to the coordinator; prints the sweep's id",
      "  headcount submit spec.toml\n  headcount submit spec.toml --wait --format markdown\n"
      "  headcount submit spec.toml --coordinator tcp://head.example:7600 --key alice.key",
      [&session, options] { return submit(session, *options); });
  add_spec(submitted,
           "where relative paths start, on the coordinator's machine (default: its own --root)");
  submitted->add_flag("--wait", options->wait, "show progress and end with the tables");
  add_output(*submitted, session, {"text", "json", "quiet", "markdown", "latex", "csv"});
  add_coordinator(*submitted, session);
}

}  // namespace headcount::cli
