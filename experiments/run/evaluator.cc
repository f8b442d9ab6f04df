#include "experiments/run/evaluator.h"

#include <algorithm>

namespace headcount::experiments {

void evaluate(const Integration& integration, const ScoreFunction& score,
              const std::vector<Job>& jobs, bool with_gradient, const Sink& sink,
              const std::function<void(size_t)>& done) {
  const auto size = static_cast<size_t>(integration.micro_batch);
  const auto n_gates = static_cast<size_t>(integration.n_gates);
  for (size_t first = 0; first < jobs.size(); first += size) {
    const size_t last = std::min(first + size, jobs.size());
    std::vector<int64_t> rows;
    std::vector<double> gates((last - first) * n_gates);
    for (size_t i = first; i < last; ++i) {
      rows.push_back(static_cast<int64_t>(jobs[i].row));
      gates_at(integration.paths[jobs[i].row][jobs[i].path], jobs[i].t,
               std::span(gates).subspan((i - first) * n_gates, n_gates));
    }
    const Scored scored = score({.row = rows, .gates = gates}, with_gradient);
    for (size_t i = first; i < last; ++i) {
      std::span<const double> gradient;
      if (with_gradient)
        gradient = std::span(scored.gradient).subspan((i - first) * n_gates, n_gates);
      sink(i, scored.score[i - first], gradient);
    }
    done(last);
  }
}

}  // namespace headcount::experiments
