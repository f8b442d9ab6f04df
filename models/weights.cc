// Weights from files, from a seed, or given: the three ways a Model comes to be.
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>

#include "models/model.h"
#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::models {
namespace {

at::ScalarType scalar_type(const std::string& dtype) {
  if (dtype == "F64") return at::kDouble;
  if (dtype == "F32") return at::kFloat;
  if (dtype == "BF16") return at::kBFloat16;
  return at::kHalf;
}

at::Tensor read(const TensorPlace& place, at::ScalarType dtype, at::Device device) {
  at::Tensor stored = at::empty(place.shape, scalar_type(place.dtype));
  HC_CHECK(stored.nbytes() == place.size_bytes);
  read_bytes(place, stored.data_ptr());
  const at::Tensor weight = stored.to(dtype);
  if (!at::isfinite(weight).all().item<bool>()) {
    throw Error(place.file + ": weight " + place.name + " holds NaN or infinite numbers");
  }
  return weight.to(device);
}

/// Sum of the block's four uniform numbers, shifted and scaled to standard deviation 0.02.
float bell(uint64_t seed, uint32_t tensor, uint64_t element) {
  const auto block =
      philox({static_cast<uint32_t>(element), static_cast<uint32_t>(element >> 32), tensor, 0},
             {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  double sum = 0;
  for (const uint32_t word : block) sum += word;
  constexpr double kDeviation =
      0.5773502691896258;  // of a sum of four uniform numbers: sqrt(4 / 12)
  return static_cast<float>((sum / 4294967296.0 - 2.0) * (0.02 / kDeviation));
}

}  // namespace

Model make_model(const Config& config, const std::vector<at::Tensor>& weights) {
  const std::vector<WeightShape> shapes = weight_shapes(config);
  HC_CHECK(weights.size() == shapes.size());
  size_t next = 0;
  const auto take = [&] {
    HC_CHECK(weights[next].sizes() == at::IntArrayRef(shapes[next].shape));
    return weights[next++];
  };
  Model model{.config = config, .weights = {}};
  Weights& w = model.weights;
  w.embedding = take();
  for (int64_t i = 0; i < config.n_layers; ++i) {
    LayerWeights layer;
    layer.attn_norm.weight = take();
    const at::Tensor q = take(), k = take(), v = take();
    layer.qkv = at::cat({q, k, v});
    layer.q = layer.qkv.narrow(0, 0, q.size(0));
    layer.k = layer.qkv.narrow(0, q.size(0), k.size(0));
    layer.v = layer.qkv.narrow(0, q.size(0) + k.size(0), v.size(0));
    layer.o = take().contiguous();
    layer.mlp_norm.weight = take();
    const at::Tensor gate = take(), up = take();
    layer.gate_up = at::cat({gate, up});
    layer.gate = layer.gate_up.narrow(0, 0, gate.size(0));
    layer.up = layer.gate_up.narrow(0, gate.size(0), up.size(0));
    layer.down = take().contiguous();
    w.layers.push_back(layer);
  }
  w.final_norm.weight = take();
  w.head = config.tied_head ? w.embedding : take().contiguous();
  return model;
}

Model load(const ModelFiles& files, at::ScalarType dtype, at::Device device) {
  std::vector<at::Tensor> weights;
  for (const TensorPlace& place : files.tensors) weights.push_back(read(place, dtype, device));
  return make_model(files.config, weights);
}

Model random_model(const Config& config, uint64_t seed, at::ScalarType dtype, at::Device device) {
  std::vector<at::Tensor> weights;
  for (const auto& [name, shape] : weight_shapes(config)) {
    const auto tensor = static_cast<uint32_t>(weights.size());
    at::Tensor weight = at::full(shape, 1.0, at::kFloat);
    if (shape.size() > 1) {
      float* const values = weight.data_ptr<float>();
      for (int64_t i = 0; i < weight.numel(); ++i)
        values[i] = bell(seed, tensor, static_cast<uint64_t>(i));
    }
    weights.push_back(weight.to(dtype).to(device));
  }
  return make_model(config, weights);
}

}  // namespace headcount::models
