// The half of prepare() that opens no file: stages against their kinds' tables (check.cc), their
// inputs (stage_input.cc), their axes as points (expand.cc).
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "experiments/kind.h"
#include "schemas/spec.h"

namespace headcount::experiments {

/// One point before its model and dataset are opened.
struct UnopenedPoint {
  std::string model, dataset;                       // names in the spec
  Fields values;                                    // of its kind's parameters
  std::vector<std::pair<std::string, Field>> axes;  // parameters written as a list, inherited first
  bool dataset_is_axis = false;
  int input_point = -1;  // which point of the input stage it reads
};

struct CheckedStage {
  const Kind* kind = nullptr;         // nullptr: unknown
  std::vector<UnopenedPoint> points;  // model slowest, then dataset, inherited axes, own axes
  int input = -1;                     // index of the stage it reads
  bool allow_missing = false;
  int64_t micro_batch = 0;
  bool clean = true;  // nothing was wrong with it
};

/// Every stage of `spec`, as far as it can be read; what is wrong goes to `problems`. `kinds` is
/// what a stage may be of.
std::vector<CheckedStage> check_stages(const Spec& spec, std::span<const Kind> kinds,
                                       std::vector<Problem>& problems);

/// The stage being checked, those before it, and where its problems go.
struct StageContext {
  const Spec& spec;
  size_t index = 0;
  const std::vector<CheckedStage>& before;
  std::vector<Problem>& problems;

  const StageSpec& written() const { return spec.stages[index]; }
  const CheckedStage& stage(int earlier) const { return before[static_cast<size_t>(earlier)]; }
  const std::string& name_of(int stage) const {
    return spec.stages[static_cast<size_t>(stage)].name;
  }
  void complain(Position at, const std::string& key, const std::string& message) const;
};

/// Which points of an earlier stage a stage reads, and which of that stage's axes it does not
/// inherit.
struct StageInput {
  int stage = -1;
  std::vector<int> points;
  std::set<std::string> selected;  // axes narrowed to one value
};

/// `scores = { stage = ..., KEY = VALUE ... }` of the stage; nullopt where it has none, or after a
/// problem.
std::optional<StageInput> read_input(const StageContext& context, const Kind& kind);

/// The points of a stage, from its own axes (model and dataset among the values) and its input's.
/// Empty where a choice lacks a model or dataset; a problem where they are more than kMaxPoints.
std::vector<UnopenedPoint> expand(const StageContext& context, const Kind& kind,
                                  const std::vector<Choice>& choices,
                                  const std::optional<StageInput>& input);

/// "stage[3]".
std::string stage_path(size_t stage);
/// The place of `key` in the stage; of the stage where it is not written.
Position place_of(const StageSpec& stage, const std::string& key);
/// The table's row of that name, or nullptr.
const ParamInfo* find_info(std::span<const ParamInfo> infos, std::string_view name);

/// For messages: the text in quotes, cut where long; a list of such; `a, b, ...`, at most eight.
std::string quote(const std::string& text);
std::vector<std::string> quoted(const std::vector<std::string>& names);
std::string listed(const std::vector<std::string>& texts);
bool contains(const std::vector<std::string>& names, const std::string& name);

}  // namespace headcount::experiments
