// Part of models/model.h.
// Weights from files, from a seed, or given: the three ways a Model comes to be.
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <span>

#include "models/files/mapped_file.h"
#include "models/model.h"
#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::models {
namespace {

/// Where the tensors of a Model come from: one of a canonical name, or several of one width, one
/// below the other. `has`: whether the config has a weight of that name.
struct Source {
  std::function<bool(const std::string&)> has;
  std::function<at::Tensor(const std::vector<std::string>&)> take;
};

NormWeights norm_of(const Source& source, const std::string& name) {
  NormWeights norm;
  if (source.has(name)) norm.weight = source.take({name});
  if (source.has(name + "_bias")) norm.bias = source.take({name + "_bias"});
  return norm;
}

LayerWeights layer_of(const Config& c, const Source& source, const std::string& layer) {
  const auto optional = [&](std::vector<std::string> names) {
    for (std::string& name : names) name = layer + name;
    return source.has(names.front()) ? source.take(names) : at::Tensor();
  };
  const int64_t d_attn = c.n_heads * c.d_head, d_kv = c.n_kv_heads * c.d_head;
  LayerWeights w;
  w.attn_norm = norm_of(source, layer + "attn_norm");
  w.qkv = source.take({layer + "q", layer + "k", layer + "v"});
  w.q = w.qkv.narrow(0, 0, d_attn);
  w.k = w.qkv.narrow(0, d_attn, d_kv);
  w.v = w.qkv.narrow(0, d_attn + d_kv, d_kv);
  w.qkv_bias = optional({"q_bias", "k_bias", "v_bias"});
  w.q_norm = norm_of(source, layer + "q_norm");
  w.k_norm = norm_of(source, layer + "k_norm");
  w.o = source.take({layer + "o"});
  w.o_bias = optional({"o_bias"});
  w.mlp_norm = norm_of(source, layer + "mlp_norm");
  if (c.gated_mlp) {
    w.gate_up = source.take({layer + "gate", layer + "up"});
    w.gate = w.gate_up.narrow(0, 0, c.d_mlp);
    w.up = w.gate_up.narrow(0, c.d_mlp, c.d_mlp);
    w.gate_up_bias = optional({"gate_bias", "up_bias"});
  } else {
    w.gate_up = w.up = source.take({layer + "up"});
    w.gate_up_bias = optional({"up_bias"});
  }
  w.down = source.take({layer + "down"});
  w.down_bias = optional({"down_bias"});
  return w;
}

/// Norms without a weight get one of ones, so that the passes know one kind of norm.
void fill_norms(Model& model) {
  const Config& c = model.config;
  const auto ones = [&](at::Tensor& weight, int64_t size) {
    if (!weight.defined())
      weight = at::ones({size}, model.weights.embedding.options().requires_grad(false));
  };
  for (LayerWeights& w : model.weights.layers) {
    ones(w.attn_norm.weight, c.d_model);
    if (c.residual != Residual::kParallelOneNorm) ones(w.mlp_norm.weight, c.d_model);
    if (!c.qk_norm) continue;
    ones(w.q_norm.weight, c.d_head);
    ones(w.k_norm.weight, c.d_head);
  }
  ones(model.weights.final_norm.weight, c.d_model);
}

Model model_of(const Config& config, const Source& source) {
  const auto optional = [&](const std::string& name) {
    return source.has(name) ? source.take({name}) : at::Tensor();
  };
  Model model{.config = config, .weights = {}};
  Weights& w = model.weights;
  w.embedding = source.take({"embedding"});
  w.positions = optional("positions");
  w.times = optional("times");
  for (int64_t i = 0; i < config.n_layers; ++i)
    w.layers.push_back(layer_of(config, source, "layers." + std::to_string(i) + "."));
  w.final_norm = norm_of(source, "final_norm");
  w.head = config.tied_head ? w.embedding : source.take({"head"});
  w.head_bias = optional("head_bias");
  fill_norms(model);
  return model;
}

/// A model whose numbers are not yet there, and each weight's place in it by its canonical name: a
/// contiguous view, written into without a copy of its own.
struct Empty {
  Model model;
  std::map<std::string, at::Tensor> places;
};

Empty empty_model(const Config& config, at::ScalarType dtype, at::Device device) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const WeightShape& weight : weight_shapes(config)) shapes[weight.name] = weight.shape;
  Empty made;
  const Source source{.has = [&](const std::string& name) { return shapes.count(name) > 0; },
                      .take =
                          [&](const std::vector<std::string>& names) {
                            std::vector<int64_t> shape = shapes.at(names.front());
                            shape[0] = 0;
                            for (const std::string& name : names) shape[0] += shapes.at(name)[0];
                            const at::Tensor whole =
                                at::empty(shape, at::TensorOptions(dtype).device(device));
                            int64_t row = 0;
                            for (const std::string& name : names) {
                              const int64_t rows = shapes.at(name)[0];
                              made.places[name] = whole.narrow(0, row, rows);
                              row += rows;
                            }
                            return whole;
                          }};
  made.model = model_of(config, source);
  HC_CHECK(made.places.size() == shapes.size());
  return made;
}

at::ScalarType scalar_type(const std::string& dtype) {
  if (dtype == "F64") return at::kDouble;
  if (dtype == "F32") return at::kFloat;
  if (dtype == "BF16") return at::kBFloat16;
  HC_CHECK(dtype == "F16");
  return at::kHalf;
}

/// Rows of a weight copied and looked at together: the temporaries' size.
int64_t rows_at_once(const at::Tensor& t) {
  constexpr int64_t kElements = 8 << 20;
  return std::max<int64_t>(1, kElements / std::max<int64_t>(1, t.numel() / t.size(0)));
}

/// The bytes as one row of numbers, where they lie; copied only where they are not aligned.
at::Tensor flat_view(std::span<const std::byte> bytes, at::ScalarType dtype) {
  const auto n = static_cast<int64_t>(bytes.size() / c10::elementSize(dtype));
  void* const data = const_cast<std::byte*>(bytes.data());  // tensors know no const; nobody writes
  if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(dtype) == 0)
    return at::from_blob(data, {n}, at::TensorOptions(dtype));
  at::Tensor copy = at::empty({n}, dtype);
  std::memcpy(copy.data_ptr(), data, bytes.size());
  return copy;
}

/// Copies the weight, stored in these bytes, into `to`, a contiguous tensor of its shape.
void read(const TensorPlace& place, std::span<const std::byte> bytes, const at::Tensor& to) {
  const at::ScalarType stored = scalar_type(place.dtype);
  const std::vector<int64_t>& sizes = place.sizes.empty() ? place.shape : place.sizes;
  at::Tensor flat = flat_view(bytes, stored);
  const at::Tensor from =
      place.strides.empty() ? flat.view(sizes) : flat.as_strided(sizes, place.strides);
  const at::Tensor target = to.view(sizes);
  for (int64_t row = 0, step = rows_at_once(from); row < from.size(0); row += step) {
    const int64_t n = std::min(step, from.size(0) - row);
    const at::Tensor part = target.narrow(0, row, n);
    part.copy_(from.narrow(0, row, n));
    if (!at::isfinite(part).all().item<bool>())
      throw Error(place.file + ": weight " + (place.stored.empty() ? place.name : place.stored) +
                  " holds NaN or infinite numbers" +
                  (to.scalar_type() == at::kHalf ? ", or numbers too large for float16" : ""));
  }
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

void draw(const at::Tensor& weight, uint64_t seed, uint32_t tensor) {
  const int64_t width = weight.numel() / weight.size(0), step = rows_at_once(weight);
  at::Tensor rows = at::empty({std::min(step, weight.size(0)) * width}, at::kFloat);
  float* const values = rows.data_ptr<float>();
  for (int64_t row = 0; row < weight.size(0); row += step) {
    const int64_t n = std::min(step, weight.size(0) - row);
    at::parallel_for(0, n * width, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        values[i] = bell(seed, tensor, static_cast<uint64_t>(row * width + i));
    });
    const at::Tensor part = weight.narrow(0, row, n);
    part.copy_(rows.narrow(0, 0, n * width).view(part.sizes()));
  }
}

}  // namespace

Model make_model(const Config& config, const std::vector<at::Tensor>& weights) {
  const std::vector<WeightShape> shapes = weight_shapes(config);
  HC_CHECK(weights.size() == shapes.size());
  std::map<std::string, at::Tensor> given;
  for (size_t i = 0; i < shapes.size(); ++i) {
    HC_CHECK(weights[i].sizes() == at::IntArrayRef(shapes[i].shape));
    given[shapes[i].name] = weights[i];
  }
  return model_of(config, {.has = [&](const std::string& name) { return given.count(name) > 0; },
                           .take =
                               [&](const std::vector<std::string>& names) {
                                 if (names.size() == 1) return given.at(names[0]).contiguous();
                                 std::vector<at::Tensor> parts;
                                 for (const std::string& name : names)
                                   parts.push_back(given.at(name));
                                 return at::cat(parts);
                               }});
}

Model load(const ModelFiles& files, at::ScalarType dtype, at::Device device) {
  const Empty empty = empty_model(files.config, dtype, device);
  std::map<std::string, MappedFile> mapped;
  for (const TensorPlace& place : files.tensors) {
    const MappedFile& file = mapped.try_emplace(place.file, place.file).first->second;
    const std::span<const std::byte> bytes = file.at(place);
    read(place, bytes, empty.places.at(place.name));
    file.forget(bytes);
  }
  return empty.model;
}

Model random_model(const Config& config, uint64_t seed, at::ScalarType dtype, at::Device device) {
  const Empty empty = empty_model(config, dtype, device);
  uint32_t tensor = 0;
  for (const WeightShape& shape : weight_shapes(config)) {
    const at::Tensor& weight = empty.places.at(shape.name);
    if (shape.name.ends_with("norm")) {
      weight.fill_(1);
    } else {
      draw(weight, seed, tensor);
    }
    ++tensor;
  }
  return empty.model;
}

}  // namespace headcount::models
