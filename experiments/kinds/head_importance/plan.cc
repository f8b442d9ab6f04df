// What a head_importance stage may say, which shards a point needs, and how they are written.
#include "experiments/kinds/head_importance/plan.h"

#include <algorithm>
#include <string>

#include "experiments/kind.h"
#include "experiments/kinds/blocks.h"
#include "experiments/kinds/shared_params.h"
#include "schemas/error.h"

namespace headcount::experiments::head_importance {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result);

namespace {

using datasets::Objective;
using Numbers = std::vector<double>;
using Integers = std::vector<int64_t>;

constexpr double kHuge = 1e9;

std::span<const ParamInfo> params() {
  static const std::vector<ParamInfo> infos = {
      mask_probs_param(
          "Probabilities with which a position of the completion is masked; scores are kept for "
          "each. "
          "Required for rows with a masked span, refused for rows that bring their own labels.",
          "[0.15, 0.3, 0.5, 0.7, 0.9]"),
      mask_samples_param(
          "Masks drawn for each row and probability. Required and refused as mask_probs."),
      {.name = "loss_normalize",
       .type = ParamType::kText,
       .otherwise = Field(std::string("mean_masked")),
       .choices = {"mean_masked", "sum"},
       .meaning = "The loss of a row: mean or sum of cross-entropy over its supervised positions.",
       .example = "\"sum\""},
      {.name = "path_mode",
       .type = ParamType::kText,
       .otherwise = Field(std::string("diagonal")),
       .choices = {"diagonal", "stochastic_threshold"},
       .meaning = "The path of integration from baseline to one: all gates together, or each head "
                  "starting at "
                  "its own random threshold.",
       .example = "[\"diagonal\", \"stochastic_threshold\"]"},
      {.name = "path_samples",
       .type = ParamType::kInteger,
       .otherwise = Field(int64_t{4}),
       .at_least = 1,
       .at_most = 65536,
       .unit = "paths",
       .meaning = "Paths averaged for each row and mask, a multiple of path_block; the diagonal "
                  "has one and ignores it.",
       .example = "16"},
      {.name = "path_block",
       .type = ParamType::kInteger,
       .otherwise = Field(int64_t{4}),
       .at_least = 1,
       .at_most = 1024,
       .unit = "paths",
       .meaning = "Paths of one shard, and of one Latin hypercube.",
       .example = "8"},
      {.name = "threshold_sampling",
       .type = ParamType::kText,
       .otherwise = Field(std::string("latin_hypercube")),
       .choices = {"latin_hypercube", "iid"},
       .meaning = "How the thresholds of the paths of one block are drawn.",
       .example = "\"iid\""},
      {.name = "ramp_width",
       .type = ParamType::kNumber,
       .at_least = 0,
       .at_most = kHuge,
       .above_least = true,
       .meaning =
           "Width of every head's ramp on a stochastic_threshold path; towards 0 it is the Shapley "
           "permutation path. Absent: every ramp ends where the path ends.",
       .example = "0.1"},
      {.name = "quadrature",
       .type = ParamType::kText,
       .otherwise = Field(std::string("adaptive")),
       .choices = rule_names(),
       .meaning = "adaptive: Simpson's rule, intervals halved until tol is met. The others take "
                  "ig_steps equal intervals and the gradient there; they can be far off "
                  "(docs/numbers.md). gauss_legendre is for the diagonal only.",
       .example = "\"trapezoid\""},
      {.name = "ig_steps",
       .type = ParamType::kInteger,
       .at_least = 1,
       .at_most = 65536,
       .unit = "intervals",
       .meaning = "Intervals of the path: 8 when absent; of adaptive, the intervals it starts "
                  "from, graded towards the baseline: 11 when absent, at most 48.",
       .example = "[8, 16]"},
      {.name = "baseline",
       .type = ParamType::kNumber,
       .otherwise = Field(0.0),
       .at_least = 0,
       .at_most = 0.999,
       .meaning = "Gate of the selected heads at the start of the path.",
       .example = "0.3"},
      {.name = "layers",
       .type = ParamType::kIntegers,
       .at_least = 0,
       .at_most = 65535,
       .unit = "layers",
       .meaning = "Consecutive layers, counted from 0, whose heads are scored; all others keep "
                  "gate one. Absent: all.",
       .example = "[0, 1]"},
      {.name = "tol",
       .type = ParamType::kNumber,
       .otherwise = Field(kTol),
       .at_least = 0,
       .at_most = 1,
       .above_least = true,
       .meaning = "adaptive stops when its estimate of the vector's L2 error is at most tol x "
                  "max(|change of J|, tol_floor), for each row, mask and path.",
       .example = "1e-3"},
      {.name = "tol_floor",
       .type = ParamType::kNumber,
       .otherwise = Field(1.0),
       .at_least = 0,
       .at_most = kHuge,
       .above_least = true,
       .unit = "nats",
       .meaning = "The smallest change of J that tol is relative to.",
       .example = "0.1"},
      {.name = "max_evaluations",
       .type = ParamType::kInteger,
       .otherwise = Field(int64_t{4097}),
       .at_least = 3,
       .at_most = 1 << 20,
       .unit = "gradients",
       .meaning = "adaptive gives up after so many gradients of one row, mask and path; the row "
                  "counts as unconverged.",
       .example = "1025"},
      {.name = "view",
       .type = ParamType::kText,
       .otherwise = Field(std::string("signed")),
       .choices = {"signed", "abs", "relu", "abs_per_row", "relu_per_row"},
       .meaning = "What the table shows of the signed mean; the _per_row views transform each row "
                  "before the mean, "
                  "which noise biases upwards.",
       .example = "\"abs\""},
  };
  return infos;
}

bool stochastic(const Point& point) {
  return get<std::string>(point.values, "path_mode") == "stochastic_threshold";
}
Rule rule_of(const Point& point) {
  return experiments::rule_of(get<std::string>(point.values, "quadrature"));
}
bool adaptive(const Point& point) { return rule_of(point) == Rule::kAdaptive; }
int64_t ig_steps(const Point& point) {
  return get_or<int64_t>(point.values, "ig_steps", adaptive(point) ? kAdaptiveSteps : 8);
}

void check_masks(const Point& point, const Complain& complain) {
  for (const char* name : {"mask_probs", "mask_samples"}) {
    const bool given = point.values.count(name) > 0;
    if (masked(point) && !given) {
      complain(name, "the rows of dataset \"" + point.dataset->name +
                         "\" have a masked span: give " + name +
                         (std::string(name) == "mask_probs" ? ", such as [0.15, 0.3, 0.5, 0.7, 0.9]"
                                                            : ", such as 2"));
    } else if (!masked(point) && given) {
      complain(name, "the rows of dataset \"" + point.dataset->name +
                         "\" bring their own labels, so there is nothing to mask: remove " + name);
    }
  }
}

void check_objective(const Point& point, const Complain& complain) {
  const models::Config& config = point.model->config;
  const std::string model = "model \"" + point.model->name + "\"";
  const std::string dataset = "dataset \"" + point.dataset->name + "\"";
  switch (point.dataset->objective) {
    case Objective::kMasked:
      if (!config.masked()) {
        complain("dataset",
                 dataset + " asks for masked positions and " + model +
                     " has no mask token: use a next-token dataset or a masked-diffusion model");
      }
      break;
    case Objective::kNextToken:
      if (!config.causal) {
        complain("dataset", dataset + " asks for the next token and " + model +
                                " sees it: use a masked dataset or a causal model");
      }
      break;
    case Objective::kGivenLabels:
      break;
    case Objective::kChoices:
      complain("dataset", "the rows of " + dataset +
                              " hold only choices, which have no loss to attribute: use rows with "
                              "labels, or kind = \"evaluate\"");
      break;
  }
}

void check_path(const Point& point, const Complain& complain) {
  const auto samples = get<int64_t>(point.values, "path_samples");
  const auto block = get<int64_t>(point.values, "path_block");
  if (stochastic(point) && samples % block != 0) {
    complain("path_samples", "expected a multiple of path_block = " + std::to_string(block) +
                                 ", found " + std::to_string(samples) + ": take " +
                                 std::to_string((samples / block + 1) * block) +
                                 ", or another path_block");
  }
  if (stochastic(point) && rule_of(point) == Rule::kGaussLegendre) {
    complain("quadrature",
             "gauss_legendre is for path_mode = \"diagonal\" only (a stochastic_threshold path has "
             "kinks): "
             "use trapezoid or midpoint");
  }
  if (!adaptive(point)) return;
  if (ig_steps(point) > kMostAdaptiveSteps) {
    complain("ig_steps", "adaptive starts from at most " + std::to_string(kMostAdaptiveSteps) +
                             " intervals, graded by halves towards the baseline, found " +
                             std::to_string(ig_steps(point)) +
                             ": leave it out, or name another quadrature");
    return;
  }
  const int64_t least = 4 * ig_steps(point) + 1;
  const auto most = get<int64_t>(point.values, "max_evaluations");
  if (most < least) {
    complain("max_evaluations", "expected at least " + std::to_string(least) +
                                    " (4 x ig_steps + 1, before any halving), found " +
                                    std::to_string(most));
  }
}

void check_layers(const Point& point, const Complain& complain) {
  if (point.values.count("layers") == 0) return;
  auto layers = get<Integers>(point.values, "layers");
  std::sort(layers.begin(), layers.end());
  const int64_t n_layers = point.model->config.n_layers;
  if (layers.empty()) return;
  if (layers.back() >= n_layers) {
    complain("layers", "model \"" + point.model->name + "\" has layers 0 to " +
                           std::to_string(n_layers - 1) + ", found " +
                           std::to_string(layers.back()));
  } else if (layers.back() - layers.front() + 1 != static_cast<int64_t>(layers.size())) {
    complain("layers", "expected consecutive layers; for all between, write every one of " +
                           std::to_string(layers.front()) + " to " + std::to_string(layers.back()));
  }
}

void check(const Point& point, const Complain& complain) {
  check_objective(point, complain);
  check_masks(point, complain);
  check_path(point, complain);
  check_layers(point, complain);
}

int64_t count(const Point& point) {
  const Loops n = loops(point);
  return n.n_blocks * n.n_probs * n.n_draws * n.n_path_blocks;
}

Shard shard(const Point& point, int64_t i) {
  const Loops n = loops(point);
  const Integers at = unravel(i, {n.n_blocks, n.n_probs, n.n_draws, n.n_path_blocks});
  Shard shard = blank_shard(point, computation());
  shard.params = to_fields(params_at(point, at[1], at[2], at[3]));
  shard.seed = masked(point) || stochastic(point) ? point.seed : 0;
  shard.rows =
      block_rows(*point.dataset, at[0], kBlockRows, masked(point) ? Ask::kSpan : Ask::kLabels);
  return shard;
}

}  // namespace

bool masked(const Point& point) { return point.dataset->objective == Objective::kMasked; }

Loops loops(const Point& point) {
  Loops loops{.n_blocks = n_blocks(point.dataset->rows.size(), kBlockRows)};
  if (masked(point)) {
    loops.n_probs = static_cast<int64_t>(get<Numbers>(point.values, "mask_probs").size());
    loops.n_draws = get<int64_t>(point.values, "mask_samples");
  }
  if (stochastic(point)) {
    loops.n_path_blocks =
        get<int64_t>(point.values, "path_samples") / get<int64_t>(point.values, "path_block");
  }
  return loops;
}

Params params_at(const Point& point, int64_t prob, int64_t draw, int64_t path_block) {
  const models::Config& config = point.model->config;
  Params params{
      .n_layers = config.n_layers, .n_heads = config.n_heads, .layer_last = config.n_layers - 1};
  if (const auto layers = get_or<Integers>(point.values, "layers", {}); !layers.empty()) {
    params.layer_first = *std::min_element(layers.begin(), layers.end());
    params.layer_last = *std::max_element(layers.begin(), layers.end());
  }
  params.sum = get<std::string>(point.values, "loss_normalize") == "sum";
  params.baseline = get<double>(point.values, "baseline");
  if (masked(point)) {
    params.mask_prob = get<Numbers>(point.values, "mask_probs")[static_cast<size_t>(prob)];
    params.draw = draw;
    params.mask_id = config.mask_id;
  }
  if (stochastic(point)) {
    params.path_mode = PathMode::kStochasticThreshold;
    params.path_block = params.path_count = get<int64_t>(point.values, "path_block");
    params.path_first = path_block * params.path_block;
    if (get<std::string>(point.values, "threshold_sampling") == "iid")
      params.threshold_sampling = ThresholdSampling::kIid;
    if (point.values.count("ramp_width") > 0)
      params.ramp_width = get<double>(point.values, "ramp_width");
  }
  params.quadrature = rule_of(point);
  params.ig_steps = ig_steps(point);
  if (adaptive(point)) {
    params.tol = get<double>(point.values, "tol");
    params.tol_floor = get<double>(point.values, "tol_floor");
    params.max_evaluations = get<int64_t>(point.values, "max_evaluations");
  }
  return params;
}

const Kind& the_kind() {
  static const Kind kind{.name = "head_importance",
                         .computation = computation(),
                         .params = params(),
                         .gives = Output::kHeadScores,
                         .value =
                             "integrated gradients of J = -loss (nats) over head gates; "
                             "positive = the head raises the log-likelihood",
                         .picture = Picture::kHeadMap,
                         .check = check,
                         .count = count,
                         .shard = shard,
                         .aggregate = aggregate};
  return kind;
}

}  // namespace headcount::experiments::head_importance
