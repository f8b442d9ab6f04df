// Part of experiments/kind.h.
// The registry: every kind of kinds.def as a value, and through them the computations.
#include "experiments/kind.h"
#include "schemas/error.h"

#define KIND(name)                         \
  namespace headcount::experiments::name { \
  const Kind& the_kind();                  \
  }
#define COMPUTING_KIND(name) KIND(name)
#include "experiments/kinds/kinds.def"
#undef KIND
#undef COMPUTING_KIND

namespace headcount::experiments {
namespace {

/// All of them, the hidden ones last.
const std::vector<Kind>& registry() {
  static const std::vector<Kind> all = [] {
    std::vector<Kind> offered, hidden;
    const auto add = [&](std::string_view line, const Kind& kind, bool computes) {
      HC_CHECK(kind.name == line && (!computes || kind.computation.name == line));
      (kind.hidden ? hidden : offered).push_back(kind);
    };
#define KIND(name) add(#name, name::the_kind(), false);
#define COMPUTING_KIND(name) add(#name, name::the_kind(), true);
#include "experiments/kinds/kinds.def"
#undef KIND
#undef COMPUTING_KIND
    for (const Kind& kind : hidden) offered.push_back(kind);
    return offered;
  }();
  return all;
}

}  // namespace

std::span<const Kind> kinds() {
  size_t n_offered = 0;
  for (const Kind& kind : registry()) n_offered += kind.hidden ? 0 : 1;
  return std::span(registry()).first(n_offered);
}

const Kind* find_kind(std::string_view name) {
  for (const Kind& kind : registry()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

const Computation* find_computation(std::string_view name) {
  for (const Kind& kind : registry()) {
    if (kind.computation.name == name) return &kind.computation;
  }
  return nullptr;
}

const Computation& computation_of(const Shard& shard) {
  if (const auto* found = find_computation(shard.kind)) return *found;
  std::string known;
  for (const Kind& kind : registry()) {
    if (kind.computation.name == kind.name)
      known += (known.empty() ? "" : ", ") + std::string(kind.name);
  }
  throw Error("a shard of unknown kind \"" + shard.kind + "\": this program knows " + known);
}

std::vector<ArrayPlan> arrays(const Shard& shard) { return computation_of(shard).arrays(shard); }

Passes passes(const Shard& shard) { return computation_of(shard).work(shard).passes; }

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

}  // namespace headcount::experiments
