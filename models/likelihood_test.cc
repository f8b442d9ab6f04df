// The Monte Carlo bound against the sum over every mask; one token exactly; causal against the
// logits.
#include "models/likelihood.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "models/test_models.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

Config config_of(bool causal, bool shifted) {
  Config c = tiny_config();
  c.causal = causal;
  c.shifted = shifted;
  if (causal) c.mask_id = -1;
  return c;
}

Model model_of(bool causal, bool shifted = false) {
  return tiny_model(config_of(causal, shifted), at::kDouble, 3);
}

const Stretch kStretch{
    .ids = {3, 1, 4, 1, 5, 9, 2, 6, 5}, .begin = 3, .end = 8, .sequence = 12};  // 5 tokens

/// Sum over set bits of `mask` of the log-probability of that token, those bits masked.
double masked_log_prob(const Model& model, const Stretch& s, unsigned mask) {
  std::vector<int64_t> ids(s.ids.begin(), s.ids.end());
  std::vector<std::pair<int64_t, int64_t>> asked;
  for (int64_t i = 0; i < s.end - s.begin; ++i) {
    if ((mask >> i & 1) == 0) continue;
    const auto at = static_cast<size_t>(s.begin + i);
    asked.emplace_back(s.begin + i, s.ids[at]);
    ids[at] = model.config.mask_id;
  }
  return target_log_probs(model, one_sequence(ids, asked), {}).sum().item<double>();
}

/// The any-order bound, by all masks of all sizes.
double bound(const Model& model, const Stretch& s) {
  const int64_t n = s.end - s.begin;
  std::vector<double> sum(static_cast<size_t>(n) + 1), count(static_cast<size_t>(n) + 1);
  for (unsigned mask = 1; mask < 1u << n; ++mask) {
    const auto x = static_cast<size_t>(__builtin_popcount(mask));
    sum[x] += masked_log_prob(model, s, mask);
    ++count[x];
  }
  double total = 0;
  for (size_t x = 1; x <= static_cast<size_t>(n); ++x)
    total += sum[x] / count[x] / static_cast<double>(x);  // (1 / n) * (n / x) * mean
  return total;
}

TEST(Likelihood, TheEstimateIsTheAnyOrderBoundWithinItsError) {
  for (const bool shifted : {false, true}) {
    const Model model = model_of(false, shifted);
    const double exact = bound(model, kStretch);
    for (const int64_t stratum : {1, 4, 32}) {
      const Likelihood found =
          log_likelihoods(model, {kStretch},
                          {.mc_samples = 4096, .stratum = stratum, .seed = 3, .micro_batch = 256})
              .front();
      EXPECT_EQ(found.n_passes, 4096);
      EXPECT_GT(found.standard_error, 0);
      EXPECT_LT(found.standard_error, std::abs(exact) / 20);
      EXPECT_NEAR(found.log_likelihood, exact, 4 * found.standard_error) << stratum << shifted;
    }
  }
}

TEST(Likelihood, MasksAreUniformInSizeAndInPlace) {
  const int64_t n = 6, n_draws = 60000;
  for (const int64_t stratum : {4, 5, 32}) {
    std::vector<double> size(n + 1), place(n);
    for (int64_t i = 0; i < n_draws; ++i) {
      const auto mask = covered({.mc_samples = n_draws, .stratum = stratum, .seed = 8}, 2, i, n);
      ++size[mask.size()];
      if (mask.size() == 2) {
        for (const int64_t at : mask) ++place[static_cast<size_t>(at)];
      }
    }
    EXPECT_EQ(size[0], 0);
    for (size_t x = 1; x <= n; ++x) EXPECT_NEAR(size[x], 10000, 700) << stratum << " " << x;
    for (size_t at = 0; at < n; ++at) EXPECT_NEAR(place[at], size[2] / 3, 300) << stratum;
  }
}

TEST(Likelihood, ARoundsSizesAreSpreadOverAllOfThem) {
  std::multiset<size_t> sizes;
  for (int64_t i = 0; i < 10; ++i)
    sizes.insert(covered({.mc_samples = 10, .stratum = 10, .seed = 1}, 7, i, 5).size());
  EXPECT_EQ(sizes, (std::multiset<size_t>{1, 1, 2, 2, 3, 3, 4, 4, 5, 5}));
}

TEST(Likelihood, OneTokenIsExactInOnePass) {
  for (const bool shifted : {false, true}) {
    const Model model = model_of(false, shifted);
    Stretch one = kStretch;
    one.end = one.begin + 1;
    const Likelihood found = log_likelihoods(model, {one}, {}).front();
    EXPECT_EQ(found.n_passes, 1);
    EXPECT_EQ(found.standard_error, 0);
    EXPECT_NEAR(found.log_likelihood, masked_log_prob(model, one, 1), 1e-12);
  }
}

TEST(Likelihood, OfACausalModelIsTheSumOverItsTokens) {
  const Model model = model_of(true);
  const std::vector<int64_t> ids(kStretch.ids.begin(), kStretch.ids.end());
  std::vector<std::pair<int64_t, int64_t>> asked;
  for (int64_t i = kStretch.begin; i < kStretch.end; ++i)
    asked.emplace_back(i - 1, ids[static_cast<size_t>(i)]);
  const Likelihood found = log_likelihoods(model, {kStretch}, {}).front();
  EXPECT_NEAR(found.log_likelihood,
              target_log_probs(model, one_sequence(ids, asked), {}).sum().item<double>(), 1e-12);
  EXPECT_EQ(found.standard_error, 0);
  EXPECT_EQ(found.n_passes, 1);
}

TEST(Likelihood, DoesNotDependOnWhatIsComputedBeside) {
  const Stretch other{.ids = {7, 7, 2, 30, 11}, .begin = 2, .end = 5, .sequence = 13};
  const auto gates = [](const Model& model) {
    return [&model](int64_t n) {
      return some_gates(model.config, 1).expand({n, model.config.n_layers, model.config.n_heads});
    };
  };
  for (const bool causal : {false, true}) {
    const Model model = model_of(causal);
    const LikelihoodOptions options{
        .mc_samples = 24, .stratum = 8, .seed = 4, .micro_batch = 7, .gates = gates(model)};
    LikelihoodOptions single = options;
    single.micro_batch = 1;
    const std::vector<Likelihood> both = log_likelihoods(model, {kStretch, other}, options);
    EXPECT_NEAR(both[0].log_likelihood,
                log_likelihoods(model, {kStretch}, single)[0].log_likelihood, 1e-10);
    const Likelihood alone = log_likelihoods(model, {other}, single)[0];
    EXPECT_NEAR(both[1].log_likelihood, alone.log_likelihood, 1e-10);
    EXPECT_NEAR(both[1].standard_error, alone.standard_error, 1e-10);
    single.gates = {};
    EXPECT_GT(
        std::abs(log_likelihoods(model, {other}, single)[0].log_likelihood - alone.log_likelihood),
        1e-6)
        << "the gates are without effect";
  }
}

TEST(Likelihood, OfNothingOrOutsideTheTextIsRefused) {
  const Model masked = model_of(false), causal = model_of(true);
  EXPECT_THROW(log_likelihoods(masked, {{.ids = {1, 2}, .begin = 1, .end = 1}}, {}), Error);
  EXPECT_THROW(log_likelihoods(masked, {{.ids = {1, 2}, .begin = 1, .end = 3}}, {}), Error);
  EXPECT_THROW(log_likelihoods(causal, {{.ids = {1, 2}, .begin = 0, .end = 1}}, {}), Error);
  EXPECT_NO_THROW(log_likelihoods(masked, {{.ids = {1, 2}, .begin = 0, .end = 1}}, {}));
  EXPECT_THROW(log_likelihoods(masked, {kStretch}, {.mc_samples = 0}), Error);
}

}  // namespace
}  // namespace headcount::models
