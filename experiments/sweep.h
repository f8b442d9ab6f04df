// A spec made whole: checked, its models opened and fingerprinted, its datasets read, its stages
// expanded into points.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "experiments/allowed_paths.h"
#include "experiments/datasets/shared.h"
#include "experiments/kind.h"
#include "schemas/spec.h"

namespace headcount::experiments {

struct Stage {
  std::string name;
  const Kind* kind = nullptr;
  std::vector<Point> points;     // all axes, inherited ones too; of scores all but their values
  int input = -1;                // index of the stage it reads, or -1
  std::vector<int> input_point;  // per point: which point of that stage
  bool allow_missing = false;
  std::vector<int64_t>
      first_shard;  // per point, and the stage's count at the end: see number_shards
};

/// Owns what points point to. Movable; points stay valid.
struct Sweep {
  Spec spec;
  std::vector<std::unique_ptr<ModelInfo>> models;
  std::vector<std::shared_ptr<const datasets::Dataset>>
      datasets;  // one per (dataset, model) pair used; equal ones of other sweeps may be the same
  std::vector<Stage> stages;
};

/// Takes what is being done, now and then: "model big: 4.1 of 16.0 GB". May throw to give up.
using Tell = std::function<void(const std::string& doing)>;

/// How prepare() reads files.
struct Reading {
  AllowedPaths allowed = {};
  Tell tell = [](const std::string&) {};
  datasets::SharedDatasets* shared = nullptr;  // where other sweeps' datasets are; outlived by it
};

struct Prepared {
  std::optional<Sweep> sweep;
  std::vector<Problem> problems;
};

/// Everything `headcount check` does: parse, outer shape, kinds' keys, axes, stage inputs, then
/// (where those are clean) models and datasets. Relative paths start at `root`; ModelInfo::path is
/// the path so resolved. Files that cannot be read, or may not be, become problems at the key
/// naming them. Only models and datasets that a stage uses are opened. Problems come in the order
/// of the file.
Prepared prepare(std::string_view text, const std::string& file, const std::string& root,
                 const Reading& reading = {});

/// The keys every stage takes whatever its kind (`scores` apart, which is a table); for
/// docs/spec.md.
std::span<const ParamInfo> stage_params();

/// Puts an earlier stage's table into the points of `stage`, which read it: `input` as that stage's
/// Kind::aggregate made it. Heads that are not in the table, or have no value there, are NaN.
void attach_scores(Sweep& sweep, int stage, const Table& input);

/// Fills first_shard from Kind::count. prepare() has done it; needed again only where points are
/// changed by hand.
void number_shards(Stage& stage);

/// Shard i of the stage, counting through its points in order; and where it belongs.
int64_t count(const Stage& stage);
struct Place {
  size_t point;
  int64_t shard;
};
Place place(const Stage& stage, int64_t i);
Shard shard(const Stage& stage, int64_t i);

}  // namespace headcount::experiments
