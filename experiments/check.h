// The half of prepare() that opens no file: stages against their kinds' tables, axes expanded,
// inputs resolved.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "experiments/kind.h"
#include "schemas/spec.h"

namespace headcount::experiments {

/// One point before its model and dataset are opened.
struct Arm {
  std::string model, dataset;  // names in the spec
  Fields values;               // of its kind's parameters
  std::vector<std::pair<std::string, Field>>
      axes;  // parameters written as a list, inherited ones first
  bool dataset_is_axis = false;
  int input_point = -1;  // which arm of the input stage it reads
};

struct CheckedStage {
  const Kind* kind = nullptr;  // nullptr: unknown
  std::vector<Arm> arms;       // model slowest, then dataset, inherited axes, own axes
  int input = -1;              // index of the stage it reads
  bool allow_missing = false;
  int64_t micro_batch = 0;
  bool clean = true;  // nothing was wrong with it
};

/// Every stage of `spec`, as far as it can be read; what is wrong goes to `problems`. `kinds` is
/// what a stage may be of.
std::vector<CheckedStage> check_stages(const Spec& spec, std::span<const Kind> kinds,
                                       std::vector<Problem>& problems);

/// "stage[3]".
std::string stage_path(size_t stage);

/// The place of `key` in the stage; of the stage where it is not written.
Position place_of(const StageSpec& stage, const std::string& key);

}  // namespace headcount::experiments
