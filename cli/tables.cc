#include "cli/tables.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/render.h"
#include "cli/text.h"
#include "coordinator/view.h"

namespace headcount::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kSubmitTimeoutMs = 600'000;  // large models are fingerprinted first

Cell cell_of(const Json& value) {
  if (value.is_null()) return std::monostate{};
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) throw Error("a table's cell is neither null, number, text nor list");
  std::string list;
  for (const Json& item : value) list += (list.empty() ? "[" : ", ") + item.dump();
  return JsonList{list.empty() ? "[]" : list + "]"};
}

std::vector<std::vector<Cell>> rows_of(const Json& rows, const std::vector<std::string>& columns) {
  std::vector<std::vector<Cell>> cells;
  for (const Json& row : rows) {
    std::vector<Cell> line;
    for (const std::string& name : columns) line.push_back(cell_of(row.at(name)));
    cells.push_back(std::move(line));
  }
  return cells;
}

std::vector<std::string> names_of(const Json& rows) {
  std::vector<std::string> names;
  if (rows.empty()) return names;
  for (const auto& [name, value] : rows.front().items()) names.push_back(name);
  return names;
}

bool is_about_the_spec(const std::string& sentence, const std::string& file) {
  return sentence.rfind(file + ":", 0) == 0;
}

}  // namespace

Submitted submit_spec(const Common& common, Connection& connection, const std::string& text,
                      const std::string& file, const std::string& root, bool go_on) {
  Submitted submitted;
  ReadingProgress progress(common, file);
  Fields fields = {{"text", text}, {"file", file}, {"continue", go_on}};
  if (!root.empty()) fields["root"] = root;
  try {
    submitted.json =
        connection.ask("sweep.submit", fields, kSubmitTimeoutMs, [&] { progress.look(); });
  } catch (const Error& error) {
    if (is_about_the_spec(error.what(), file)) throw BadInput(error.what());
    throw;
  }
  const Json answer = Json::parse(submitted.json);
  submitted.id = std::to_string(answer.at("id").get<int64_t>());
  submitted.name = answer.value("name", "");
  submitted.shards = answer.value("shards", int64_t{0});
  submitted.cached = answer.value("cached", int64_t{0});
  submitted.continued = answer.value("continued", false);
  return submitted;
}

std::string to_string(const Submitted& submitted) {
  std::string text = "sweep " + submitted.id + " \"" + submitted.name + "\": ";
  if (submitted.continued) text += "goes on where it stopped, ";
  text += grouped(submitted.shards) + (submitted.shards == 1 ? " shard" : " shards");
  if (submitted.cached > 0) text += ", " + grouped(submitted.cached) + " of them on record already";
  return text;
}

std::vector<Table> tables_from_json(const std::string& json) {
  try {
    std::vector<Table> tables;
    const Json parsed = Json::parse(json);
    for (const Json& stage : parsed.at("stages")) {
      Table table;
      table.stage = stage.at("name");
      table.kind = stage.value("kind", "");
      table.columns = stage.at("columns").get<std::vector<std::string>>();
      table.rows = rows_of(stage.at("rows"), table.columns);
      table.diagnostic_columns = names_of(stage.at("diagnostics"));
      table.diagnostics = rows_of(stage.at("diagnostics"), table.diagnostic_columns);
      table.warnings = stage.value("warnings", std::vector<std::string>());
      tables.push_back(std::move(table));
    }
    return tables;
  } catch (const Json::exception& error) {
    throw Error(std::string("the coordinator's answer is no list of tables: ") + error.what());
  }
}

std::vector<Table> tables_of(const Common& common, const std::string& id,
                             const std::string& stage) {
  if (!common.coordinator.empty() || !common.key_file.empty()) {
    return tables_from_json(
        Connection::need(common).ask("results", {{"id", id}, {"stage", stage}}, 120'000));
  }
  const store::Store store = open_database(common);
  return coordinator::tables(store, coordinator::find_sweep(store, id).id, stage);
}

void warn_aside(const std::vector<Table>& tables) {
  for (const Table& table : tables) {
    for (const std::string& warning : table.warnings) {
      std::cerr << "warning: stage " << table.stage << ": " << warning << "\n";
    }
  }
}

int show_outcome(const Common& common, const Waited& waited, const std::string& id) {
  int64_t missing = 0;
  for (const auto& stage : waited.status.stages) {
    missing += stage.quarantined;
    if (!stage.reason.empty()) std::cerr << "stage " << stage.name << ": " << stage.reason << "\n";
  }
  const bool whole = waited.state == "finished" && missing == 0;
  if (!common.quiet()) {
    const std::vector<Table> tables = tables_of(common, id, "");
    const Format format = format_of(common.format).value_or(Format::kText);
    emit(common, render(tables, format));
    if (format == Format::kCsv) warn_aside(tables);
  }
  if (!whole) {
    std::cerr << "sweep " << id << " is " << waited.state;
    if (missing > 0) std::cerr << ", " << missing << " shards are quarantined";
    std::cerr << ": headcount sweep explain " << id << "\n";
  }
  return whole ? kOk : kFailed;
}

}  // namespace headcount::cli
