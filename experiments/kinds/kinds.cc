// Part of experiments/kind.h.
// The registry: every kind of kinds.def as a value, and the arrays of any kind's shards.
#include <array>

#include "experiments/kind.h"
#include "experiments/kinds/evaluate/evaluate.h"
#include "experiments/kinds/head_importance/head_importance.h"
#include "schemas/error.h"

namespace headcount::experiments {

#define KIND(name)        \
  namespace name {        \
  const Kind& the_kind(); \
  }
#include "experiments/kinds/kinds.def"
#undef KIND

std::span<const Kind> kinds() {
  static const std::array all = {
#define KIND(name) name::the_kind(),
#include "experiments/kinds/kinds.def"
#undef KIND
  };
  return all;
}

const Kind* find_kind(std::string_view name) {
  for (const Kind& kind : kinds()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

Cell to_cell(const Field& field) {
  struct Visitor {
    Cell operator()(bool value) const { return int64_t{value}; }
    Cell operator()(int64_t value) const { return value; }
    Cell operator()(double value) const { return value; }
    Cell operator()(const std::string& value) const { return value; }
    Cell operator()(const std::vector<int64_t>& value) const {
      return JsonList{to_json(Field(value))};
    }
    Cell operator()(const std::vector<double>& value) const {
      return JsonList{to_json(Field(value))};
    }
    Cell operator()(const std::vector<std::string>& value) const {
      return JsonList{to_json(Field(value))};
    }
  };
  return std::visit(Visitor{}, field);
}

std::vector<ArrayPlan> arrays(const Shard& shard) {
  if (shard.kind == "head_importance") return head_importance::arrays(shard);
  if (shard.kind == "evaluate") return evaluate::arrays(shard);
  if (shard.kind == "noop") return {{"noop", {}}};
  throw Error("a shard of unknown kind \"" + shard.kind +
              "\": this program knows head_importance, evaluate and noop");
}

}  // namespace headcount::experiments
