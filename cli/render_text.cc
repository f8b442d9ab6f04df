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
#include "experiments/kind.h"
#include "experiments/kinds/head_pruning/head_pruning.h"

namespace headcount::cli {
namespace {

using experiments::Picture;
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
    if (text[i] == '\n' && i + 1 < text.size() && text[i + 1] != '\n') out += "  ";
  }
  return out;
}

/// "0.1234 ± 0.0056", the value alone where there is no error, "-" where there is nothing.
std::string with_error(const Cell& value, const Cell& se) {
  if (!number(value)) return "-";
  const std::string text = readable(*number(value));
  return number(se) ? text + " ± " + readable(*number(se), 2) : text;
}

/// "4.066 [3.48, 4.66]", the value alone where there is no interval, "-" where there is nothing.
std::string with_interval(const Cell& value, const Cell& low, const Cell& high) {
  if (!number(value)) return "-";
  const std::string text = readable(*number(value));
  if (!number(low) || !number(high)) return text;
  return text + " [" + readable(*number(low), 3) + ", " + readable(*number(high), 3) + "]";
}

/// The interval, or where there is none (tables of an older version) the standard error.
std::string with_spread(const Cell& value, const Cell& se, const Cell& low, const Cell& high) {
  return number(low) ? with_interval(value, low, high) : with_error(value, se);
}

std::string percent(const std::optional<double>& share) {
  return share ? readable(100 * *share, 3) + " %" : "none";
}

/// The cell of that column; null where the table is of a version that had no such column.
const Cell& cell_of(const std::vector<std::string>& columns, const Cells& row,
                    const std::string& name) {
  static const Cell none;
  const auto at = std::find(columns.begin(), columns.end(), name);
  return at == columns.end() ? none : row[static_cast<size_t>(at - columns.begin())];
}
const Cell& at(const Table& table, const Cells& row, const std::string& name) {
  return cell_of(table.columns, row, name);
}
const Cell& diagnostic(const Table& table, const Cells& row, const std::string& name) {
  return cell_of(table.diagnostic_columns, row, name);
}

// ---- Picture::kHeadMap

/// A full block's shade; where `dim`, a low block of that rank.
const char* shade(double share, bool dim) {
  constexpr std::array<const char*, 5> kShades = {"·", "░", "▒", "▓", "█"};
  constexpr std::array<const char*, 5> kDim = {"·", "▁", "▂", "▃", "▄"};
  const std::array<double, 4> limits = {0.05, 0.25, 0.5, 0.75};
  const auto above =
      std::count_if(limits.begin(), limits.end(), [&](double limit) { return share >= limit; });
  return (dim ? kDim : kShades)[static_cast<size_t>(above)];
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

/// Layers x heads. A head whose value is less than two standard errors from zero is drawn low; one
/// without a standard error is not.
std::string head_map(const Table& table, const std::vector<const Cells*>& heads) {
  struct Head {
    double value = 0;
    bool dim = false;
  };
  std::map<int64_t, std::map<int64_t, Head>> layers;
  bool any_dim = false;
  double largest = 0;
  int64_t n_heads = 0;
  for (const Cells* row : heads) {
    const double value = *number(at(table, *row, "value"));
    const bool dim = std::abs(value) < 2 * number(at(table, *row, "se")).value_or(0);
    layers[integer((*row)[0])][integer((*row)[1])] = {value, dim};
    any_dim = any_dim || dim;
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
    for (const auto& [head, one] : values) {
      const double size = std::abs(one.value);
      out += one.value < 0 && size >= 0.05 * largest ? " -" : "  ";
      out += largest > 0 ? shade(size / largest, one.dim) : "·";
    }
  }
  return out + "\n· < 5 %  ░ < 25 %  ▒ < 50 %  ▓ < 75 %  █ of the largest, " + readable(largest) +
         " nats; - lowers the likelihood\n" +
         (any_dim ? "▁ ▂ ▃ ▄ as ░ ▒ ▓ █, but less than two standard errors from zero\n" : "");
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

/// What the diagnostics of head scores say of how far to trust them, in the order to read it. An
/// older table lacks some and has others.
struct TrustColumn {
  const char *name, *head;
  bool share;  // in percent
};
constexpr std::array<TrustColumn, 10> kTrust = {{{"audit", "audit", true},
                                                 {"step_difference", "step difference", true},
                                                 {"moving", "moving", true},
                                                 {"gap_p95", "gap p95", false},
                                                 {"residual_p95", "residual p95", true},
                                                 {"residual_mean", "residual", true},
                                                 {"unconverged", "unconverged", false},
                                                 {"evaluations_mean", "gradients", false},
                                                 {"evaluations_max", "largest", false},
                                                 {"n_missing", "missing", false}}};

/// One line a point: what a grid of steps and paths is read for.
std::string trust(const Table& table) {
  const auto& columns = table.diagnostic_columns;
  const auto place = [&](const char* name) {
    return static_cast<size_t>(std::find(columns.begin(), columns.end(), name) - columns.begin());
  };
  size_t first = columns.size();
  for (const TrustColumn& one : kTrust) first = std::min(first, place(one.name));
  Lines lines = {{columns.begin(), columns.begin() + static_cast<ptrdiff_t>(first)}};
  for (const Cells& row : table.diagnostics) {
    std::vector<std::string> line;
    for (size_t i = 0; i < first; ++i) line.push_back(cell_text(row[i]));
    lines.push_back(line);
  }
  std::set<std::string> shown;
  for (const TrustColumn& one : kTrust) {
    const size_t at = place(one.name);
    const auto has = [&](const Cells& row) { return number(row[at]).has_value(); };
    if (at == columns.size() ||
        std::none_of(table.diagnostics.begin(), table.diagnostics.end(), has))
      continue;
    shown.insert(one.name);
    lines[0].emplace_back(one.head);
    for (size_t i = 0; i < table.diagnostics.size(); ++i) {
      const Cell& cell = table.diagnostics[i][at];
      lines[i + 1].push_back(one.share ? percent(number(cell)) : cell_text(cell));
    }
  }
  std::string legend = "how far to trust each point";
  const auto explain = [&](const char* name, const std::string& words) {
    if (shown.count(name) > 0) legend += words;
  };
  explain("audit",
          "; audit: change of the mean vector by halving every interval, a row in sixteen");
  explain("step_difference", "; step difference: change of the mean vector from half the steps");
  explain("moving", ";\nmoving: share of a row's |IG| that changes with it");
  explain("gap_p95", "; gap: |sum - change of J|, nats, residual: over the change or 1 nat");
  return legend + "\n" + indented(aligned(lines));
}

std::string head_map_of(const Table& table) {
  const auto all = groups(table);
  std::string out;
  for (const Group& group : all) {
    const auto heads = heads_at(table, group, Cell());
    std::string text = "nothing yet\n";
    if (!heads.empty()) {
      text = "n = " + cell_text(at(table, *heads.front(), "n")) +
             " rows; J = -loss in nats, positive: the head raises it\n" + head_map(table, heads) +
             strongest(table, group, heads, all.size() > 2 ? 5 : 10);
    }
    out += point_text(table, group) + "\n" + indented(text) + "\n";
  }
  if (!table.diagnostics.empty()) out += trust(table);
  return out;
}

// ---- Picture::kArms

struct CurvePoint {
  Cell value, se, low, high;
};
/// which -> k -> value, of the mean over prune seeds for random.
using Curves = std::map<std::string, std::map<int64_t, CurvePoint>>;

/// The arms of a chart in the order of its columns, with their letters in its strips.
constexpr std::array<std::pair<const char*, char>, 5> kArms = {{{"most", 'M'},
                                                                {"random", 'R'},
                                                                {"random_as_most", 'R'},
                                                                {"random_as_least", 'r'},
                                                                {"least", 'L'}}};

/// The rows of one metric that are no single random order.
std::vector<const Cells*> rows_of(const Table& table, const Group& group,
                                  const std::string& metric) {
  std::vector<const Cells*> rows;
  for (const Cells* row : group.rows) {
    const bool one_seed = number(at(table, *row, "prune_seed")).has_value();
    if (at(table, *row, "metric") == Cell(metric) && !one_seed) rows.push_back(row);
  }
  return rows;
}

Curves curves_of(const Table& table, const std::vector<const Cells*>& rows) {
  Curves curves;
  for (const Cells* row : rows) {
    curves[cell_text(at(table, *row, "which"))][integer(at(table, *row, "k"))] = {
        at(table, *row, "value"), at(table, *row, "se"), at(table, *row, "low"),
        at(table, *row, "high")};
  }
  return curves;
}

/// "L.R.......M": where each arm's value lies between the least and the largest of the chart. Most
/// covers random, random least.
std::string strip(const Curves& curves, int64_t k, double low, double high) {
  constexpr size_t kWidth = 40;
  std::string line(kWidth, '.');
  for (auto arm = kArms.rbegin(); arm != kArms.rend(); ++arm) {
    const auto curve = curves.find(arm->first);
    if (curve == curves.end() || curve->second.count(k) == 0) continue;
    const auto value = number(curve->second.at(k).value);
    if (!value) continue;
    const double share = high > low ? (*value - low) / (high - low) : 0;
    line[static_cast<size_t>(std::lround(share * (kWidth - 1)))] = arm->second;
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
  for (const auto& [which, letter] : kArms) {
    if (curves.count(which) > 0) arms.emplace_back(which);
  }
  for (const auto& which : arms) lines[0].push_back(which);
  if (high >= low) lines[0].push_back("from " + readable(low) + " to " + readable(high));
  for (const int64_t k : ks) {
    std::vector<std::string> line = {std::to_string(k)};
    for (const auto& which : arms) {
      const auto& one = curves.at(which).at(k);
      line.push_back(with_spread(one.value, one.se, one.low, one.high));
    }
    if (high >= low) line.push_back(strip(curves, k, low, high));
    lines.push_back(line);
  }
  return aligned(lines);
}

/// "n = 128 rows; in [ ] 95 % intervals ...": what the chart's brackets are.
std::string sample(const Table& table, const std::vector<const Cells*>& rows) {
  int64_t n = 0, n_orders = 0, least_k = 1'000'000'000;
  for (const Cells* row : rows) {
    n = std::max(n, integer(at(table, *row, "n")));
    if (integer(at(table, *row, "n_orders")) < 0) continue;
    n_orders = std::max(n_orders, integer(at(table, *row, "n_orders")));
    least_k = std::min(least_k, integer(at(table, *row, "k")));
  }
  std::string text = "n = " + std::to_string(n) + " rows";
  if (n_orders > 0) text += " x " + std::to_string(n_orders) + " random orders";
  const auto& columns = table.columns;
  if (std::find(columns.begin(), columns.end(), "low") == columns.end()) return text + "\n";
  text += "; in [ ] 95 % intervals";
  if (n_orders > 1 && least_k <= experiments::head_pruning::kLotteryK) {
    text += "; random up to k = " + std::to_string(experiments::head_pruning::kLotteryK) +
            ": the middle 95 % of these orders";
  }
  return text + "\n";
}

/// The areas between curves three ways, and the axes they are over.
std::string areas(const Table& table, const Cells& row, const std::string& metric, int64_t most_k) {
  const std::string unit = metric == "loss" ? "nats" : "share of rows";
  const auto chance = number(diagnostic(table, row, "chance"));
  Lines lines = {{"area between", "linear", "over log2(1 + k)"}};
  if (chance) lines[0].insert(lines[0].begin() + 2, "clipped at chance");
  for (const auto& [name, words] :
       {std::pair("abc", "most and least"), std::pair("random_most", "most and random"),
        std::pair("least_random", "random and least")}) {
    const auto cell = [&, stem = std::string(name)](const char* way) {
      const auto of = [&](const char* end) { return diagnostic(table, row, stem + way + end); };
      return with_interval(of(""), of("_low"), of("_high"));
    };
    if (!number(diagnostic(table, row, name))) continue;
    lines.push_back({words, cell(""), cell("_log")});
    if (chance) lines.back().insert(lines.back().begin() + 2, cell("_clipped"));
  }
  if (lines.size() == 1) return "";
  const std::string n_heads = cell_text(diagnostic(table, row, "n_heads"));
  const std::string clipped =
      !chance ? "" : "; clipped: no curve worse than " + readable(*chance) + ", a guess";
  return aligned(lines) + "linear: " + unit + " x share of heads removed, 0 to " +
         std::to_string(most_k) + (n_heads.empty() ? " heads" : "/" + n_heads) + clipped +
         "; log: " + unit + " x log2(1 + k), 0 to " +
         readable(std::log2(1 + static_cast<double>(most_k))) + "\n";
}

std::string chart_of(const Table& table, const Group& group, const Cells& diagnostics) {
  const std::string metric = cell_text(diagnostic(table, diagnostics, "metric"));
  const auto rows = rows_of(table, group, metric);
  const Curves curves = curves_of(table, rows);
  if (curves.count("none") == 0) return "";
  int64_t most_k = 0;
  for (const Cells* row : rows) most_k = std::max(most_k, integer(at(table, *row, "k")));
  const CurvePoint& none = curves.at("none").at(0);
  std::string out = metric + (metric == "loss" ? " (nats)" : "") + " with no head removed: " +
                    with_spread(none.value, none.se, none.low, none.high) + "; " +
                    sample(table, rows) + chart(curves) + areas(table, diagnostics, metric, most_k);
  if (integer(diagnostic(table, diagnostics, "n_missing")) > 0)
    out += cell_text(diagnostic(table, diagnostics, "n_missing")) + " rows missing\n";
  return out;
}

/// What a user sees of a model first: whether its answers are right, then its loss.
std::string charts_of(const Table& table, const Group& group) {
  std::string out;
  for (const char* first : {"exact_match", "accuracy", "loss"}) {
    for (const Cells* row : group.diagnostics) {
      if (diagnostic(table, *row, "metric") == Cell(std::string(first)))
        out += (out.empty() ? "" : "\n") + chart_of(table, group, *row);
    }
  }
  return out.empty() ? "nothing yet\n" : out;
}

std::string arms_of(const Table& table) {
  std::string out;
  for (const Group& group : groups(table))
    out += point_text(table, group) + "\n" + indented(charts_of(table, group)) + "\n";
  return out;
}

// ---- Picture::kMetricGrid: one line a point, one column a metric with its 95 % interval

std::string metric_grid(const Table& table) {
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
          text = with_interval(at(table, *row, "value"), at(table, *row, "low"),
                               at(table, *row, "high"));
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

/// A kind this program does not know is drawn as it is.
std::string picture_of(const Table& table) {
  const auto* kind = experiments::find_kind(table.kind);
  switch (kind == nullptr ? Picture::kColumns : kind->picture) {
    case Picture::kHeadMap:
      return head_map_of(table);
    case Picture::kArms:
      return arms_of(table);
    case Picture::kMetricGrid:
      return indented(metric_grid(table));
    case Picture::kColumns:
      return indented(plain(table.columns, table.rows));
  }
  return "";
}

}  // namespace

std::string cell_text(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* list = std::get_if<JsonList>(&cell)) return list->json;
  if (const auto* value = std::get_if<int64_t>(&cell)) return std::to_string(*value);
  if (const auto* value = std::get_if<double>(&cell)) return readable(*value);
  return "";
}

std::string text_of(const Table& table) {
  std::string out = table.stage + " · " + table.kind + "\n" + picture_of(table);
  while (out.ends_with("\n\n")) out.pop_back();
  for (const auto& warning : table.warnings) out += "warning: " + warning + "\n";
  return out;
}

}  // namespace headcount::cli
