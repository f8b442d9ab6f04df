// Part of cli/command.h.
// headcount store check | backup: whether everything is as it was recorded, and a copy of it. Both
// also while a coordinator runs.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/connection.h"
#include "cli/text.h"

namespace headcount::cli {
namespace {

using Json = nlohmann::ordered_json;

/// "WHAT 1,024 of 4,096", redrawn in place; nothing where stderr is no terminal, or when quiet.
store::Store::Progress progress_of(const Common& common, const std::string& what) {
  if (common.quiet() || ::isatty(STDERR_FILENO) != 1) return [](int64_t, int64_t) {};
  using Clock = std::chrono::steady_clock;
  return [what, drawn = Clock::time_point()](int64_t n_done, int64_t n_all) mutable {
    const auto now = Clock::now();
    if (n_done < n_all && now - drawn < std::chrono::milliseconds(100)) return;
    drawn = now;
    std::fprintf(stderr, "\r%s %s of %s%s", what.c_str(), grouped(n_done).c_str(),
                 grouped(n_all).c_str(), n_done < n_all ? "" : "\n");
  };
}

int check(const Session& session) {
  const Common& common = session.common;
  const store::Store store = open_database(common);
  const store::Checked checked = store.check(progress_of(common, "checked"));
  if (common.json()) {
    emit(common,
         Json{{"results", checked.n_results}, {"tables", checked.n_tables}, {"bad", checked.bad}}
             .dump());
  } else {
    std::string text;
    for (const std::string& one : checked.bad) text += one + "\n";
    if (checked.bad.empty() && !common.quiet())
      text = grouped(checked.n_results) + " results and " + grouped(checked.n_tables) +
             " tables are as they were recorded\n";
    if (!text.empty()) emit(common, text);
  }
  return checked.bad.empty() ? kOk : kFailed;
}

int backup(const Session& session, const std::string& file) {
  const Common& common = session.common;
  open_database(common).backup(file, progress_of(common, "copied pages"));
  if (common.json()) {
    emit(common, Json{{"file", file}}.dump());
  } else if (!common.quiet()) {
    emit(common, "wrote " + file + "; to restore it, name it " + store::kFileName +
                     " in an empty state directory and start a coordinator there");
  }
  return kOk;
}

}  // namespace

void add_store_commands(CLI::App& app, Session& session) {
  CLI::App* family =
      app.add_subcommand("store", "the database of a state directory: check it, copy it");
  family->require_subcommand(1);
  CLI::App* checked = add_command(
      *family, session, "check",
      "compare every stored result and table with its hash; exit 1 where one is damaged",
      "  headcount store check\n  headcount store check --format json",
      [&session] { return check(session); });
  const auto file = std::make_shared<std::string>();
  CLI::App* copied = add_command(*family, session, "backup",
                                 "copy it to one new file, also while the coordinator runs",
                                 "  headcount store backup /backup/headcount-monday.sqlite",
                                 [&session, file] { return backup(session, *file); });
  copied->add_option("file", *file, "a file that does not exist yet")->required();
  for (CLI::App* command : {checked, copied}) {
    add_state(*command, session);
    add_output(*command, session, {"text", "json", "quiet"});
  }
}

}  // namespace headcount::cli
