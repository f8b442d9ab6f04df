// The formats that hold every row of a table; the text for people is in render_text.cc.
#include "cli/render.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "cli/render_text.h"

namespace headcount::cli {
namespace {

using Cells = std::vector<Cell>;

constexpr std::array<std::pair<const char*, Format>, 5> kFormats = {
    {{"text", Format::kText},
     {"markdown", Format::kMarkdown},
     {"latex", Format::kLatex},
     {"csv", Format::kCsv},
     {"json", Format::kJson}}};

std::string exact(const Cell& cell) {
  if (const auto* number = std::get_if<double>(&cell)) return shortest(*number);
  return cell_text(cell);
}

std::string escaped(const std::string& text, std::string_view special, const std::string& with) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) out += with;
    out += c;
  }
  return out;
}

std::string markdown_row(const std::vector<std::string>& texts) {
  std::string line = "|";
  for (const auto& text : texts) line += " " + escaped(text, "|", "\\") + " |";
  return line + "\n";
}

std::string latex_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\textbackslash{}";
    } else if (c == '~' || c == '^') {
      out += std::string("\\") + c + "{}";
    } else {
      out += escaped({c}, "_%&#${}", "\\");
    }
  }
  return out;
}

std::string latex_row(const std::vector<std::string>& texts) {
  std::string line;
  for (const auto& text : texts) line += (line.empty() ? "" : " & ") + latex_text(text);
  return line + " \\\\\n";
}

std::string csv_row(const std::vector<std::string>& texts) {
  std::string line;
  for (size_t i = 0; i < texts.size(); ++i) {
    const bool quote = texts[i].find_first_of(",\"\n\r") != std::string::npos;
    line += i > 0 ? "," : "";
    line += quote ? "\"" + escaped(texts[i], "\"", "\"") + "\"" : texts[i];
  }
  return line + "\n";
}

std::vector<std::string> texts(const Cells& cells, std::string (*text)(const Cell&)) {
  std::vector<std::string> out;
  for (const Cell& cell : cells) out.push_back(text(cell));
  return out;
}

std::string rounded(const Cell& cell) { return cell_text(cell); }

std::string markdown(const std::vector<std::string>& columns, const std::vector<Cells>& rows) {
  std::string out = markdown_row(columns) + "|";
  for (size_t i = 0; i < columns.size(); ++i) out += " --- |";
  out += "\n";
  for (const Cells& row : rows) out += markdown_row(texts(row, rounded));
  return out;
}

std::string latex(const std::vector<std::string>& columns, const std::vector<Cells>& rows) {
  std::string out = "\\begin{tabular}{" + std::string(columns.size(), 'r') + "}\n\\hline\n" +
                    latex_row(columns) + "\\hline\n";
  for (const Cells& row : rows) out += latex_row(texts(row, rounded));
  return out + "\\hline\n\\end{tabular}\n";
}

std::string csv(const Table& table) {
  std::vector<std::string> head = table.columns;
  head.insert(head.begin(), "stage");
  std::string out = csv_row(head);
  for (const Cells& row : table.rows) {
    auto line = texts(row, exact);
    line.insert(line.begin(), table.stage);
    out += csv_row(line);
  }
  return out;
}

std::string one(const Table& table, Format format) {
  std::string out;
  switch (format) {
    case Format::kText:
      return text_of(table);
    case Format::kMarkdown:
      out =
          "### " + table.stage + " (" + table.kind + ")\n\n" + markdown(table.columns, table.rows);
      if (!table.diagnostics.empty())
        out += "\n" + markdown(table.diagnostic_columns, table.diagnostics);
      for (const auto& warning : table.warnings) out += "\nWarning: " + warning + ".\n";
      return out;
    case Format::kLatex:
      out = "% " + table.stage + " (" + table.kind + ")\n" + latex(table.columns, table.rows);
      if (!table.diagnostics.empty()) out += latex(table.diagnostic_columns, table.diagnostics);
      for (const auto& warning : table.warnings) {
        out += "\n\\noindent Warning: " + latex_text(warning) + ".\n";
      }
      return out;
    case Format::kCsv:
      return csv(table);
    case Format::kJson:
      break;
  }
  return to_json({table});
}

}  // namespace

std::optional<Format> format_of(std::string_view name) {
  for (const auto& [text, format] : kFormats) {
    if (name == text) return format;
  }
  return std::nullopt;
}

std::string render(const std::vector<Table>& tables, Format format) {
  if (format == Format::kJson) return to_json(tables);
  std::string out;
  for (const Table& table : tables) out += (out.empty() ? "" : "\n") + one(table, format);
  return out;
}

std::string readable(double value, int digits) {
  std::array<char, 64> text{};
  const double size = std::abs(value);
  if (value == 0) return "0";
  if (size < 1e-4 || size >= 1e6) {
    std::snprintf(text.data(), text.size(), "%.*e", digits - 1, value);
  } else {
    const int before = static_cast<int>(std::floor(std::log10(size))) + 1;
    std::snprintf(text.data(), text.size(), "%.*f", std::max(0, digits - before), value);
  }
  return text.data();
}

}  // namespace headcount::cli
