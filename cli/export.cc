// Choosing the point, and what each format holds of it.
#include "cli/export.h"

#include <algorithm>
#include <array>
#include <limits>

#include "cli/export_formats.h"
#include "cli/render.h"
#include "experiments/kind.h"
#include "models/files/safetensors.h"
#include "schemas/error.h"

namespace headcount::cli {
namespace {

using Cells = std::vector<Cell>;

std::string text_of(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* list = std::get_if<JsonList>(&cell)) return list->json;
  if (const auto* value = std::get_if<int64_t>(&cell)) return std::to_string(*value);
  if (const auto* value = std::get_if<double>(&cell)) return shortest(*value);
  return "";
}

double number(const Cell& cell) {
  const auto* value = std::get_if<double>(&cell);
  return value != nullptr ? *value : std::numeric_limits<double>::quiet_NaN();
}

/// The columns after n: those of the point.
std::vector<std::string> point_columns(const Table& table) {
  return {table.columns.begin() + static_cast<ptrdiff_t>(column(table.columns, "n") + 1),
          table.columns.end()};
}

bool matches(const std::vector<std::string>& columns, const Cells& row,
             const std::map<std::string, std::string>& where) {
  return std::all_of(where.begin(), where.end(), [&](const auto& one) {
    return text_of(row[column(columns, one.first)]) == one.second;
  });
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

/// The table's rows and diagnostics that `where` leaves. Throws Error when none is left or a column
/// is not a point's.
Table chosen(Table table, const std::map<std::string, std::string>& where) {
  const auto columns = point_columns(table);
  for (const auto& [name, value] : where) {
    if (std::find(columns.begin(), columns.end(), name) == columns.end()) {
      throw Error("stage \"" + table.stage + "\" has no column \"" + name +
                  "\" to choose by: its points differ by " + joined(columns));
    }
  }
  std::erase_if(table.rows, [&](const Cells& row) { return !matches(table.columns, row, where); });
  std::erase_if(table.diagnostics,
                [&](const Cells& row) { return !matches(table.diagnostic_columns, row, where); });
  if (table.rows.empty())
    throw Error("no row of stage \"" + table.stage + "\" is left by what was chosen");
  return table;
}

/// Throws Error, naming what to choose by, unless all rows are of one point.
void check_one_point(const Table& table) {
  std::vector<std::string> open;
  for (const auto& name : point_columns(table)) {
    const size_t at = column(table.columns, name);
    std::vector<std::string> values;
    for (const Cells& row : table.rows) {
      const auto value = text_of(row[at]);
      if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    }
    if (values.size() > 1) open.push_back(name + " (" + joined(values) + ")");
  }
  if (!open.empty()) {
    throw Error("stage \"" + table.stage + "\" has several points: choose one by " + joined(open) +
                ", as in --where " + open.front().substr(0, open.front().find(' ')) + "=...");
  }
}

/// value and se of one mask probability (null: the mean) by layer, then head.
struct HeadScores {
  std::map<int64_t, std::vector<double>> value, se;
};

std::map<std::string, HeadScores> scores_by_prob(const Table& table) {
  const size_t value = column(table.columns, "value"), se = column(table.columns, "se"),
               prob = column(table.columns, "mask_prob");
  std::map<std::string, HeadScores> found;
  for (const Cells& row : table.rows) {
    HeadScores& scores = found[text_of(row[prob])];
    const auto layer = std::get<int64_t>(row[0]);
    scores.value[layer].push_back(number(row[value]));
    scores.se[layer].push_back(number(row[se]));
  }
  return found;
}

std::vector<double> flat(const std::map<int64_t, std::vector<double>>& layers) {
  std::vector<double> out;
  for (const auto& [layer, values] : layers) out.insert(out.end(), values.begin(), values.end());
  return out;
}

std::vector<int64_t> shape_of(const HeadScores& scores) {
  return {static_cast<int64_t>(scores.value.size()),
          static_cast<int64_t>(scores.value.begin()->second.size())};
}

std::vector<int64_t> layers_of(const HeadScores& scores) {
  std::vector<int64_t> layers;
  for (const auto& [layer, values] : scores.value) layers.push_back(layer);
  return layers;
}

/// What a reader must know to use the numbers: sign, meaning, point, how far to trust them, where
/// they came from.
Fields metadata_of(const Table& table, const Fields& provenance) {
  Fields metadata = provenance;
  metadata["objective_sign"] = int64_t{1};
  metadata["score_semantics"] = std::string(experiments::find_kind(table.kind)->value);
  metadata["stage"] = table.stage;
  metadata["kind"] = table.kind;
  const auto add = [&](const std::string& name, const Cell& cell) {
    if (const auto* text = std::get_if<std::string>(&cell)) metadata[name] = *text;
    if (const auto* list = std::get_if<JsonList>(&cell)) metadata[name] = list->json;
    if (const auto* value = std::get_if<int64_t>(&cell)) metadata[name] = *value;
    if (const auto* value = std::get_if<double>(&cell)) metadata[name] = *value;
  };
  add("n", table.rows.front()[column(table.columns, "n")]);
  for (const auto& name : point_columns(table))
    add(name, table.rows.front()[column(table.columns, name)]);
  if (!table.diagnostics.empty()) {
    for (size_t i = 0; i < table.diagnostic_columns.size(); ++i) {
      add(table.diagnostic_columns[i], table.diagnostics.front()[i]);
    }
  }
  return metadata;
}

std::string pt(const Table& table, const Fields& provenance) {
  std::map<int64_t, std::vector<float>> scores;
  const HeadScores mean = scores_by_prob(table).at("");
  for (const auto& [layer, values] : mean.value) {
    for (const double value : values) scores[layer].push_back(static_cast<float>(value));
  }
  return torch_file(scores, metadata_of(table, provenance));
}

std::string safetensors(const Table& table, const Fields& provenance) {
  std::map<std::string, std::string> texts;
  for (const auto& [name, field] : metadata_of(table, provenance)) {
    const auto* text = std::get_if<std::string>(&field);
    texts[name] = text != nullptr ? *text : to_json(field);
  }
  const auto by_prob = scores_by_prob(table);
  std::vector<models::TensorForm> forms;
  std::string data;
  for (const auto& [prob, scores] : by_prob) {
    const auto value = flat(scores.value), se = flat(scores.se);
    const std::string suffix = prob.empty() ? "" : ".mask_prob." + prob;
    forms.push_back({"value" + suffix, "F64", shape_of(scores)});
    forms.push_back({"se" + suffix, "F64", shape_of(scores)});
    data += little_endian(std::span<const double>(value));
    data += little_endian(std::span<const double>(se));
  }
  const auto layers = layers_of(by_prob.at(""));
  forms.push_back({"layers", "I64", {std::ssize(layers)}});
  data += little_endian(std::span<const int64_t>(layers));
  return models::safetensors_header(forms, texts) + data;
}

}  // namespace

std::optional<ExportFormat> export_format_of(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, ExportFormat>, 4> kFormats = {
      {{"pt", ExportFormat::kPt},
       {"safetensors", ExportFormat::kSafetensors},
       {"npy", ExportFormat::kNpy},
       {"csv", ExportFormat::kCsv}}};
  for (const auto& [text, format] : kFormats) {
    if (name == text) return format;
  }
  return std::nullopt;
}

std::string export_table(const Table& table, const std::map<std::string, std::string>& where,
                         const Fields& provenance, ExportFormat format) {
  const Table rows = chosen(table, where);
  if (format == ExportFormat::kCsv) return render({rows}, Format::kCsv);
  const auto* kind = experiments::find_kind(table.kind);
  if (kind == nullptr || kind->gives != experiments::Output::kHeadScores) {
    throw Error("stage \"" + table.stage + "\" is of kind " + table.kind +
                ": pt, safetensors and npy hold head scores; export it as csv");
  }
  check_one_point(rows);
  if (format == ExportFormat::kPt) return pt(rows, provenance);
  if (format == ExportFormat::kSafetensors) return safetensors(rows, provenance);
  const HeadScores scores = scores_by_prob(rows).at("");
  return npy_file(flat(scores.value), shape_of(scores));
}

}  // namespace headcount::cli
