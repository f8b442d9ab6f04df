// A kind of experiment as a value: what its stages may say, read and give, which shards a point of
// one needs, the table their results make, and how that is drawn. Its shards are of one computation
// (experiments/computation.h), its own or another kind's. Torch-free.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/computation.h"
#include "experiments/datasets/dataset.h"
#include "models/files/config.h"
#include "schemas/params.h"
#include "schemas/result.h"
#include "schemas/shard.h"
#include "schemas/table.h"

namespace headcount::experiments {

/// A model of the spec as planning sees it.
struct ModelInfo {
  std::string name;
  std::string path;
  std::string fingerprint;
  std::string dtype;
  models::Config config;
  std::string tag;  // the numerics tag it is bound to; empty while planning without workers
};

/// The scores a point reads from an earlier stage: `value` of the rows with mask_prob null (signed
/// mean, or that stage's view) by layer-major head, NaN where that stage had no such head. Stage,
/// rows and parameters are known from the start, `value` is empty until that table exists: check
/// and count must not need it.
struct Scores {
  std::string stage;
  std::vector<double> value;  // n_layers * n_heads, or empty
  /// What `value` would be without the stage's view: breaks ties of value. Empty where the table
  /// does not say (it has no column signed_mean).
  std::vector<double> signed_mean = {};
  /// "model = mha, ig_steps = 8 are not settled: ..." (experiments/trust.h); empty: they are.
  std::string distrust = {};
  const datasets::Dataset* dataset = nullptr;  // they were made from: for the overlap warnings
  Fields values;  // that point's parameters (mask_probs, mask_samples ...)
};

/// One point of a stage with everything its plan may use. Outlived by spec-level data it points to.
struct Point {
  const ModelInfo* model = nullptr;
  const datasets::Dataset* dataset = nullptr;
  Fields values;   // every parameter, by name
  Fields columns;  // the point's columns in results: model, dataset, every axis, inherited axes
  std::vector<std::string> column_order;  // their fixed order
  std::optional<Scores> scores;           // of a stage that reads one
  uint64_t seed = 0;
  int64_t micro_batch = 0;  // 0: the kind's constant
};

/// Takes what is wrong at one of a stage's keys.
using Complain = std::function<void(const std::string& key, const std::string& message)>;

/// The result of shard i of a point; nullopt: missing (quarantined, or not there yet).
using ResultOf = std::function<std::optional<Result>(size_t point, int64_t shard)>;

/// What the table of a stage is to later ones.
enum class Output {
  kNone,
  kHeadScores,  // columns layer, head, mask_prob (null: the mean over all), value: Point::scores
};

/// What text shows of a table (cli/render_text.h says what each draws), and the columns it needs
/// beside n and the point's.
enum class Picture {
  kColumns,     // any: every row as it is
  kHeadMap,     // layer, head, mask_prob, value, se
  kArms,        // metric, which, k, prune_seed, value, se, low, high, n_orders
  kMetricGrid,  // metric, value, low, high
};

/// Functions are references: a kind that leaves one out does not compile.
struct Kind {
  std::string_view name;
  const Computation& computation;  // of all its shards
  std::span<const ParamInfo> params = {};
  Output reads = Output::kNone;  // kHeadScores: takes `scores = { stage = ..., ... }`
  bool must_read = false;
  Output gives = Output::kNone;
  std::string_view value = {};  // what the column `value` is, for files of values alone
  Picture picture = Picture::kColumns;
  bool hidden = false;  // planned by this program itself: no spec, document or list names it

  /// What one point's parameters, model and dataset get wrong together. `complain(key, message)`:
  /// key is one of its own keys.
  void (&check)(const Point&, const Complain& complain);
  /// How many shards the point needs; known before its scores are.
  int64_t (&count)(const Point&);
  /// Shard i of 0 .. count - 1; equal computations of different points give equal shards.
  Shard (&shard)(const Point&, int64_t i);
  /// The table of the stage from whatever results there are.
  Table (&aggregate)(const std::string& stage, std::span<const Point>, const ResultOf&);
};

/// The kind of that name, hidden or not, or nullptr.
const Kind* find_kind(std::string_view name);
/// Those a spec may name, in kinds.def order.
std::span<const Kind> kinds();

/// A field as tables carry it: truth values and integers as integers, all others as they are.
Cell to_cell(const Field& field);

}  // namespace headcount::experiments
