// For the tests of kinds: small models, datasets and points, and results made by a function instead
// of a runner.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "experiments/kind.h"

namespace headcount::experiments::fixture {

inline ModelInfo masked_model(int64_t n_layers = 2, int64_t n_heads = 2) {
  ModelInfo model;
  model.name = "tiny";
  model.fingerprint = std::string(64, 'a');
  model.dtype = "float32";
  model.config.n_layers = n_layers;
  model.config.n_heads = n_heads;
  model.config.mask_id = 15;
  return model;
}

inline ModelInfo causal_model() {
  ModelInfo model = masked_model();
  model.config.mask_id = -1;
  model.config.causal = true;
  return model;
}

inline datasets::Dataset named(const std::string& name, datasets::Objective objective) {
  datasets::Dataset dataset;
  dataset.name = name;
  dataset.objective = objective;
  return dataset;
}

/// Rows 0 .. n - 1: id 1000 + i, four tokens, the last two of them the masked span.
inline datasets::Dataset masked_rows(int n) {
  auto dataset = named("train", datasets::Objective::kMasked);
  for (int i = 0; i < n; ++i) {
    Row row;
    row.id = 1000 + static_cast<uint64_t>(i);
    row.ids = {i, 1, 2, 3};
    row.span_begin = 2;
    row.span_end = 4;
    dataset.rows.push_back(row);
  }
  return dataset;
}

inline datasets::Dataset labelled_rows(
    int n, datasets::Objective objective = datasets::Objective::kNextToken) {
  auto dataset = named("text", objective);
  for (int i = 0; i < n; ++i) {
    Row row;
    row.id = 2000 + static_cast<uint64_t>(i);
    row.ids = {i, 1, 2};
    row.labels = {1, 2, kIgnore};
    dataset.rows.push_back(row);
  }
  return dataset;
}

/// Rows with as many one-token choices as asked; row i's right one is labels[i].
inline datasets::Dataset choice_rows(const std::vector<int32_t>& labels, int n_choices) {
  auto dataset = named("quiz", datasets::Objective::kChoices);
  for (size_t i = 0; i < labels.size(); ++i) {
    Row row;
    row.id = 3000 + i;
    row.ids = {static_cast<int32_t>(i), 1};
    row.choice_at = 2;
    row.label = labels[i];
    for (int k = 0; k < n_choices; ++k) row.choices.push_back({k});
    dataset.rows.push_back(row);
  }
  dataset.has_choices = true;
  return dataset;
}

/// A point of the kind: its defaults, then `values` over them.
inline Point point(const Kind& kind, const ModelInfo& model, const datasets::Dataset& dataset,
                   const Fields& values) {
  Point point;
  point.model = &model;
  point.dataset = &dataset;
  point.seed = 7;
  for (const ParamInfo& info : kind.params) {
    if (info.otherwise) point.values[std::string(info.name)] = *info.otherwise;
  }
  for (const auto& [name, value] : values) point.values[name] = value;
  point.columns = {{"model", model.name}, {"dataset", dataset.name}};
  point.column_order = {"model", "dataset"};
  return point;
}

/// The complaints of a kind about a point: "key: message".
inline std::vector<std::string> complaints(const Kind& kind, const Point& point) {
  std::vector<std::string> found;
  kind.check(point, [&](const std::string& key, const std::string& message) {
    found.push_back(key + ": " + message);
  });
  return found;
}

/// The keys of all shards of a point.
inline std::set<ShardKey> keys(const Kind& kind, const Point& point) {
  std::set<ShardKey> found;
  for (int64_t i = 0; i < kind.count(point); ++i) found.insert(key(kind.shard(point, i)));
  return found;
}

inline size_t n_new(const std::set<ShardKey>& now, const std::set<ShardKey>& before) {
  return static_cast<size_t>(std::count_if(
      now.begin(), now.end(), [&](const ShardKey& one) { return before.count(one) == 0; }));
}

/// A result with the planned arrays of the shard, every element given by `value(array name, row,
/// column)`; an array of fewer rows is asked for the first ones.
using Value = std::function<double(const std::string& array, const Row& row, size_t column)>;
inline Result result_of(const Shard& shard, const Value& value) {
  Result result;
  for (const ArrayPlan& plan : arrays(shard)) {
    NamedArray array{plan.name, plan.shape, {}};
    const size_t width = plan.shape.size() > 1 ? static_cast<size_t>(plan.shape[1]) : 1;
    for (size_t row = 0; row < static_cast<size_t>(plan.shape[0]); ++row) {
      for (size_t i = 0; i < width; ++i) array.data.push_back(value(plan.name, shard.rows[row], i));
    }
    result.arrays.push_back(array);
  }
  return result;
}

/// The table of a stage with one point whose shards' results are given by `compute`; nullopt:
/// missing.
inline Table table(const Kind& kind, const Point& point,
                   const std::function<std::optional<Result>(const Shard&)>& compute) {
  const std::vector<Point> points = {point};
  return kind.aggregate("stage", points,
                        [&](size_t, int64_t i) { return compute(kind.shard(point, i)); });
}

/// The rows whose first cells are `front`.
inline std::vector<std::vector<Cell>> rows_with(const Table& table,
                                                const std::vector<Cell>& front) {
  std::vector<std::vector<Cell>> found;
  for (const auto& row : table.rows) {
    if (std::equal(front.begin(), front.end(), row.begin())) found.push_back(row);
  }
  return found;
}

inline Cell cell(const Table& table, const std::vector<Cell>& row, const std::string& name) {
  return row.at(column(table.columns, name));
}
inline double number(const Cell& cell) { return std::get<double>(cell); }
inline Cell diagnostic(const Table& table, size_t row, const std::string& name) {
  return table.diagnostics.at(row).at(column(table.diagnostic_columns, name));
}

}  // namespace headcount::experiments::fixture
