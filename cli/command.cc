#include "cli/command.h"

#include <errno.h>
#include <string.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "schemas/new_file.h"

namespace headcount::cli {

CLI::App* add_command(CLI::App& parent, Session& session, const std::string& name,
                      const std::string& description, const std::string& examples,
                      std::function<int()> body) {
  CLI::App* command = parent.add_subcommand(name, description);
  if (!examples.empty()) command->footer("Examples:\n" + examples);
  command->callback([&session, body = std::move(body)] { session.command = body; });
  return command;
}

void add_output(CLI::App& command, Session& session, const std::vector<std::string>& formats) {
  std::string list;
  for (const std::string& format : formats) list += (list.empty() ? "" : "|") + format;
  command.add_option("--format", session.common.format, "how the answer is written: " + list)
      ->check(CLI::IsMember(formats))
      ->type_name(list)
      ->group("Output");
  command.add_option("-o,--output", session.common.output, "write to FILE instead of stdout")
      ->type_name("FILE")
      ->group("Output");
}

void add_state(CLI::App& command, Session& session) {
  command
      .add_option("--state", session.common.state,
                  "state directory (default: $HEADCOUNT_STATE, else ~/.local/state/headcount)")
      ->type_name("DIR")
      ->group("Where");
}

void add_coordinator(CLI::App& command, Session& session) {
  add_state(command, session);
  command
      .add_option("--coordinator", session.common.coordinator,
                  "address of a coordinator elsewhere; needs --key")
      ->type_name("tcp://HOST:PORT")
      ->group("Where");
  command
      .add_option("--key", session.common.key_file,
                  "key file for that coordinator (headcount key create client NAME -o FILE)")
      ->type_name("FILE")
      ->group("Where");
}

void emit(const Common& common, std::string text) {
  if (!text.empty() && text.back() != '\n') text += '\n';
  if (common.output.empty()) {
    std::cout << text << std::flush;
    if (!std::cout) throw Error("cannot write to stdout");
    return;
  }
  write_file(common.output, text);
}

std::string read_file(const std::string& path) {
  if (std::filesystem::is_directory(path)) throw BadInput(path + " is a directory, not a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) throw BadInput("cannot read " + path + ": " + strerror(errno));
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string default_state() {
  if (const char* state = std::getenv("HEADCOUNT_STATE"); state != nullptr && *state != '\0') {
    return state;
  }
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "/tmp") + "/.local/state/headcount";
}

}  // namespace headcount::cli
