// Everything of noop: there is nothing to say, so there is little here.
#include <string>

#include "experiments/kinds/noop/noop.h"
#include "schemas/messages.h"

namespace headcount::experiments::noop {

const Kind& the_kind();

namespace {

constexpr const char* kName = "noop";

std::vector<ArrayPlan> arrays_of(const Shard&) { return {{kName, {}}}; }
Work work(const Shard&) { return {}; }

void check(const Point&, const Complain&) {}

int64_t count(const Point& point) { return get<int64_t>(point.values, "shards"); }

Shard shard(const Point& point, int64_t i) {
  Shard one;
  one.kind = kName;
  one.seed = point.seed;
  one.params = {{"i", i}};
  return one;
}

/// How many were asked for; their results are not read, as they say nothing.
Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf&) {
  Table table{.stage = stage,
              .kind = kName,
              .columns = {"metric", "value", "se", "n"},
              .rows = {},
              .diagnostic_columns = {},
              .diagnostics = {},
              .warnings = {}};
  for (const Point& point : points) {
    const int64_t n = count(point);
    table.rows.push_back({std::string("shards"), static_cast<double>(n), Cell{}, n});
  }
  return table;
}

}  // namespace

Sweep sweep(int64_t id, int64_t n_shards) {
  Sweep sweep;
  sweep.spec.name = kName;
  sweep.models.push_back(std::make_unique<ModelInfo>());
  ModelInfo& none = *sweep.models.back();
  none.name = kName;
  none.tag = kNoopTag;
  Stage stage;
  stage.name = kName;
  stage.kind = &the_kind();
  stage.points = {{.model = &none,
                   .values = {{"shards", n_shards}},
                   .columns = {},
                   .column_order = {},
                   .scores = {},
                   .seed = static_cast<uint64_t>(id)}};
  stage.input_point = {-1};
  number_shards(stage);
  sweep.stages.push_back(std::move(stage));
  return sweep;
}

const Kind& the_kind() {
  static const Computation computation{
      .name = kName, .numerics_version = 0, .arrays = arrays_of, .work = work};  // no numbers
  static const Kind kind{.name = kName,
                         .computation = computation,
                         .hidden = true,
                         .check = check,
                         .count = count,
                         .shard = shard,
                         .aggregate = aggregate};
  return kind;
}

}  // namespace headcount::experiments::noop
