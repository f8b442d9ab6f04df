#include "models/generate_rows.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>

#include <algorithm>
#include <limits>

#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr int64_t kRowsAtOnce = 32;  // in float64 on the CPU: 40 MB of a vocabulary of 150000

at::Tensor masked_prompt_logits(const Model& model, const std::vector<Canvas*>& chosen,
                                const at::Tensor& gates) {
  std::vector<Canvas> blind;
  std::vector<Canvas*> places;
  for (const Canvas* canvas : chosen) {
    blind.push_back(*canvas);
    for (const int64_t i : canvas->given)
      blind.back().ids[static_cast<size_t>(i)] = static_cast<int32_t>(model.config.mask_id);
  }
  for (Canvas& canvas : blind) places.push_back(&canvas);
  return logits(model, batch_of(model, places), gates);
}

at::Tensor gates_of(const at::Tensor& gates, const std::vector<Canvas*>& chosen) {
  if (!gates.defined()) return gates;
  std::vector<int64_t> index;
  for (const Canvas* canvas : chosen) index.push_back(static_cast<int64_t>(canvas->index));
  return gates.index_select(0, at::tensor(index, at::kLong).to(gates.device()));
}

}  // namespace

Texts texts_of(const std::vector<Canvas>& canvases) {
  Texts texts;
  for (const Canvas& canvas : canvases) texts.push_back(canvas.ids);
  return texts;
}

std::vector<Canvas> open_canvases(const Model& model, const Texts& prompts,
                                  const DecodeOptions& options) {
  const Config& c = model.config;
  if (!c.masked())
    throw Error("filling in masks needs a masked diffusion model; this one has no mask token");
  if (options.n_new < 1) throw Error("there is nothing to write: 0 tokens were asked for");
  std::vector<Canvas> canvases;
  for (size_t i = 0; i < prompts.size(); ++i) {
    Canvas canvas{.ids = prompts[i], .sequence = options.first_sequence + i, .index = i};
    for (size_t at = 0; at < canvas.ids.size(); ++at) {
      if (canvas.ids[at] != c.mask_id) canvas.given.push_back(static_cast<int64_t>(at));
    }
    canvas.ids.resize(canvas.ids.size() + static_cast<size_t>(options.n_new),
                      static_cast<int32_t>(c.mask_id));
    if (static_cast<int64_t>(canvas.ids.size()) > c.max_positions)
      throw Error("prompt and answer take " + std::to_string(canvas.ids.size()) +
                  " positions, the model has " + std::to_string(c.max_positions));
    canvases.push_back(std::move(canvas));
  }
  return canvases;
}

std::vector<int64_t> masked_before(const Model& model, const Canvas& canvas, size_t end) {
  std::vector<int64_t> positions;
  for (size_t i = 0; i < std::min(end, canvas.ids.size()); ++i) {
    if (canvas.ids[i] == model.config.mask_id) positions.push_back(static_cast<int64_t>(i));
  }
  return positions;
}

Batch batch_of(const Model& model, const std::vector<Canvas*>& canvases) {
  std::vector<Example> examples;
  std::vector<const Example*> asked;
  for (const Canvas* canvas : canvases)
    examples.push_back({.ids = canvas->ids,
                        .position = {canvas->wanted.begin(), canvas->wanted.end()},
                        .target = std::vector<int32_t>(canvas->wanted.size())});
  for (const Example& example : examples) asked.push_back(&example);
  return make_batch(asked, model);
}

void for_each_batch(std::vector<Canvas>& canvases, int64_t micro_batch,
                    const std::function<void(const std::vector<Canvas*>&)>& take) {
  std::vector<Canvas*> chosen;
  const auto take_chosen = [&] {
    if (!chosen.empty()) take(chosen);
    chosen.clear();
  };
  for (Canvas& canvas : canvases) {
    if (!canvas.wanted.empty()) chosen.push_back(&canvas);
    if (static_cast<int64_t>(chosen.size()) >= micro_batch) take_chosen();
  }
  take_chosen();
}

void for_each_logits(const Model& model, std::vector<Canvas>& canvases,
                     const DecodeOptions& options, double cfg_scale,
                     const std::function<void(Canvas&, const at::Tensor&)>& take) {
  const at::NoGradGuard no_grad;
  for_each_batch(canvases, options.micro_batch, [&](const std::vector<Canvas*>& chosen) {
    const at::Tensor gates = gates_of(options.gates, chosen);
    at::Tensor rows = logits(model, batch_of(model, chosen), gates);
    if (cfg_scale > 0) {
      const at::Tensor blind = masked_prompt_logits(model, chosen, gates);
      rows = blind + (rows - blind) * (cfg_scale + 1);
    }
    int64_t at = 0;
    for (Canvas* canvas : chosen) {
      const auto n = static_cast<int64_t>(canvas->wanted.size());
      take(*canvas, rows.narrow(0, at, n));
      at += n;
    }
  });
}

std::vector<Picked> pick_rows(
    const at::Tensor& logits,
    const std::function<Picked(std::vector<double>& row, size_t i)>& choose) {
  const int64_t n = logits.size(0), width = logits.size(1);
  std::vector<Picked> picked(static_cast<size_t>(n));
  for (int64_t first = 0; first < n; first += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, n - first);
    const at::Tensor rows = logits.narrow(0, first, count).to(at::kCPU, at::kDouble).contiguous();
    const double* data = rows.data_ptr<double>();
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::vector<double> row(data + i * width, data + (i + 1) * width);
        const auto place = static_cast<size_t>(first + i);
        picked[place] = choose(row, place);
      }
    });
  }
  return picked;
}

std::vector<Picked> best_rows(const at::Tensor& logits, const Measures& measures) {
  const auto on_cpu = [](const at::Tensor& t) { return t.to(at::kCPU, at::kDouble).contiguous(); };
  const at::Tensor token = at::argmax(logits, 1);
  const at::Tensor p = at::softmax(logits, 1);
  const at::Tensor token_cpu = token.cpu().contiguous();
  const at::Tensor probability = on_cpu(p.gather(1, token.unsqueeze(1)).squeeze(1));
  at::Tensor margin, entropy;
  if (measures.margin && p.size(1) > 1) {
    const at::Tensor two = std::get<0>(at::topk(p, 2, 1));
    margin = on_cpu(two.select(1, 0) - two.select(1, 1));
  }
  if (measures.entropy) entropy = on_cpu((p * (p + 1e-10).log()).sum(1));
  std::vector<Picked> best(static_cast<size_t>(token_cpu.numel()));
  for (size_t i = 0; i < best.size(); ++i) {
    best[i].token = static_cast<int32_t>(token_cpu.data_ptr<int64_t>()[i]);
    best[i].probability = probability.data_ptr<double>()[i];
    if (margin.defined()) best[i].margin = margin.data_ptr<double>()[i];
    if (entropy.defined()) best[i].neg_entropy = entropy.data_ptr<double>()[i];
  }
  return best;
}

}  // namespace headcount::models
