// What a surprisal stage may say, which shards a point needs, what they yield and take.
#include "experiments/kind.h"
#include "experiments/kinds/blocks.h"
#include "surprisal/surprisal.h"

namespace headcount::experiments::surprisal {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result);

namespace {

std::span<const ParamInfo> params() {
  static const std::vector<ParamInfo> infos = {
      {.name = "positions",
       .type = ParamType::kInteger,
       .otherwise = Field(int64_t{5}),
       .at_least = 1,
       .at_most = 4096,
       .unit = "tokens",
       .meaning = "How many leading positions of a completion are read.",
       .example = "[2, 5]"},
  };
  return infos;
}

void check(const Point& point, const Complain& complain) {
  if (point.dataset->objective != datasets::Objective::kMasked)
    complain("dataset", "the rows of dataset \"" + point.dataset->name +
                            "\" have no masked span: use a masked dataset");
  if (!point.model->config.masked())
    complain("model", "model \"" + point.model->name + "\" has no mask token");
}

int64_t count(const Point& point) { return n_blocks(point.dataset->rows.size(), kBlockRows); }

Shard shard(const Point& point, int64_t i) {
  Shard one = blank_shard(point, computation());
  one.params = {{"positions", get<int64_t>(point.values, "positions")},
                {"mask_id", point.model->config.mask_id}};
  one.rows = block_rows(*point.dataset, i, kBlockRows, Ask::kSpan);
  return one;
}

std::vector<ArrayPlan> arrays_of(const Shard& shard) {
  return {
      {"nats", {static_cast<int64_t>(shard.rows.size()), get<int64_t>(shard.params, "positions")}}};
}

/// A pass a row, and all of them could stand in one.
Work work(const Shard& shard) {
  const auto n = static_cast<int64_t>(shard.rows.size());
  return {.passes = {.forward = n, .most_forward = n}, .samples = n};
}

}  // namespace

const Computation& computation() {
  static const Computation one{.name = "surprisal",
                               .numerics_version = kNumericsVersion,
                               .micro_batch = 64,
                               .arrays = arrays_of,
                               .work = work};
  return one;
}

const Kind& the_kind() {
  static const Kind kind{.name = "surprisal",
                         .computation = computation(),
                         .params = params(),
                         .check = check,
                         .count = count,
                         .shard = shard,
                         .aggregate = aggregate};
  return kind;
}

}  // namespace headcount::experiments::surprisal
