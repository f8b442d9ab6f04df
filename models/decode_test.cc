// Decoding with kept keys and values gives what the whole sequence gives.
#include "models/decode.h"

#include <gtest/gtest.h>

#include "models/random_config.h"
#include "models/test_models.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

/// Logits behind every position of `ids`, by one pass over all of them.
at::Tensor at_once(const Model& model, const std::vector<int32_t>& ids, const at::Tensor& gates) {
  std::vector<std::pair<int64_t, int64_t>> every;
  for (size_t i = 0; i < ids.size(); ++i) every.emplace_back(i, 0);
  return logits(model, one_sequence({ids.begin(), ids.end()}, every),
                gates.defined() ? gates.unsqueeze(0) : gates);
}

class Decoding : public testing::TestWithParam<uint64_t> {};

TEST_P(Decoding, InPiecesGivesTheLogitsOfTheWholeSequence) {
  Config config = random_config(GetParam());
  config.causal = true;
  config.shifted = false;
  config.n_time_steps = 0;
  config.mask_id = -1;
  config.window = GetParam() % 2 == 0 ? 5 : 0;
  const std::vector<int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3};
  for (const auto& [dtype, limit] : {std::pair{at::kDouble, 1e-10}, std::pair{at::kFloat, 1e-3}}) {
    const Model model = tiny_model(config, dtype, 8);
    for (const at::Tensor& gates : {at::Tensor(), some_gates(config, 1)[0]}) {
      const at::Tensor whole = at_once(model, ids, gates);
      KvCache cache = make_cache(model, 20);
      size_t done = 0;
      for (const size_t piece : {4, 1, 1, 7, 1, 4}) {
        const auto first = ids.begin() + static_cast<int64_t>(done);
        const at::Tensor found =
            extend(model, cache, {first, first + static_cast<int64_t>(piece)}, gates);
        done += piece;
        EXPECT_LE(max_difference(found, whole[static_cast<int64_t>(done) - 1]), limit);
      }
      EXPECT_EQ(cache.length, static_cast<int64_t>(ids.size()));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Random, Decoding, testing::Range<uint64_t>(0, 16));

TEST(Decoding, BeyondTheCacheOrTheModelIsRefused) {
  Config config = tiny_config();
  config.causal = true;
  config.mask_id = -1;
  config.max_positions = 6;
  const Model model = tiny_model(config, at::kFloat);
  KvCache small = make_cache(model, 4), large = make_cache(model, 10);
  extend(model, small, {1, 2, 3});
  EXPECT_THROW(extend(model, small, {4, 5}), Error);
  EXPECT_EQ(small.length, 3);
  EXPECT_NO_THROW(extend(model, small, {4}));
  EXPECT_THROW(extend(model, large, {1, 2, 3, 4, 5, 6, 7}), Error);
  config.causal = false;
  EXPECT_THROW(make_cache(tiny_model(config, at::kFloat), 4), Error);
}

}  // namespace
}  // namespace headcount::models
