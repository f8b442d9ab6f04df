// Part of cli/command.h.
// headcount sweep list | status | watch | cancel | pause | resume | retry | explain.
#include <CLI/CLI.hpp>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/connection.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "coordinator/view.h"

namespace headcount::cli {
namespace {

using coordinator::SweepStatus;
using Json = nlohmann::json;

/// The coordinator's answer, or where none runs the database's own.
std::string list_json(const Common& common) {
  if (auto connection = Connection::find(common)) return connection->ask("sweep.list", {});
  return coordinator::list_json(open_database(common));
}

SweepStatus status_of(const Common& common, const std::string& id) {
  if (auto connection = Connection::find(common)) {
    return coordinator::status_from_json(connection->ask("sweep.status", {{"id", id}}));
  }
  const store::Store store = open_database(common);
  return coordinator::sweep_status(store, coordinator::find_sweep(store, id).id);
}

int list(const Session& session) {
  const std::string answer = list_json(session.common);
  if (session.common.json()) {
    emit(session.common, answer);
    return kOk;
  }
  std::vector<std::vector<std::string>> rows = {
      {"id", "name", "state", "done", "shards", "created", "digest", "file"}};
  std::string ids;
  const Json parsed = Json::parse(answer);
  for (const Json& sweep : parsed.at("sweeps")) {
    rows.push_back({std::to_string(sweep.at("id").get<int64_t>()), sweep.at("name"),
                    sweep.at("state"), grouped(sweep.at("done")), grouped(sweep.at("shards")),
                    sweep.at("created_at"), sweep.at("digest").get<std::string>().substr(0, 12),
                    sweep.at("file")});
    ids += rows.back()[0] + "\n";
  }
  emit(session.common, session.common.quiet() ? ids : aligned(rows));
  return kOk;
}

std::string status_text(const SweepStatus& status) {
  std::string text = "sweep " + std::to_string(status.id) + " \"" + status.name +
                     "\": " + status.state + ", created " + status.created_at + "\n";
  if (status.live && !status.live->waits.empty())
    text += "WAITS: nothing can be recorded: " + status.live->waits + "\n";
  for (const std::string& line : progress_lines(status, false)) text += line + "\n";
  for (const auto& [model, tag] : status.models) {
    text += "model " + model + ": " +
            (tag.empty() ? "not bound to a numerics tag yet" : "numerics " + tag) + "\n";
  }
  for (const auto& stage : status.stages) {
    if (stage.withdrawn > 0)
      text += "WARNING: " + grouped(stage.withdrawn) + " results behind the table of stage " +
              stage.name + " were set aside since: `headcount sweep retry " +
              std::to_string(status.id) + "`\n";
  }
  for (const std::string& alarm : status.alarms) text += "ALARM: " + alarm + "\n";
  return text;
}

int status(const Session& session, const std::string& id) {
  const SweepStatus status = status_of(session.common, id);
  if (session.common.json()) {
    emit(session.common, coordinator::status_json(status));
  } else {
    emit(session.common, session.common.quiet() ? status.state : status_text(status));
  }
  return kOk;
}

int watch(const Session& session, const std::string& id) {
  Connection connection = Connection::need(session.common);
  const Interrupt interrupt;
  const Waited waited = watch_sweep(connection, id, session.common.quiet(), 60'000,
                                    [&] { return interrupt.count() > 0; });
  if (waited.state == "interrupted") return kOk;  // only the watching ends
  if (session.common.json()) {
    emit(session.common, coordinator::status_json(waited.status));
  } else {
    emit(session.common, session.common.quiet() ? waited.state : status_text(waited.status));
  }
  return waited.state == "finished" ? kOk : kFailed;
}

/// cancel, pause, resume, retry: one request that answers with the new state.
int order(const Session& session, const std::string& verb, const std::string& id) {
  const std::string answer = Connection::need(session.common).ask("sweep." + verb, {{"id", id}});
  const Json json = Json::parse(answer);
  if (session.common.json()) {
    emit(session.common, answer);
  } else if (!session.common.quiet()) {
    emit(session.common, "sweep " + std::to_string(json.at("id").get<int64_t>()) + " is " +
                             json.at("state").get<std::string>());
  }
  return kOk;
}

int explain(const Session& session, const std::string& id) {
  Json lines = Json::array();
  if (auto connection = Connection::find(session.common)) {
    lines = Json::parse(connection->ask("sweep.explain", {{"id", id}})).at("lines");
  } else {
    const store::Store store = open_database(session.common);
    const store::SweepRow sweep = coordinator::find_sweep(store, id);
    lines = coordinator::explain(store, sweep.id);
    if (sweep.state == "running" || sweep.state == "paused") {
      lines.push_back("no coordinator runs in " + session.common.state +
                      ": nothing is granted until one is started");
    }
  }
  if (session.common.json()) {
    emit(session.common, Json{{"lines", lines}}.dump());
    return kOk;
  }
  std::string text;
  for (const Json& line : lines) text += line.get<std::string>() + "\n";
  emit(session.common, text.empty() ? "nothing keeps it from going on" : text);
  return kOk;
}

}  // namespace

void add_sweep_commands(CLI::App& app, Session& session) {
  CLI::App* sweep = app.add_subcommand("sweep", "submitted specs: list, status, watch, cancel ...");
  sweep->require_subcommand(1);
  const auto id = std::make_shared<std::string>();

  CLI::App* all =
      add_command(*sweep, session, "list", "every sweep of this state, newest first",
                  "  headcount sweep list --format json", [&session] { return list(session); });
  add_output(*all, session, {"text", "json", "quiet"});
  add_coordinator(*all, session);

  struct Verb {
    const char* name;
    const char* description;
    const char* examples;
    std::function<int()> body;
  };
  const auto ordered = [&session, id](const char* verb) {
    return [&session, id, verb] { return order(session, verb, *id); };
  };
  const Verb verbs[] = {
      {"status", "its stages, workers, models and alarms as they stand",
       "  headcount sweep status last\n  headcount sweep status addition-heads --format json",
       [&session, id] { return status(session, *id); }},
      {"watch", "show progress until it ends (Ctrl-C only stops the watching)",
       "  headcount sweep watch last", [&session, id] { return watch(session, *id); }},
      {"cancel", "stop it for good; results so far are kept", "  headcount sweep cancel 3",
       ordered("cancel")},
      {"pause", "grant no more of its shards until resumed", "  headcount sweep pause last",
       ordered("pause")},
      {"resume", "go on with a paused sweep", "  headcount sweep resume last", ordered("resume")},
      {"retry", "try its quarantined shards again", "  headcount sweep retry last",
       ordered("retry")},
      {"explain", "what keeps it from going on, in sentences", "  headcount sweep explain last",
       [&session, id] { return explain(session, *id); }},
  };
  for (const Verb& verb : verbs) {
    CLI::App* command =
        add_command(*sweep, session, verb.name, verb.description, verb.examples, verb.body);
    command->add_option("id", *id, "an id, a unique prefix of its digest, a name, or last (newest)")
        ->required();
    add_output(*command, session, {"text", "json", "quiet"});
    add_coordinator(*command, session);
  }
}

}  // namespace headcount::cli
