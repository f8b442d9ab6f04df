#include "schemas/table.h"

#include "schemas/error.h"

namespace headcount {
namespace {

std::string rows_json(const std::vector<std::string>& columns,
                      const std::vector<std::vector<Cell>>& rows) {
  std::string out = "[";
  for (const auto& row : rows) {
    HC_CHECK(row.size() == columns.size());
    out += out.size() > 1 ? ",\n      {" : "\n      {";
    for (size_t i = 0; i < row.size(); ++i) {
      out += (i > 0 ? ", " : "") + to_json(Field(columns[i])) + ": " + json_of(row[i]);
    }
    out += "}";
  }
  return out + "]";
}

}  // namespace

size_t column(const std::vector<std::string>& columns, const std::string& name) {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i] == name) return i;
  }
  throw Error("the table has no column named " + name);
}

std::string json_of(const Cell& cell) {
  if (std::holds_alternative<std::monostate>(cell)) return "null";
  if (const auto* integer = std::get_if<int64_t>(&cell)) return to_json(Field(*integer));
  if (const auto* number = std::get_if<double>(&cell)) return to_json(Field(*number));
  if (const auto* list = std::get_if<JsonList>(&cell)) return list->json;
  return to_json(Field(std::get<std::string>(cell)));
}

std::string to_json(const std::vector<Table>& tables) {
  std::string out = "{\"stages\": [";
  for (size_t i = 0; i < tables.size(); ++i) {
    const Table& table = tables[i];
    out += i > 0 ? ",\n  {" : "\n  {";
    out += "\"name\": " + to_json(Field(table.stage)) + ", \"kind\": " + to_json(Field(table.kind));
    out += ",\n    \"columns\": " + to_json(Field(table.columns));
    out += ",\n    \"rows\": " + rows_json(table.columns, table.rows);
    out += ",\n    \"diagnostics\": " + rows_json(table.diagnostic_columns, table.diagnostics);
    out += ",\n    \"warnings\": " + to_json(Field(table.warnings)) + "}";
  }
  return out + "]}\n";
}

}  // namespace headcount
