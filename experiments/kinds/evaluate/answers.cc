#include "experiments/kinds/evaluate/answers.h"

#include <algorithm>

namespace headcount::experiments::evaluate {
namespace {

/// Adds what shard row `i` says of dataset row `row`.
void add(Answer& answer, const Result& result, size_t i, const Row& row, Question question,
         bool mean_choices) {
  switch (question) {
    case Question::kMaskedCe:
    case Question::kNextToken: {
      const double nll = array(result, "nll").data[i], tokens = array(result, "tokens").data[i];
      answer.nll += nll;
      answer.tokens += tokens;
      answer.loss += nll / tokens;
      break;
    }
    case Question::kExactMatch:
      answer.match = array(result, "match").data[i];
      break;
    case Question::kChoices: {
      const NamedArray& scores = array(result, "log_prob");
      const auto width = static_cast<size_t>(scores.shape.at(1));
      double best = 0;
      for (size_t k = 0; k < row.choices.size(); ++k) {
        double score = scores.data[i * width + k];
        if (mean_choices) score /= static_cast<double>(row.choices[k].size());
        if (answer.predicted >= 0 && score <= best) continue;
        best = score;
        answer.predicted = static_cast<int32_t>(k);
      }
      break;
    }
  }
}

}  // namespace

std::vector<std::optional<Answer>> answers(const Point& point, const Asked& asked,
                                           bool mean_choices, const BlockResult& result) {
  const auto& rows = point.dataset->rows;
  std::vector<std::optional<Answer>> found(rows.size());
  for (int64_t block = 0; block < n_blocks(point); ++block) {
    const auto first = static_cast<size_t>(block * kBlockRows);
    const size_t last = std::min(rows.size(), first + static_cast<size_t>(kBlockRows));
    std::fill(found.begin() + static_cast<ptrdiff_t>(first),
              found.begin() + static_cast<ptrdiff_t>(last), Answer{});
    for (int64_t repeat = 0; repeat < asked.n_repeats(); ++repeat) {
      const auto shard = result(block, repeat);
      for (size_t row = first; row < last; ++row) {
        if (!shard) found[row].reset();
        if (found[row])
          add(*found[row], *shard, row - first, rows[row], asked.question, mean_choices);
      }
    }
    for (size_t row = first; row < last; ++row) {
      if (found[row]) found[row]->loss /= static_cast<double>(asked.n_repeats());
    }
  }
  return found;
}

}  // namespace headcount::experiments::evaluate
