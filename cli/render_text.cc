// Tables as pictures: what a reader wants first is which heads matter and how sure that is; every
// number is in the other formats.
#include "cli/render_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "cli/render.h"
#include "cli/text.h"

namespace headcount::cli {
namespace {

using Cells = std::vector<Cell>;
using Lines = std::vector<std::vector<std::string>>;

/// The rows of one point, and its diagnostics rows.
struct Group {
  Cells point;
  std::vector<const Cells*> rows, diagnostics;
};

std::optional<double> number(const Cell& cell) {
  if (const auto* value = std::get_if<double>(&cell)) return *value;
  if (const auto* value = std::get_if<int64_t>(&cell)) return static_cast<double>(*value);
  return std::nullopt;
}

int64_t integer(const Cell& cell) {
  const auto* value = std::get_if<int64_t>(&cell);
  return value != nullptr ? *value : -1;
}

/// Everything after `n` is the point's.
size_t first_point_column(const Table& table) { return column(table.columns, "n") + 1; }

std::vector<Group> groups(const Table& table) {
  const size_t first = first_point_column(table);
  std::vector<Group> found;
  for (const Cells& row : table.rows) {
    const Cells point(row.begin() + static_cast<ptrdiff_t>(first), row.end());
    auto at = std::find_if(found.begin(), found.end(),
                           [&](const Group& group) { return group.point == point; });
    if (at == found.end()) at = found.insert(found.end(), {point, {}, {}});
    at->rows.push_back(&row);
  }
  for (const Cells& row : table.diagnostics) {
    for (Group& group : found) {
      if (std::equal(group.point.begin(), group.point.end(), row.begin()))
        group.diagnostics.push_back(&row);
    }
  }
  return found;
}

std::string point_text(const Table& table, const Group& group) {
  std::string text;
  const size_t first = first_point_column(table);
  for (size_t i = 0; i < group.point.size(); ++i) {
    text += (i > 0 ? ", " : "") + table.columns[first + i] + " = " + cell_text(group.point[i]);
  }
  return text;
}

std::string indented(const std::string& text) {
  std::string out = text.empty() ? "" : "  ";
  for (size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] == '\n' && i + 1 < text.size()) out += "  ";
  }
  return out;
}

/// "0.1234 ± 0.0056", the value alone where there is no error, "-" where there is nothing.
std::string with_error(const Cell& value, const Cell& se) {
  if (!number(value)) return "-";
  const std::string text = readable(*number(value));
  return number(se) ? text + " ± " + readable(*number(se), 2) : text;
}

std::string percent(const std::optional<double>& share) {
  return share ? readable(100 * *share, 3) + " %" : "none";
}

const Cell& at(const Table& table, const Cells& row, const std::string& name) {
  return row[column(table.columns, name)];
}
const Cell& diagnostic(const Table& table, const Cells& row, const std::string& name) {
  return row[column(table.diagnostic_columns, name)];
}

// ---- head_importance

const char* shade(double share) {
  constexpr std::array<const char*, 5> kShades = {"·", "░", "▒", "▓", "█"};
  const std::array<double, 4> limits = {0.05, 0.25, 0.5, 0.75};
  const auto above =
      std::count_if(limits.begin(), limits.end(), [&](double limit) { return share >= limit; });
  return kShades[static_cast<size_t>(above)];
}

/// Rows of one mask probability (null: the mean over all), that have a value.
std::vector<const Cells*> heads_at(const Table& table, const Group& group, const Cell& mask_prob) {
  std::vector<const Cells*> heads;
  for (const Cells* row : group.rows) {
    if (at(table, *row, "mask_prob") == mask_prob && number(at(table, *row, "value")))
      heads.push_back(row);
  }
  return heads;
}

std::string head_map(const Table& table, const std::vector<const Cells*>& heads) {
  std::map<int64_t, std::map<int64_t, double>> layers;
  double largest = 0;
  int64_t n_heads = 0;
  for (const Cells* row : heads) {
    const double value = *number(at(table, *row, "value"));
    layers[integer((*row)[0])][integer((*row)[1])] = value;
    largest = std::max(largest, std::abs(value));
    n_heads = std::max(n_heads, integer((*row)[1]) + 1);
  }
  std::string out = "    head";
  for (int64_t head = 0; head < n_heads; ++head) {
    const std::string text = std::to_string(head);
    out += std::string(3 - std::min<size_t>(2, text.size()), ' ') + text;
  }
  for (const auto& [layer, values] : layers) {
    const std::string name = std::to_string(layer);
    out += "\nlayer " + std::string(name.size() < 2 ? 1 : 0, ' ') + name;
    for (const auto& [head, value] : values) {
      const std::string cell = largest > 0 ? shade(std::abs(value) / largest) : "·";
      out += " " + std::string(value < 0 && std::abs(value) >= 0.05 * largest ? "-" : " ") + cell;
    }
  }
  return out + "\n· < 5 %  ░ < 25 %  ▒ < 50 %  ▓ < 75 %  █ of the largest, " + readable(largest) +
         " nats; - lowers the likelihood\n";
}

/// The strongest heads with their errors, their values per mask probability beside them.
std::string strongest(const Table& table, const Group& group, std::vector<const Cells*> heads,
                      size_t n_most) {
  const auto size = [&](const Cells* row) { return std::abs(*number(at(table, *row, "value"))); };
  std::stable_sort(heads.begin(), heads.end(), [&](auto* a, auto* b) { return size(a) > size(b); });
  heads.resize(std::min(heads.size(), n_most));
  std::set<double> probs;
  for (const Cells* row : group.rows) {
    if (const auto prob = number(at(table, *row, "mask_prob"))) probs.insert(*prob);
  }
  Lines lines = {{"rank", "layer", "head", "value ± se"}};
  for (const double prob : probs) lines[0].push_back("p = " + readable(prob, 3));
  for (size_t i = 0; i < heads.size(); ++i) {
    const Cells& row = *heads[i];
    std::vector<std::string> line = {std::to_string(i + 1), cell_text(row[0]), cell_text(row[1]),
                                     with_error(at(table, row, "value"), at(table, row, "se"))};
    for (const double prob : probs) {
      for (const Cells* other : group.rows) {
        if ((*other)[0] == row[0] && (*other)[1] == row[1] &&
            number(at(table, *other, "mask_prob")) == prob) {
          line.push_back(cell_text(at(table, *other, "value")));
        }
      }
    }
    lines.push_back(line);
  }
  return aligned(lines);
}

std::string trust(const Table& table, const Cells& row) {
  const auto share = [&](const std::string& name) {
    return percent(number(diagnostic(table, row, name)));
  };
  return "completeness residual " + share("residual_mean") + " of the mean, " +
         share("residual_p95") + " at the 95th percentile of rows; step difference " +
         share("step_difference") + "; " + cell_text(diagnostic(table, row, "unconverged")) +
         " rows unconverged, " + cell_text(diagnostic(table, row, "n_missing")) + " missing\n";
}

/// One line a point: what a grid of steps and paths is read for.
std::string trust_of_all(const Table& table) {
  const std::vector<std::string> shares = {"residual_mean", "residual_p95", "step_difference"};
  const size_t first = column(table.diagnostic_columns, shares.front());
  Lines lines = {{table.diagnostic_columns.begin(),
                  table.diagnostic_columns.begin() + static_cast<ptrdiff_t>(first)}};
  lines[0].insert(lines[0].end(),
                  {"residual", "residual p95", "step difference", "unconverged", "missing"});
  for (const Cells& row : table.diagnostics) {
    std::vector<std::string> line;
    for (size_t i = 0; i < first; ++i) line.push_back(cell_text(row[i]));
    for (const auto& name : shares) line.push_back(percent(number(diagnostic(table, row, name))));
    for (const char* name : {"unconverged", "n_missing"}) {
      line.push_back(cell_text(diagnostic(table, row, name)));
    }
    lines.push_back(line);
  }
  return "how far to trust each point: completeness residual of the mean and at the 95th "
         "percentile "
         "of rows,\nchange of the vector between half the steps and all\n" +
         indented(aligned(lines));
}

std::string head_importance(const Table& table) {
  const auto all = groups(table);
  std::string out;
  for (const Group& group : all) {
    const auto heads = heads_at(table, group, Cell());
    std::string text = "nothing yet\n";
    if (!heads.empty()) {
      text = "n = " + cell_text(at(table, *heads.front(), "n")) +
             " rows; J = -loss in nats, positive: the head raises it\n" + head_map(table, heads) +
             strongest(table, group, heads, all.size() > 2 ? 5 : 10);
      if (all.size() == 1 && !group.diagnostics.empty())
        text += trust(table, *group.diagnostics[0]);
    }
    out += point_text(table, group) + "\n" + indented(text) + "\n";
  }
  if (all.size() > 1) out += trust_of_all(table);
  return out;
}

// ---- head_pruning

struct CurvePoint {
  Cell value, se;
};
/// which -> k -> value, of the mean over prune seeds for random.
using Curves = std::map<std::string, std::map<int64_t, CurvePoint>>;

Curves curves_of(const Table& table, const Group& group, const std::string& metric) {
  Curves curves;
  for (const Cells* row : group.rows) {
    const auto which = cell_text(at(table, *row, "which"));
    const bool one_seed = number(at(table, *row, "prune_seed")).has_value();
    if (at(table, *row, "metric") != Cell(metric) || one_seed) continue;
    curves[which][integer(at(table, *row, "k"))] = {at(table, *row, "value"),
                                                    at(table, *row, "se")};
  }
  return curves;
}

/// "..L..R....M": where each arm's value lies between the least and the largest of the chart. A
/// later letter covers an earlier one.
std::string strip(const Curves& curves, int64_t k, double low, double high) {
  constexpr size_t kWidth = 40;
  std::string line(kWidth, '.');
  for (const auto& [which, letter] :
       {std::pair("least", 'L'), std::pair("random", 'R'), std::pair("most", 'M')}) {
    const auto curve = curves.find(which);
    if (curve == curves.end() || curve->second.count(k) == 0) continue;
    const auto value = number(curve->second.at(k).value);
    if (!value) continue;
    const double share = high > low ? (*value - low) / (high - low) : 0;
    line[static_cast<size_t>(std::lround(share * (kWidth - 1)))] = letter;
  }
  return line;
}

std::string chart(const Curves& curves) {
  std::set<int64_t> ks;
  double low = 1e308, high = -1e308;
  for (const auto& [which, curve] : curves) {
    for (const auto& [k, one] : curve) {
      if (which != "none") ks.insert(k);
      if (const auto value = number(one.value))
        low = std::min(low, *value), high = std::max(high, *value);
    }
  }
  Lines lines = {{"k"}};
  std::vector<std::string> arms;
  for (const char* which : {"most", "random", "least"}) {
    if (curves.count(which) > 0) arms.emplace_back(which);
  }
  for (const auto& which : arms) lines[0].push_back(which);
  if (high >= low) lines[0].push_back("from " + readable(low) + " to " + readable(high));
  for (const int64_t k : ks) {
    std::vector<std::string> line = {std::to_string(k)};
    for (const auto& which : arms) {
      const auto& one = curves.at(which).at(k);
      line.push_back(with_error(one.value, one.se));
    }
    if (high >= low) line.push_back(strip(curves, k, low, high));
    lines.push_back(line);
  }
  return aligned(lines);
}

std::string area(const Table& table, const Cells& row, const std::string& name,
                 const std::string& words) {
  const auto value = number(diagnostic(table, row, name));
  if (!value) return "";
  const auto low = number(diagnostic(table, row, name + "_low")),
             high = number(diagnostic(table, row, name + "_high"));
  std::string text = words + " " + readable(*value);
  if (low && high) text += " [" + readable(*low) + ", " + readable(*high) + "]";
  return text + "\n";
}

std::string head_pruning(const Table& table, const Group& group) {
  std::string out;
  for (const Cells* row : group.diagnostics) {
    const std::string metric = cell_text(diagnostic(table, *row, "metric"));
    const Curves curves = curves_of(table, group, metric);
    if (curves.count("none") == 0) continue;
    const CurvePoint& none = curves.at("none").at(0);
    out += metric + (metric == "loss" ? " (nats)" : "") +
           " with no head removed: " + with_error(none.value, none.se) + "\n" + chart(curves) +
           area(table, *row, "abc", "area between most and least, 95 % interval:") +
           area(table, *row, "random_most", "between most and random:") +
           area(table, *row, "least_random", "between random and least:");
    if (integer(diagnostic(table, *row, "n_missing")) > 0) {
      out += cell_text(diagnostic(table, *row, "n_missing")) + " rows missing\n";
    }
  }
  return out.empty() ? "nothing yet\n" : out;
}

// ---- evaluate: one line a point, one column a metric

std::string evaluate(const Table& table) {
  const auto all = groups(table);
  std::vector<std::string> metrics;
  for (const Cells& row : table.rows) {
    const auto name = cell_text(at(table, row, "metric"));
    if (std::find(metrics.begin(), metrics.end(), name) == metrics.end()) metrics.push_back(name);
  }
  Lines lines(1);
  lines[0].assign(table.columns.begin() + static_cast<ptrdiff_t>(first_point_column(table)),
                  table.columns.end());
  lines[0].insert(lines[0].end(), metrics.begin(), metrics.end());
  lines[0].emplace_back("n");
  for (const Group& group : all) {
    std::vector<std::string> line;
    for (const Cell& cell : group.point) line.push_back(cell_text(cell));
    for (const auto& metric : metrics) {
      std::string text = "-";
      for (const Cells* row : group.rows) {
        if (at(table, *row, "metric") == Cell(metric))
          text = with_error(at(table, *row, "value"), at(table, *row, "se"));
      }
      line.push_back(text);
    }
    line.push_back(cell_text(at(table, *group.rows.front(), "n")));
    lines.push_back(line);
  }
  return aligned(lines);
}

std::string plain(const std::vector<std::string>& columns, const std::vector<Cells>& rows) {
  Lines lines = {columns};
  for (const Cells& row : rows) {
    std::vector<std::string> line;
    for (const Cell& cell : row) line.push_back(cell_text(cell));
    lines.push_back(line);
  }
  return aligned(lines);
}

}  // namespace

std::string cell_text(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* value = std::get_if<int64_t>(&cell)) return std::to_string(*value);
  if (const auto* value = std::get_if<double>(&cell)) return readable(*value);
  return "";
}

std::string text_of(const Table& table) {
  std::string out = table.stage + " · " + table.kind + "\n";
  if (table.kind == "head_importance") {
    out += head_importance(table);
  } else if (table.kind == "head_pruning") {
    for (const Group& group : groups(table)) {
      out += point_text(table, group) + "\n" + indented(head_pruning(table, group)) + "\n";
    }
  } else {
    out += indented(table.kind == "evaluate" ? evaluate(table) : plain(table.columns, table.rows));
  }
  while (out.ends_with("\n\n")) out.pop_back();
  for (const auto& warning : table.warnings) out += "warning: " + warning + "\n";
  return out;
}

}  // namespace headcount::cli
