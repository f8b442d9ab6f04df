// Outputs of a model's own published code, kept beside its weights (golden.json), and how far this
// program's lie from them: `headcount model verify`.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"

namespace headcount::models {

/// Some logits of one sequence: values[i, j] is that of row rows[i] and token columns[j]; no
/// columns: of every token.
struct GoldenLogits {
  std::vector<int64_t> rows, columns;
  std::vector<double> values;  // row-major
};

/// One sequence, run alone with all gates one.
struct GoldenSequence {
  std::string name;
  std::vector<int64_t> ids;
  int64_t time = -1;                                    // noise level; -1: the model has none
  std::vector<std::pair<int64_t, int64_t>> supervised;  // logit row, token it is scored on; or none
  double mean_nll = 0;
  std::vector<GoldenLogits> logits;
  std::vector<int64_t> argmax;       // of every row, or empty
  double mean = 0, mean_square = 0;  // of all its logits, where argmax is there
  bool is_float32 = false;           // what the published code gave in float32
};

/// J = -mean NLL of one sequence at given head gates, and its derivative in each.
struct GoldenGates {
  std::string name;  // "ones", "half", "nonuniform"
  size_t sequence = 0;
  std::vector<double> gates, gradient;  // [n_layers, n_heads]
  double score = 0;
};

/// The integral over t in [0, 1] of dJ/dgate where all gates are t, [n_layers, n_heads].
struct GoldenPath {
  size_t sequence = 0;
  std::vector<double> gauss_legendre;             // by 64 points
  std::vector<double> composite;                  // by 64 panels of 8 points; empty: not compared
  double score_zero = 0, score_one = 0, sum = 0;  // J at both ends; the sum of gauss_legendre
};

struct Golden {
  std::string file;
  std::vector<GoldenSequence> sequences;
  int64_t n_layers = 0, n_heads = 0;  // of the gates
  std::vector<GoldenGates> gates;
  std::vector<GoldenPath> paths;
  double coarsest = 0;  // no tolerance is finer than this: digits the file was computed to

  /// What a golden may hold and this one does not.
  std::vector<std::string> lacks() const;
};

/// Reads a golden.json, or tinydiff's golden_masked_ce.json, whose ids are those of `text`, a file
/// (empty: lm_text/tinyshakespeare.txt in the nearest folder above `file` that has one). Throws
/// Error in one sentence naming the file and the key for anything absent or misshapen.
Golden read_golden(const std::string& file, const std::string& text = {});

/// A quadrature rule on [0, 1].
struct PathRule {
  std::vector<double> nodes, weights;
};

/// What the comparison asks of a dtype. float64 and float32: what the goldens recommend, some ten
/// times the difference between two runs of the published code. bfloat16 and float16: some two
/// times the largest difference this program had over the twelve goldens (2-3 layers), which is
/// below what a structural error costs (2 to 13 in a logit) but not below what a wrong epsilon
/// does.
struct Tolerances {
  double logits, score, gradient, path;
};
Tolerances tolerances(at::ScalarType dtype);

/// The largest difference of one quantity over all sequences and gates.
struct Difference {
  std::string quantity;
  double largest = 0, tolerance = 0;
  std::string where;                                   // sequence of the largest
  bool holds() const { return largest <= tolerance; }  // false for NaN
};

/// Which code computes: the fast path, or the plain transformer of transformer.h and autograd.
enum class Path { kFast, kPlain };

/// Compares every quantity of `golden`; paths with `panel` (8 points) on 64 panels and with `whole`
/// (64 points). Logits are compared unshifted, losses and gates as the model's family shifts them.
/// Throws Error when the golden is of another shape of model.
std::vector<Difference> compare(const Model& model, const Golden& golden, const PathRule& whole,
                                const PathRule& panel, Path path);

}  // namespace headcount::models
