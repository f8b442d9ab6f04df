// headcount: one program for coordinator, worker daemon and every command.
#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cli/command.h"
#include "cluster/process/process.h"
#include "schemas/problem.h"
#include "schemas/try_again.h"
#include "schemas/version.h"

namespace {

using namespace headcount;

constexpr const char* kAbout =
    "Counts which attention heads of a language model matter, at cluster scale.\n"
    "A TOML spec describes a sweep; a coordinator cuts it into shards, workers compute them,\n"
    "SQLite keeps every result, and tables come out.";

constexpr const char* kFirstSteps =
    "First steps:\n"
    "  headcount demo                          a whole sweep on the built-in models\n"
    "  headcount check SPEC                    what is wrong with a spec\n"
    "  headcount run SPEC                      everything on this machine; again continues\n"
    "A cluster:\n"
    "  headcount coordinator start --listen tcp://0.0.0.0:7600 --detach\n"
    "  headcount key create worker node1 -o node1.key     (one key file per worker)\n"
    "  headcount worker start --key node1.key             (on node1)\n"
    "  headcount submit SPEC --wait\n"
    "Exit status: 0 done, 1 failed, 2 bad input; 75 a daemon that may succeed when it is started "
    "again.";

/// Whether the raw arguments ask for JSON: errors of the parser itself must know.
bool asks_for_json(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--format=json") return true;
    if (argument == "--format" && i + 1 < argc && std::string_view(argv[i + 1]) == "json") {
      return true;
    }
  }
  return false;
}

/// "unknown command ..." when the words before the first flag leave the tree of commands; else "".
std::string unknown_command(const CLI::App& app, int argc, char** argv) {
  const CLI::App* at = &app;
  std::string path = "headcount";
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    const std::vector<const CLI::App*> known =
        at->get_subcommands([](const CLI::App*) { return true; });
    if (known.empty()) return "";
    std::vector<std::string> names;
    const CLI::App* next = nullptr;
    for (const CLI::App* candidate : known) {
      names.push_back(candidate->get_name());
      if (candidate->get_name() == argv[i]) next = candidate;
    }
    if (next == nullptr) {
      const std::string near = closest(argv[i], names);
      return path + " has no command \"" + argv[i] + "\"" +
             (near.empty() ? "" : "; did you mean \"" + near + "\"?");
    }
    path += std::string(" ") + argv[i];
    at = next;
  }
  return "";
}

int report(const std::string& sentence, int status, bool json) {
  if (json) {
    using Json = nlohmann::ordered_json;
    std::cout << Json{{"error", sentence}}.dump(-1, ' ', false, Json::error_handler_t::replace)
              << "\n";
  } else {
    std::cerr << "headcount: " << sentence << (sentence.ends_with('\n') ? "" : "\n");
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  process::close_on_exec_everything();
  const bool json = asks_for_json(argc, argv);
  cli::Session session;
  CLI::App app(kAbout, "headcount");
  app.footer(kFirstSteps);
  app.set_version_flag("--version", std::string("headcount ") + kVersion);
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default(false);
  cli::add_run_commands(app, session);
  cli::add_spec_commands(app, session);
  cli::add_sweep_commands(app, session);
  cli::add_results_commands(app, session);
  cli::add_coordinator_commands(app, session);
  cli::add_worker_commands(app, session);
  cli::add_key_commands(app, session);
  cli::add_store_commands(app, session);
  cli::add_model_commands(app, session);
  cli::add_tokenize_command(app, session);
  cli::add_doctor_command(app, session);
  cli::add_bench_commands(app, session);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const std::string unknown = unknown_command(app, argc, argv);
    return report((unknown.empty() ? std::string(error.what()) : unknown) + " (try --help)",
                  cli::kBadInput, json);
  }
  if (session.common.state.empty()) session.common.state = cli::default_state();
  try {
    return session.command();
  } catch (const BadInput& error) {
    return report(error.what(), cli::kBadInput, json);
  } catch (const TryAgain& error) {
    return report(error.what(), kExitTryAgain, json);
  } catch (const std::exception& error) {
    return report(error.what(), cli::kFailed, json);
  }
}
