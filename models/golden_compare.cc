// Part of models/golden.h.
// Running a model on a golden's inputs.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/golden.h"
#include "models/transformer.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr int64_t kMaxCopies = 64;       // of one sequence in a batch
constexpr int64_t kMaxPositions = 8192;  // of a batch
constexpr int kPanels = 64;

at::Tensor tensor(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }
at::Tensor tensor(const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); }

/// The largest difference so far of each quantity, in the order they came.
class Ledger {
 public:
  void add(const std::string& quantity, double difference, double tolerance,
           const std::string& where) {
    if (std::isnan(difference)) difference = std::numeric_limits<double>::infinity();
    for (Difference& d : all_) {
      if (d.quantity != quantity) continue;
      if (difference > d.largest) d.largest = difference, d.where = where;
      return;
    }
    all_.push_back({quantity, difference, tolerance, where});
  }
  void add(const std::string& quantity, const at::Tensor& found, const std::vector<double>& golden,
           double tolerance, const std::string& where) {
    const at::Tensor wanted = tensor(golden).reshape(found.sizes());
    add(quantity, (found.cpu().to(at::kDouble) - wanted).abs().max().item<double>(), tolerance,
        where);
  }
  std::vector<Difference> take() { return std::move(all_); }

 private:
  std::vector<Difference> all_;
};

/// The model on one golden sequence.
class Runner {
 public:
  Runner(const Model& model, Path path) : model_(model), unshifted_(model), path_(path) {
    unshifted_.config.shifted = false;
  }

  /// [positions, vocab_size]: every row as the network gives it.
  at::Tensor raw_logits(const GoldenSequence& s) const {
    const auto n = static_cast<int64_t>(s.ids.size());
    Batch batch = inputs(s, 1);
    batch.sample = at::zeros({n}, at::kLong);
    batch.position = at::arange(n, at::kLong);
    batch.target = at::zeros({n}, at::kLong);
    batch.weight = at::ones({n}, at::kDouble);
    const at::NoGradGuard no_grad;
    return path_ == Path::kFast ? logits(unshifted_, batch, {})
                                : forward_logits(unshifted_, batch, {});
  }

  /// J and its gradients at `gates` [n, n_layers, n_heads].
  GateGradient gradients(const GoldenSequence& s, const at::Tensor& gates) const {
    const Batch batch = supervised(s, gates.size(0));
    if (path_ == Path::kFast) return gate_gradient(model_, batch, gates);
    const at::Tensor variable = gates.to(model_.weights.embedding.device()).requires_grad_(true);
    const at::Tensor found = forward_score(model_, batch, variable);
    found.sum().backward();
    return {found.detach().cpu().to(at::kDouble), variable.grad().cpu().to(at::kDouble)};
  }

  double mean_nll(const GoldenSequence& s) const {
    const at::NoGradGuard no_grad;
    const Batch batch = supervised(s, 1);
    const at::Tensor found =
        path_ == Path::kFast ? score(model_, batch, {}) : forward_score(model_, batch, {});
    return -found.item<double>();
  }

  /// [n_layers * n_heads]: sum over nodes of weight * gradient where all gates are the node.
  at::Tensor integral(const GoldenSequence& s, const PathRule& rule) const {
    const Config& c = model_.config;
    const auto n = static_cast<int64_t>(rule.nodes.size());
    const int64_t step =
        std::clamp<int64_t>(kMaxPositions / static_cast<int64_t>(s.ids.size()), 1, kMaxCopies);
    const at::Tensor nodes = tensor(rule.nodes), weights = tensor(rule.weights);
    at::Tensor sum = at::zeros({c.n_layers * c.n_heads}, at::kDouble);
    for (int64_t at = 0; at < n; at += step) {
      const int64_t count = std::min(step, n - at);
      const at::Tensor gates =
          nodes.narrow(0, at, count).reshape({count, 1, 1}).repeat({1, c.n_layers, c.n_heads});
      const at::Tensor grad = gradients(s, gates).grad.flatten(1);
      sum = sum + (grad * weights.narrow(0, at, count).unsqueeze(1)).sum(0);
    }
    return sum;
  }

 private:
  Batch inputs(const GoldenSequence& s, int64_t copies) const {
    Batch batch;
    batch.ids =
        tensor(s.ids).unsqueeze(0).repeat({copies, 1}).to(model_.weights.embedding.device());
    if (s.time >= 0) batch.time = at::full({copies}, s.time, at::kLong);
    return batch;
  }
  Batch supervised(const GoldenSequence& s, int64_t copies) const {
    std::vector<int64_t> positions, targets;
    for (const auto& [row, token] : s.supervised) {
      positions.push_back(row + (model_.config.shifted ? 1 : 0));
      targets.push_back(token);
    }
    const auto n = static_cast<int64_t>(positions.size());
    Batch batch = inputs(s, copies);
    batch.sample = at::arange(copies, at::kLong).repeat_interleave(n);
    batch.position = tensor(positions).repeat({copies});
    batch.target = tensor(targets).repeat({copies});
    batch.weight = at::full({copies * n}, 1.0 / static_cast<double>(n), at::kDouble);
    return batch;
  }

  const Model& model_;
  Model unshifted_;
  Path path_;
};

void check_sequence(const Config& c, const GoldenSequence& s, const std::string& file) {
  const std::string at = file + ": sequence " + s.name + " ";
  const std::string ask = "; is it another model's golden?";
  const auto n = static_cast<int64_t>(s.ids.size());
  if (c.max_positions > 0 && n > c.max_positions)
    throw Error(at + "has " + std::to_string(n) + " tokens, the model " +
                std::to_string(c.max_positions) + " positions" + ask);
  if (*std::max_element(s.ids.begin(), s.ids.end()) >= c.vocab_size)
    throw Error(at + "has ids beyond the model's vocabulary of " + std::to_string(c.vocab_size) +
                ask);
  if ((s.time >= 0) != (c.n_time_steps > 0) || s.time >= std::max<int64_t>(c.n_time_steps, 1))
    throw Error(at + "and the model do not agree on noise levels" + ask);
  for (const auto& [row, token] : s.supervised) {
    if (row + (c.shifted ? 1 : 0) >= n || token >= c.vocab_size)
      throw Error(at + "scores row " + std::to_string(row) + " on token " + std::to_string(token) +
                  ", which the model does not have" + ask);
  }
  for (const GoldenLogits& logits : s.logits) {
    const size_t width = logits.values.size() / std::max<size_t>(logits.rows.size(), 1);
    if (logits.columns.empty() && static_cast<int64_t>(width) != c.vocab_size)
      throw Error(at + "has " + std::to_string(width) + " logits a row, the model " +
                  std::to_string(c.vocab_size) + ask);
  }
}

void check(const Config& c, const Golden& golden) {
  for (const GoldenSequence& s : golden.sequences) check_sequence(c, s, golden.file);
  if (!golden.gates.empty() && (golden.n_layers != c.n_layers || golden.n_heads != c.n_heads))
    throw Error(golden.file + " has gates for " + std::to_string(golden.n_layers) + " layers of " +
                std::to_string(golden.n_heads) + " heads, the model has " +
                std::to_string(c.n_layers) + " of " + std::to_string(c.n_heads) +
                "; is it another model's golden?");
}

void compare_logits(const at::Tensor& rows, const GoldenSequence& s, const std::string& of,
                    double tolerance, bool exact, Ledger& ledger) {
  const at::Tensor found = rows.detach().cpu().to(at::kDouble);
  for (const GoldenLogits& golden : s.logits) {
    at::Tensor part = found.index_select(0, tensor(golden.rows));
    if (!golden.columns.empty()) part = part.index_select(1, tensor(golden.columns));
    ledger.add("logits" + of, part, golden.values, tolerance, s.name);
  }
  if (s.argmax.empty()) return;
  // No logit off by more than e: neither are their mean and their root mean square.
  ledger.add("mean of all logits", std::abs(found.mean().item<double>() - s.mean), tolerance,
             s.name);
  const double rms = std::sqrt((found * found).mean().item<double>());
  ledger.add("root mean square of all logits", std::abs(rms - std::sqrt(s.mean_square)), tolerance,
             s.name);
  const at::Tensor chosen = found.gather(1, tensor(s.argmax).unsqueeze(1)).squeeze(1);
  ledger.add("shortfall of the golden argmax", (found.amax(1) - chosen).max().item<double>(),
             exact ? 0 : 2 * tolerance, s.name);
}

PathRule panels(const PathRule& panel) {
  PathRule rule;
  for (int i = 0; i < kPanels; ++i) {
    for (size_t k = 0; k < panel.nodes.size(); ++k) {
      rule.nodes.push_back((i + panel.nodes[k]) / kPanels);
      rule.weights.push_back(panel.weights[k] / kPanels);
    }
  }
  return rule;
}

}  // namespace

Tolerances tolerances(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return {1e-10, 1e-12, 1e-10, 1e-10};
    case at::kFloat:
      return {1e-4, 2e-5, 5e-5, 2e-5};
    case at::kHalf:
      return {0.07, 0.02, 0.07, 0.02};
    default:
      return {0.55, 0.15, 0.5, 0.12};
  }
}

std::vector<Difference> compare(const Model& model, const Golden& golden, const PathRule& whole,
                                const PathRule& panel, Path path) {
  check(model.config, golden);
  const at::ScalarType dtype = model.weights.embedding.scalar_type();
  Tolerances limit = tolerances(dtype);
  for (double* value : {&limit.logits, &limit.score, &limit.gradient, &limit.path})
    *value = std::max(*value, golden.coarsest);
  const bool exact = dtype == at::kDouble || dtype == at::kFloat;
  const Runner runner(model, path);
  Ledger ledger;
  const Tolerances coarse = tolerances(at::kFloat);
  for (const GoldenSequence& s : golden.sequences) {
    const double logits = s.is_float32 ? std::max(limit.logits, coarse.logits) : limit.logits;
    const double score = s.is_float32 ? std::max(limit.score, coarse.score) : limit.score;
    const std::string of = s.is_float32 ? " in float32" : "";
    compare_logits(runner.raw_logits(s), s, of, logits, exact, ledger);
    if (s.supervised.empty()) continue;
    ledger.add("mean NLL" + of, std::abs(runner.mean_nll(s) - s.mean_nll), score, s.name);
  }
  for (const GoldenGates& g : golden.gates) {
    const GoldenSequence& s = golden.sequences[g.sequence];
    const at::Tensor gates = tensor(g.gates).reshape({1, golden.n_layers, golden.n_heads});
    const GateGradient found = runner.gradients(s, gates);
    ledger.add("J, gates " + g.name, found.score, {g.score}, limit.score, s.name);
    ledger.add("gate gradients, gates " + g.name, found.grad, g.gradient, limit.gradient, s.name);
  }
  for (const GoldenPath& p : golden.paths) {
    const GoldenSequence& s = golden.sequences[p.sequence];
    const auto n_gates = static_cast<double>(golden.n_layers * golden.n_heads);
    for (const auto& [t, score] : {std::pair(0.0, p.score_zero), std::pair(1.0, p.score_one)}) {
      const at::Tensor gates = at::full({1, golden.n_layers, golden.n_heads}, t, at::kDouble);
      ledger.add("J, ends of the path", runner.gradients(s, gates).score, {score}, limit.score,
                 s.name);
    }
    const at::Tensor integral = runner.integral(s, whole);
    ledger.add("path integral, 64 points", integral, p.gauss_legendre, limit.path, s.name);
    ledger.add("sum of the path integral", std::abs(integral.sum().item<double>() - p.sum),
               n_gates * limit.path, s.name);
    if (p.composite.empty()) continue;
    ledger.add("path integral, 64 x 8 points", runner.integral(s, panels(panel)), p.composite,
               limit.path, s.name);
  }
  return ledger.take();
}

}  // namespace headcount::models
