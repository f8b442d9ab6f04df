#include "models/likelihood.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::models {
namespace {

constexpr uint32_t kSizes = 0x80000000;  // draws from here on are rounds' sizes, below masks

/// One sequence to compute: the weighted log-probability of its targets is one of the stretch's
/// values.
struct Task {
  size_t stretch = 0;
  Example example;
};

int64_t below(int64_t n, uint64_t seed, uint64_t sequence, uint32_t draw, uint32_t element) {
  const double u = random_uniform(seed, Purpose::kLikelihood, sequence, draw, element);
  return std::min(n - 1, static_cast<int64_t>(u * static_cast<double>(n)));
}

int64_t round_size(const LikelihoodOptions& o) { return std::min(o.stratum, o.mc_samples); }

int64_t n_masks(const LikelihoodOptions& o, int64_t n) {
  if (n == 1) return 1;
  const int64_t size = round_size(o);
  return (o.mc_samples + size - 1) / size * size;
}

Example continued(const Stretch& s) {
  Example example{.ids = {s.ids.begin(), s.ids.begin() + s.end - 1}, .position = {}, .target = {}};
  for (int64_t i = s.begin; i < s.end; ++i) {
    example.position.push_back(static_cast<int32_t>(i - 1));
    example.target.push_back(s.ids[static_cast<size_t>(i)]);
  }
  return example;
}

Example masked(const Stretch& s, const LikelihoodOptions& o, int64_t sample, int64_t mask_id) {
  const int64_t n = s.end - s.begin;
  Example example{.ids = s.ids, .position = {}, .target = {}};
  for (const int64_t i : covered(o, s.sequence, sample, n)) {
    int32_t& id = example.ids[static_cast<size_t>(s.begin + i)];
    example.position.push_back(static_cast<int32_t>(s.begin + i));
    example.target.push_back(id);
    id = static_cast<int32_t>(mask_id);
  }
  example.weight = static_cast<double>(n) / static_cast<double>(example.position.size());
  return example;
}

/// The weighted log-probability of each task.
std::vector<double> values_of(const Model& model, const std::vector<Task>& tasks,
                              const LikelihoodOptions& options) {
  const at::Tensor gates =
      options.gates ? options.gates(static_cast<int64_t>(tasks.size())) : at::Tensor();
  std::vector<const Example*> examples;
  for (const Task& task : tasks) examples.push_back(&task.example);
  const at::Tensor log_probs =
      target_log_probs(model, make_batch(examples, model), gates).contiguous();
  const double* next = log_probs.data_ptr<double>();
  std::vector<double> values;
  for (const Example* example : examples) {
    double sum = 0;
    for (size_t i = 0; i < example->position.size(); ++i) sum += *next++;
    values.push_back(example->weight * sum);
  }
  return values;
}

void check(const Model& model, const Stretch& s, const LikelihoodOptions& o) {
  const auto size = static_cast<int64_t>(s.ids.size());
  const int64_t first = model.config.causal ? 1 : 0;
  if (s.begin < first || s.end <= s.begin || s.end > size)
    throw Error("the likelihood of tokens " + std::to_string(s.begin) + " to " +
                std::to_string(s.end) + " of a text of " + std::to_string(size) +
                " tokens cannot be asked of this model");
  if (o.mc_samples < 1 || o.stratum < 1) throw Error("a likelihood bound needs at least one mask");
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// The standard error of the mean of `values`; 0 of one value.
double standard_error(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = mean_of(values), n = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (n - 1) / n);
}

Likelihood summary(const std::vector<double>& values, size_t round) {
  std::vector<double> rounds;
  for (size_t first = 0; first + round <= values.size(); first += round)
    rounds.push_back(mean_of({values.begin() + static_cast<std::ptrdiff_t>(first),
                              values.begin() + static_cast<std::ptrdiff_t>(first + round)}));
  return {.log_likelihood = mean_of(values),
          .standard_error = standard_error(rounds.size() > 1 ? rounds : values),
          .n_passes = static_cast<int64_t>(values.size())};
}

}  // namespace

std::vector<int64_t> covered(const LikelihoodOptions& o, uint64_t sequence, int64_t sample,
                             int64_t n) {
  const int64_t size = round_size(o), r = sample % size;
  const auto draw = static_cast<uint32_t>(sample);
  const int64_t k = below(n, o.seed, sequence, kSizes + static_cast<uint32_t>(sample / size), 0);
  const int64_t x = (k + (2 * r * n + size) / (2 * size)) % n + 1;
  std::vector<int64_t> order(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i;
  for (int64_t i = 0; i < x; ++i) {
    const int64_t j = i + below(n - i, o.seed, sequence, draw, static_cast<uint32_t>(i));
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(j)]);
  }
  order.resize(static_cast<size_t>(x));
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<Likelihood> log_likelihoods(const Model& model, const std::vector<Stretch>& stretches,
                                        const LikelihoodOptions& options) {
  const at::NoGradGuard no_grad;
  const Config& config = model.config;
  if (!config.causal && !config.masked())
    throw Error("a likelihood needs a causal or a masked model");
  std::vector<std::vector<double>> values(stretches.size());
  std::vector<Task> tasks;
  size_t done = 0;
  const auto compute = [&] {
    if (tasks.empty()) return;
    const std::vector<double> found = values_of(model, tasks, options);
    for (size_t i = 0; i < tasks.size(); ++i) values[tasks[i].stretch].push_back(found[i]);
    tasks.clear();
    if (options.progress)
      options.progress(static_cast<double>(done) / static_cast<double>(stretches.size()));
  };
  for (size_t i = 0; i < stretches.size(); ++i) {
    const Stretch& s = stretches[i];
    check(model, s, options);
    const int64_t n = config.causal ? 1 : n_masks(options, s.end - s.begin);
    for (int64_t sample = 0; sample < n; ++sample) {
      tasks.push_back(
          {i, config.causal ? continued(s) : masked(s, options, sample, config.mask_id)});
      if (static_cast<int64_t>(tasks.size()) >= options.micro_batch) compute();
    }
    done = i + 1;
  }
  compute();
  std::vector<Likelihood> all;
  for (const std::vector<double>& of_stretch : values)
    all.push_back(summary(of_stretch, static_cast<size_t>(round_size(options))));
  return all;
}

}  // namespace headcount::models
