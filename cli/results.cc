// Part of cli/command.h.
// headcount results | export | query: what a sweep has found, as tables, as files, as SQL.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/connection.h"
#include "cli/export.h"
#include "cli/render.h"
#include "cli/tables.h"
#include "cli/text.h"
#include "coordinator/view.h"
#include "schemas/new_file.h"
#include "schemas/spec.h"

namespace headcount::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string id, stage, sql, export_format = "pt", timeout = "30s";
  std::vector<std::string> where;
};

int results(const Session& session, const Options& options) {
  const std::vector<Table> tables = tables_of(session.common, options.id, options.stage);
  if (session.common.quiet()) return kOk;
  const Format format = *format_of(session.common.format);
  emit(session.common, render(tables, format));
  if (format == Format::kCsv) warn_aside(tables);
  return kOk;
}

std::map<std::string, std::string> chosen_point(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> where;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw BadInput("--where " + text + ": expected COLUMN=VALUE");
    }
    where[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return where;
}

int export_stage(const Session& session, const Options& options) {
  const Common& common = session.common;
  if (common.output.empty()) throw BadInput("export needs -o FILE");
  const std::vector<Table> tables = tables_of(common, options.id, options.stage);
  if (tables.empty()) throw Error("the sweep has no table of stage " + options.stage);
  Fields provenance = {{"headcount_stage", options.stage}};
  if (common.coordinator.empty() && common.key_file.empty()) {
    const store::Store store = open_database(common);
    const store::SweepRow sweep = coordinator::find_sweep(store, options.id);
    provenance["sweep"] = sweep.name;
    provenance["spec_digest"] = to_hex(sweep.digest);
  }
  const auto format = export_format_of(options.export_format);
  write_file(common.output,
             export_table(tables.at(0), chosen_point(options.where), provenance, *format));
  warn_aside(tables);
  return kOk;
}

std::string cell_text(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* whole = std::get_if<int64_t>(&cell)) return std::to_string(*whole);
  if (const auto* number = std::get_if<double>(&cell)) return shortest(*number);
  return "";
}

std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

Json cell_json(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* whole = std::get_if<int64_t>(&cell)) return *whole;
  if (const auto* number = std::get_if<double>(&cell)) return *number;
  return nullptr;
}

int query(const Session& session, const Options& options) {
  const store::Store store = open_database(session.common);
  const double seconds =
      static_cast<double>(parse_duration_ms(options.timeout, "--timeout")) / 1000;
  const store::Store::Answer answer = store.query(options.sql, seconds);
  if (session.common.json()) {
    Json rows = Json::array();
    for (const auto& row : answer.rows) {
      Json cells = Json::array();
      for (const Cell& cell : row) cells.push_back(cell_json(cell));
      rows.push_back(std::move(cells));
    }
    emit(session.common, Json{{"columns", answer.columns}, {"rows", rows}}.dump(
                             -1, ' ', false, Json::error_handler_t::replace));
    return kOk;
  }
  std::vector<std::vector<std::string>> rows = {answer.columns};
  for (const auto& row : answer.rows) {
    std::vector<std::string> texts;
    for (const Cell& cell : row) texts.push_back(cell_text(cell));
    rows.push_back(std::move(texts));
  }
  if (session.common.format == "csv") {
    std::string text;
    for (const auto& row : rows) {
      for (size_t i = 0; i < row.size(); ++i) text += (i == 0 ? "" : ",") + csv_text(row[i]);
      text += "\n";
    }
    emit(session.common, text);
  } else {
    emit(session.common, aligned(rows));
  }
  return kOk;
}

}  // namespace

void add_results_commands(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  constexpr const char* kId = "an id, a unique prefix of its digest, a name, or last (newest)";

  CLI::App* shown = add_command(
      app, session, "results", "the tables of a sweep; of a running one what is there, with n",
      "  headcount results last\n  headcount results addition-heads --stage importance --format "
      "csv -o heads.csv\n  headcount results last --format json",
      [&session, options] { return results(session, *options); });
  shown->add_option("id", options->id, kId)->required();
  shown->add_option("--stage", options->stage, "one stage only (default: all)")->type_name("NAME");
  add_output(*shown, session, {"text", "markdown", "latex", "csv", "json", "quiet"});
  add_coordinator(*shown, session);

  CLI::App* written = add_command(
      app, session, "export", "the head scores of one point as a file other programs load",
      "  headcount export last --stage importance -o head_importance.pt       (torch.load)\n"
      "  headcount export last --stage importance --where ig_steps=16 --where model=mha "
      "--format npy -o scores.npy",
      [&session, options] { return export_stage(session, *options); });
  written->add_option("id", options->id, kId)->required();
  written->add_option("--stage", options->stage, "a head_importance stage (csv: any)")
      ->required()
      ->type_name("NAME");
  written
      ->add_option("--where", options->where,
                   "choose the point, where the stage has several; may be repeated")
      ->type_name("COLUMN=VALUE")
      ->take_all();
  written->add_option("--format", options->export_format, "pt|safetensors|npy|csv")
      ->check(CLI::IsMember({"pt", "safetensors", "npy", "csv"}))
      ->capture_default_str();
  written->add_option("-o,--output", session.common.output, "the file to write")
      ->required()
      ->type_name("FILE");
  add_coordinator(*written, session);

  CLI::App* asked = add_command(
      app, session, "query", "one read-only SQL statement over the database (docs/database.md)",
      "  headcount query \"SELECT layer, head, value, se FROM head_importance ORDER BY value DESC "
      "LIMIT 5\"\n  headcount query \"SELECT outcome, count(*) FROM attempts GROUP BY outcome\" "
      "--format csv",
      [&session, options] { return query(session, *options); });
  asked->add_option("sql", options->sql, "the statement")->required();
  asked->add_option("--timeout", options->timeout, "give up after so long")->capture_default_str();
  add_output(*asked, session, {"text", "json", "csv"});
  add_state(*asked, session);
}

}  // namespace headcount::cli
