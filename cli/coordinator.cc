// Part of cli/command.h.
// headcount coordinator start | stop | info.
#include "coordinator/coordinator.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/command.h"
#include "cli/connection.h"
#include "cli/local.h"
#include "cli/text.h"

namespace headcount::cli {
namespace {

using Json = nlohmann::json;

struct Options {
  std::string listen, advertise, root;
  std::vector<std::string> allowed_paths;
  bool detach = false;
};

std::string absolute(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

int start_in_background(const Session& session, const Options& options) {
  const std::string& state = session.common.state;
  if (const auto running = coordinator::find_running(state)) {
    throw Error("a coordinator already runs in " + state + " (pid " + std::to_string(running->pid) +
                ", " + running->address + ")");
  }
  std::vector<std::string> arguments = {"coordinator", "start", "--state", absolute(state)};
  if (!options.listen.empty()) arguments.insert(arguments.end(), {"--listen", options.listen});
  if (!options.advertise.empty()) {
    arguments.insert(arguments.end(), {"--advertise", options.advertise});
  }
  arguments.insert(arguments.end(),
                   {"--root", absolute(options.root.empty() ? "." : options.root)});
  for (const auto& path : options.allowed_paths)
    arguments.insert(arguments.end(), {"--allow-path", absolute(path)});
  start_detached(arguments, absolute(state) + "/coordinator.out",
                 [&] { return coordinator::find_running(state).has_value(); });
  const auto running = coordinator::find_running(state);
  if (!running) throw Error("the coordinator ended at once; see " + state + "/coordinator.log");
  if (session.common.json()) {
    emit(session.common, Json{{"pid", running->pid},
                              {"address", running->address},
                              {"public_key", running->public_key},
                              {"state", state}}
                             .dump());
  } else if (session.common.quiet()) {
    emit(session.common, running->address);
  } else {
    emit(session.common, "coordinator runs at " + running->address + " (pid " +
                             std::to_string(running->pid) + ", log " + state + "/coordinator.log)");
  }
  return kOk;
}

int start(const Session& session, const Options& options) {
  if (options.detach) return start_in_background(session, options);
  coordinator::CoordinatorOptions run;
  run.state = session.common.state;
  run.listen = options.listen;
  run.advertise = options.advertise;
  run.root = options.root;
  run.allowed_paths = options.allowed_paths;
  return coordinator::coordinator_main(run);
}

/// Whether the coordinator of --state is gone within half a minute.
bool is_gone(const std::string& state) {
  for (int i = 0; i < 600; ++i) {
    if (!coordinator::find_running(state)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

int stop(const Session& session) {
  const Common& common = session.common;
  const bool here = common.coordinator.empty() && common.key_file.empty();
  Connection connection = Connection::need(common);
  try {
    connection.ask("coordinator.stop", {}, 5'000);
  } catch (const Error&) {
    // It may have gone before its answer did.
    if (!here || !is_gone(common.state)) throw;
  }
  if (here && !is_gone(common.state)) {
    throw Error("the coordinator was told to stop and has not yet; see " + common.state +
                "/coordinator.log");
  }
  if (session.common.json()) {
    emit(session.common, "{\"stopped\": true}");
  } else if (!session.common.quiet()) {
    emit(session.common, "stopped; everything recorded is kept, start it again to go on");
  }
  return kOk;
}

std::string info_text(const Json& info) {
  std::vector<std::string> lines;
  const auto text = [&](const char* name) { return info.value(name, std::string()); };
  const auto count = [&](const char* name) { return info.value(name, int64_t{0}); };
  std::string sweeps;
  const Json by_state = info.value("sweeps", Json::object());
  for (const auto& [state, n] : by_state.items()) {
    sweeps += (sweeps.empty() ? "" : ", ") + std::to_string(n.get<int64_t>()) + " " + state;
  }
  std::string reading;
  for (const Json& one : info.value("reading", Json::array()))
    reading += "reading  " + one.value("file", "") + ": " + one.value("doing", "") + "\n";
  const std::string waits = text("waits");
  return (waits.empty() ? std::string() : "WAITS: nothing can be recorded: " + waits + "\n") +
         "coordinator " + text("version") + " at " + text("address") + ", pid " +
         std::to_string(count("pid")) + ", up " + duration_text(info.value("uptime_s", 0.0)) +
         "\nstate    " + text("state") + "\nlog      " + text("log") + "\nworkers  " +
         std::to_string(count("workers")) + "\nsweeps   " + (sweeps.empty() ? "none" : sweeps) +
         "\nresults  " + grouped(count("results")) + " shards on record\n" +
         (text("key_trouble").empty()
              ? ""
              : "keys     cannot be read, and stay as they were: " + text("key_trouble") + "\n") +
         (count("shut_out") == 0 ? ""
                                 : "refused  " + grouped(count("shut_out")) +
                                       " new connections: too many files are open\n") +
         reading;
}

int info(const Session& session) {
  const std::string answer = Connection::need(session.common).ask("coordinator.info", {});
  const Json json = Json::parse(answer);
  if (session.common.json()) {
    emit(session.common, answer);
  } else if (session.common.quiet()) {
    emit(session.common, json.value("address", ""));
  } else {
    emit(session.common, info_text(json));
  }
  return kOk;
}

}  // namespace

void add_coordinator_commands(CLI::App& app, Session& session) {
  CLI::App* family = app.add_subcommand(
      "coordinator", "the process that plans, grants and records: start, stop, info");
  family->require_subcommand(1);
  const auto options = std::make_shared<Options>();

  CLI::App* begin = add_command(
      *family, session, "start",
      "run the coordinator of a state directory; every unfinished sweep in it goes on",
      "  headcount coordinator start                                   (foreground, loopback)\n"
      "  headcount coordinator start --listen tcp://0.0.0.0:7600 --advertise "
      "tcp://head.example:7600 --detach",
      [&session, options] { return start(session, *options); });
  begin
      ->add_option("--listen", options->listen,
                   "where to listen (default: loopback, on the port it had before); port 0: that "
                   "port, or a free one where it is taken")
      ->type_name("tcp://HOST:PORT");
  begin
      ->add_option("--advertise", options->advertise,
                   "what key files say instead (the name other machines know this one by)")
      ->type_name("tcp://HOST:PORT");
  begin
      ->add_option("--root", options->root,
                   "where relative paths of specs start (default: this directory)")
      ->type_name("DIR");
  begin
      ->add_option("--allow-path", options->allowed_paths,
                   "a directory that specs of other keys than this machine's admin.key may read, "
                   "besides --root; several times for several")
      ->type_name("DIR")
      ->take_all();
  begin->add_flag("--detach", options->detach, "return once it is ready; it runs on");
  add_state(*begin, session);
  add_output(*begin, session, {"text", "json", "quiet"});

  CLI::App* end = add_command(*family, session, "stop", "end it; nothing recorded is lost",
                              "  headcount coordinator stop", [&session] { return stop(session); });
  CLI::App* about = add_command(*family, session, "info", "what it is doing, and where its log is",
                                "  headcount coordinator info --format json",
                                [&session] { return info(session); });
  for (CLI::App* command : {end, about}) {
    add_output(*command, session, {"text", "json", "quiet"});
    add_coordinator(*command, session);
  }
}

}  // namespace headcount::cli
