// What all commands share: common flags, where output goes, exit statuses, and how a command
// registers. Each family (sweep.cc, key.cc ...) adds its subcommands to the parser; main.cc parses
// and runs the one that was chosen.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "schemas/bad_input.h"

namespace CLI {
class App;
}

namespace headcount::cli {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kBadInput = 2;

/// Flags every command takes, as parsed.
struct Common {
  std::string state;            // --state, else $HEADCOUNT_STATE, else ~/.local/state/headcount
  std::string coordinator;      // --coordinator tcp://...; empty: the one of `state`
  std::string key_file;         // --key FILE
  std::string format = "text";  // --format
  std::string output;           // -o FILE; empty: stdout
  bool json() const { return format == "json"; }
  bool quiet() const { return format == "quiet"; }
};

/// One run of the program.
struct Session {
  Common common;
  std::function<int()> command;  // of the subcommand that was chosen; returns the exit status
};

/// Adds a subcommand. `body` runs after parsing; `examples` end its --help, one a line.
CLI::App* add_command(CLI::App& parent, Session& session, const std::string& name,
                      const std::string& description, const std::string& examples,
                      std::function<int()> body);
/// --format with these choices (the first is the default) and -o FILE.
void add_output(CLI::App& command, Session& session, const std::vector<std::string>& formats);
/// --state DIR.
void add_state(CLI::App& command, Session& session);
/// --state, --coordinator and --key: how to find the coordinator.
void add_coordinator(CLI::App& command, Session& session);

/// `text` to -o FILE (whole or not at all) or to stdout; a newline is added where none ends it.
void emit(const Common& common, std::string text);

/// The file's bytes; throws BadInput naming it.
std::string read_file(const std::string& path);

/// What "--state" means when it is not given.
std::string default_state();

// Every family, in the order of `headcount --help`.
void add_run_commands(CLI::App& app, Session& session);          // demo, run
void add_spec_commands(CLI::App& app, Session& session);         // check, plan, submit
void add_sweep_commands(CLI::App& app, Session& session);        // sweep ...
void add_results_commands(CLI::App& app, Session& session);      // results, export, query
void add_coordinator_commands(CLI::App& app, Session& session);  // coordinator ...
void add_worker_commands(CLI::App& app, Session& session);       // worker ...
void add_key_commands(CLI::App& app, Session& session);          // key ...
void add_store_commands(CLI::App& app, Session& session);        // store ...
void add_model_commands(CLI::App& app, Session& session);        // model, generate
void add_tokenize_command(CLI::App& app, Session& session);      // tokenize
void add_doctor_command(CLI::App& app, Session& session);        // doctor
void add_bench_commands(CLI::App& app, Session& session);        // bench ...

}  // namespace headcount::cli
