// Laws every family must obey, on models of shapes nobody published: heads have no names, padding
// and caching change nothing, what is cut off is worth exactly nothing, and the fast path on what
// the readers found is the plain transformer on what was written.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>

#include "models/decode.h"
#include "models/published_test.h"
#include "models/transformer.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr double kExact = 1e-10;  // relative, in float64

/// The largest difference over the largest number.
double relative(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor wide = b.to(at::kDouble);
  return ((a.to(at::kDouble) - wide).abs().max() / wide.abs().max()).item<double>();
}

at::Tensor whole_numbers(const std::vector<int64_t>& values) {
  return at::tensor(values, at::kLong);
}

/// Three sequences of 9, 31 and 17 positions, each supervised at a few.
Batch ragged_batch(const Config& c) {
  const at::Tensor ids = (at::arange(93, at::kLong) * 31 % c.vocab_size).reshape({3, 31});
  return {.ids = ids,
          .lengths = whole_numbers({9, 31, 17}),
          .sample = whole_numbers({0, 1, 1, 1, 1, 2, 2}),
          .position = whole_numbers({8, 0, 4, 20, 30, 5, 16}),
          .target = whole_numbers({3, 0, 5, 20, 30, 5, 16}),
          .weight = at::tensor(std::vector<double>{1, .1, .2, .4, .3, 1, .5}, at::kDouble)};
}

/// Row `b` of the batch on its own, without padding.
Batch row_of(const Batch& batch, int64_t b) {
  const at::Tensor own = batch.sample.eq(b).nonzero().squeeze(1);
  const auto pick = [&](const at::Tensor& t) { return t.index_select(0, own); };
  return {.ids = batch.ids[b].narrow(0, 0, batch.lengths[b].item<int64_t>()).unsqueeze(0),
          .lengths = {},
          .sample = at::zeros({own.size(0)}, at::kLong),
          .position = pick(batch.position),
          .target = pick(batch.target),
          .weight = pick(batch.weight)};
}

at::Tensor some_gates(const Config& c, int64_t n_samples) {
  return (at::arange(n_samples * c.n_layers * c.n_heads, at::kDouble) * 0.37)
      .frac()
      .reshape({n_samples, c.n_layers, c.n_heads});
}

/// Four nodes of the path from all gates zero to all one: [B, n_layers, n_heads].
at::Tensor importance(const Model& model, const Batch& batch) {
  const Config& c = model.config;
  at::Tensor sum = at::zeros({batch.ids.size(0), c.n_layers, c.n_heads}, at::kDouble);
  for (const double t : {0.125, 0.375, 0.625, 0.875})
    sum = sum + gate_gradient(model, batch, at::full_like(sum, t)).grad / 4;
  return sum;
}

using Tensors = std::vector<at::Tensor>;

/// `change` for each layer's weights by their names in it ("q", "o_bias").
void for_layers(const Config& c, Tensors& weights,
                const std::function<void(std::map<std::string, at::Tensor*>&)>& change) {
  const std::vector<WeightShape> shapes = weight_shapes(c);
  std::map<std::string, std::map<std::string, at::Tensor*>> layers;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const size_t dot = shapes[i].name.rfind('.');
    if (dot == std::string::npos) continue;
    layers[shapes[i].name.substr(0, dot)][shapes[i].name.substr(dot + 1)] = &weights[i];
  }
  for (auto& [name, parts] : layers) change(parts);
}

/// Rows (dim 0) or columns (dim 1) of d_head each, in the order `from`.
at::Tensor heads_in_order(const Config& c, const at::Tensor& t, int64_t dim,
                          const std::vector<int64_t>& from) {
  return t.unflatten(dim, at::IntArrayRef({-1, c.d_head}))
      .index_select(dim, whole_numbers(from))
      .flatten(dim, dim + 1);
}

/// Puts query heads in the order `queries` and key/value heads in the order `keys`.
void reorder(const Config& c, Tensors& weights, const std::vector<int64_t>& queries,
             const std::vector<int64_t>& keys) {
  for_layers(c, weights, [&](auto& part) {
    const auto rows = [&](const char* name, const std::vector<int64_t>& from) {
      for (const char* suffix : {"", "_bias"}) {
        if (const auto at = part.find(name + std::string(suffix)); at != part.end())
          *at->second = heads_in_order(c, *at->second, 0, from);
      }
    };
    rows("q", queries);
    rows("k", keys);
    rows("v", keys);
    *part.at("o") = heads_in_order(c, *part.at("o"), 1, queries);
  });
}

class Laws : public testing::TestWithParam<std::string> {
 protected:
  static constexpr uint64_t kSeeds = 6;
  const std::string folder_ = testing::TempDir() + "laws_" + std::to_string(getpid());
  ~Laws() override { std::filesystem::remove_all(folder_); }

  Config config(uint64_t seed) const { return family_config(GetParam(), seed); }
};

TEST_P(Laws, TheFastPathOnWhatWasReadIsThePlainTransformerOnWhatWasWritten) {
  for (uint64_t seed = 0; seed < 2 * kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const Config c = config(seed);
    const Tensors weights = random_weights(c, seed);
    publish(c, weights, folder_);
    const ModelFiles files = open_model(folder_);
    const Batch batch = ragged_batch(c);
    const at::Tensor gates = some_gates(c, 3);
    const Model written = make_model(c, weights);
    const at::Tensor variable = gates.clone().requires_grad_(true);
    const at::Tensor score = forward_score(written, batch, variable);
    score.sum().backward();
    const at::Tensor rows = forward_logits(written, batch, gates);
    EXPECT_GT(variable.grad().abs().max().item<double>(), 1e-4);
    for (const auto& [dtype, limit] : {std::pair{at::kDouble, kExact}, {at::kFloat, 1e-3}}) {
      const Model read = load(files, dtype, at::kCPU);
      EXPECT_LE(relative(logits(read, batch, gates), rows), limit);
      const GateGradient found = gate_gradient(read, batch, gates);
      EXPECT_LE(relative(found.score, score.detach()), limit);
      EXPECT_LE(relative(found.grad, variable.grad()), limit);
    }
  }
}

TEST_P(Laws, HeadsInAnotherOrderHaveTheSameImportanceInThatOrder) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const Config c = config(seed);
    Tensors weights = random_weights(c, seed);
    const Batch batch = ragged_batch(c);
    const at::Tensor before = importance(make_model(c, weights), batch);
    // Groups turned around, and inside each its heads shifted by one.
    const int64_t group = c.n_heads / c.n_kv_heads;
    std::vector<int64_t> queries, keys;
    for (int64_t k = c.n_kv_heads - 1; k >= 0; --k) {
      keys.push_back(k);
      for (int64_t h = 0; h < group; ++h) queries.push_back(k * group + (h + 1) % group);
    }
    reorder(c, weights, queries, keys);
    const at::Tensor after = importance(make_model(c, weights), batch);
    EXPECT_LE(relative(after, before.index_select(2, whole_numbers(queries))), kExact);
  }
}

TEST_P(Laws, ACopiedHeadHasItsTwinsImportance) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const Config c = config(seed);
    if (c.n_heads == 1) continue;
    Tensors weights = random_weights(c, seed);
    // Head 1 becomes head 0, and its key/value head the first one.
    std::vector<int64_t> queries, keys;
    for (int64_t h = 0; h < c.n_heads; ++h) queries.push_back(h == 1 ? 0 : h);
    for (int64_t k = 0; k < c.n_kv_heads; ++k)
      keys.push_back(k == c.n_kv_heads / c.n_heads ? 0 : k);
    reorder(c, weights, queries, keys);
    const at::Tensor found = importance(make_model(c, weights), ragged_batch(c));
    EXPECT_GT(found.abs().max().item<double>(), 0);
    EXPECT_LE(relative(found.select(2, 1), found.select(2, 0)), kExact);
  }
}

TEST_P(Laws, AHeadWithoutOutputColumnsHasExactlyNoImportance) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const Config c = config(seed);
    Tensors weights = random_weights(c, seed);
    const int64_t head = static_cast<int64_t>(seed) % c.n_heads;
    for_layers(c, weights,
               [&](auto& part) { part.at("o")->narrow(1, head * c.d_head, c.d_head).zero_(); });
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
      Tensors narrow;
      for (const at::Tensor& weight : weights) narrow.push_back(weight.to(dtype));
      const at::Tensor found = importance(make_model(c, narrow), ragged_batch(c));
      EXPECT_EQ(found.select(2, head).abs().max().item<double>(), 0);
      EXPECT_EQ(found.abs().max().item<double>() > 0, c.n_heads > 1);
    }
  }
}

TEST_P(Laws, APaddedBatchIsItsRowsOneByOne) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const Config c = config(seed);
    const Model model = make_model(c, random_weights(c, seed));
    const Batch batch = ragged_batch(c);
    const at::Tensor gates = some_gates(c, 3);
    const GateGradient together = gate_gradient(model, batch, gates);
    const at::Tensor rows = logits(model, batch, gates);
    for (int64_t b = 0; b < 3; ++b) {
      const Batch row = row_of(batch, b);
      const at::Tensor own = gates.narrow(0, b, 1);
      const GateGradient alone = gate_gradient(model, row, own);
      EXPECT_LE(relative(together.score.narrow(0, b, 1), alone.score), kExact);
      EXPECT_LE(relative(together.grad.narrow(0, b, 1), alone.grad), kExact);
      EXPECT_LE(relative(rows.index_select(0, batch.sample.eq(b).nonzero().squeeze(1)),
                         logits(model, row, own)),
                kExact);
    }
  }
}

TEST_P(Laws, ASequenceReadInPiecesWithKeptKeysIsTheWholeOne) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const Config c = config(seed);
    const Model model = make_model(c, random_weights(c, seed));
    if (!c.causal) {
      EXPECT_THROW(make_cache(model, 31), Error);
      continue;
    }
    const Batch batch = row_of(ragged_batch(c), 1);
    const at::Tensor gates = some_gates(c, 1);
    Batch last = batch;
    last.position = whole_numbers({30});
    last.sample = last.target = whole_numbers({0});
    const at::Tensor whole = logits(model, last, gates);
    KvCache cache = make_cache(model, 31);
    at::Tensor found;
    for (const int64_t end : {13, 14, 15, 30, 31}) {
      std::vector<int32_t> ids;
      for (int64_t t = cache.length; t < end; ++t)
        ids.push_back(static_cast<int32_t>(batch.ids[0][t].item<int64_t>()));
      found = extend(model, cache, ids, gates[0]);
    }
    EXPECT_LE(relative(found, whole[0]), kExact);
  }
}

TEST_P(Laws, AShardedCheckpointIsTheSingleFileBitByBit) {
  const Config c = config(3);
  const Tensors weights = random_weights(c, 3);
  publish(c, weights, folder_ + "/single");
  publish(c, weights, folder_ + "/sharded", 3);
  const Batch batch = ragged_batch(c);
  const at::Tensor gates = some_gates(c, 3);
  for (const at::ScalarType dtype : {at::kDouble, at::kBFloat16}) {
    const Model single = load(open_model(folder_ + "/single"), dtype, at::kCPU),
                sharded = load(open_model(folder_ + "/sharded"), dtype, at::kCPU);
    EXPECT_TRUE(logits(single, batch, gates).equal(logits(sharded, batch, gates)));
    EXPECT_TRUE(
        gate_gradient(single, batch, gates).grad.equal(gate_gradient(sharded, batch, gates).grad));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Laws, testing::ValuesIn(published_families()),
                         [](const auto& given) { return given.param; });

}  // namespace
}  // namespace headcount::models
