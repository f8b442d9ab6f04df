// Part of models/generate.h.
// The three ways to fill in masks: LLaDA's blocks, Dream's schedule, and the surest one a step.
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/generate.h"
#include "models/generate_rows.h"
#include "models/generate_schedule.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
// Elements of a draw beside the tokens' own, which count up from 0.
constexpr uint32_t kConfidence = 0xFFFFFFFF, kReveal = 0xFFFFFFFE, kOrder = 0xFFFFFFFD;

Draw draw_at(const DecodeOptions& options, const Canvas& canvas, size_t i, int64_t step) {
  return {.seed = options.seed,
          .sequence = canvas.sequence,
          .position = canvas.wanted[i],
          .step = step};
}

void write(Canvas& canvas, size_t i, const Picked& picked) {
  canvas.ids[static_cast<size_t>(canvas.wanted[i])] = picked.token;
}

void report(const Stepped& stepped, int64_t done, int64_t all,
            const std::vector<Canvas>& canvases) {
  if (stepped) stepped(static_cast<double>(done) / static_cast<double>(all), texts_of(canvases));
}

void check(const LladaOptions& o) {
  if (o.block_length < 1 || o.n_new % o.block_length != 0)
    throw Error("the " + std::to_string(o.n_new) + " tokens to write are not a whole number of " +
                "blocks of " + std::to_string(o.block_length));
  const int64_t n_blocks = o.n_new / o.block_length;
  if (o.steps < n_blocks || o.steps % n_blocks != 0)
    throw Error(std::to_string(o.steps) + " steps cannot be shared out evenly among " +
                std::to_string(n_blocks) + " blocks: give a multiple of that");
  if (!(o.temperature >= 0) || !(o.cfg_scale >= 0))
    throw Error("temperature and cfg_scale must be 0 or more");
}

/// The token of every wanted position and how sure of it the model is.
struct Proposal {
  std::vector<Picked> picked;
  std::vector<double> confidence;
};

Proposal propose(const Canvas& canvas, at::Tensor rows, int64_t step, const LladaOptions& o) {
  if (o.logits_eos_inf && o.eos_id >= 0) {
    rows = rows.clone();
    rows.select(1, o.eos_id).fill_(kNever);
  }
  Proposal proposal;
  proposal.picked = o.temperature > 0 ? pick_rows(rows,
                                                  [&](std::vector<double>& row, size_t i) {
                                                    return pick_gumbel(row, o.temperature,
                                                                       draw_at(o, canvas, i, step));
                                                  })
                                      : best_rows(rows, {});
  for (size_t i = 0; i < proposal.picked.size(); ++i) {
    const Picked& picked = proposal.picked[i];
    const bool last =
        o.confidence_eos_eot_inf && (picked.token == o.eos_id || picked.token == o.eot_id);
    proposal.confidence.push_back(last ? kNever
                                  : o.remasking == Remasking::kRandom
                                      ? uniform(draw_at(o, canvas, i, step), kConfidence)
                                      : picked.probability);
  }
  return proposal;
}

void check(const DreamOptions& o) {
  if (o.steps < 1) throw Error("Dream's schedule needs at least one step");
  if (!(o.eps > 0 && o.eps < 1)) throw Error("eps must lie between 0 and 1");
  if (!(o.sampling.temperature >= 0) || !(o.alg_temp >= 0))
    throw Error("temperature and alg_temp must be 0 or more");
}

std::vector<Picked> picks(const Canvas& canvas, const at::Tensor& rows, int64_t step,
                          const DreamOptions& o) {
  const bool plain = o.sampling.temperature == 0 && o.sampling.top_p >= 1 && o.sampling.top_k <= 0;
  if (plain)
    return best_rows(rows, {.margin = o.order == DreamOrder::kTopkMargin,
                            .entropy = o.order == DreamOrder::kEntropy});
  return pick_rows(rows, [&](std::vector<double>& row, size_t i) {
    return pick(std::move(row), o.sampling, Filter::kTopPFirst, draw_at(o, canvas, i, step));
  });
}

/// Drawing without replacement is taking the largest of log-weights plus Gumbel noise.
std::vector<double> confidences(const Canvas& canvas, const std::vector<Picked>& picked,
                                int64_t step, const DreamOptions& o) {
  std::vector<double> values;
  for (size_t i = 0; i < picked.size(); ++i) {
    double value = o.order == DreamOrder::kTopkMargin ? picked[i].margin
                   : o.order == DreamOrder::kEntropy  ? picked[i].neg_entropy
                                                      : picked[i].probability;
    if (o.alg_temp > 0)
      value =
          value / o.alg_temp - std::log(-std::log(uniform(draw_at(o, canvas, i, step), kOrder)));
    values.push_back(value);
  }
  return values;
}

void reveal(Canvas& canvas, const at::Tensor& rows, int64_t step, const std::vector<double>& levels,
            const DreamOptions& o) {
  const std::vector<Picked> picked = picks(canvas, rows, step, o);
  if (o.order == DreamOrder::kOrigin) {
    const double share = revealed_share(levels, step);
    for (size_t i = 0; i < picked.size(); ++i) {
      if (uniform(draw_at(o, canvas, i, step), kReveal) < share) write(canvas, i, picked[i]);
    }
    return;
  }
  const auto n_masked = static_cast<int64_t>(picked.size());
  for (const size_t i :
       largest(confidences(canvas, picked, step, o), revealed_count(levels, step, n_masked)))
    write(canvas, i, picked[i]);
}

/// One token into every canvas that has a mask left.
void write_surest(const Model& model, std::vector<Canvas>& canvases, const SurestOptions& options) {
  for_each_batch(canvases, options.micro_batch, [&](const std::vector<Canvas*>& chosen) {
    const at::Tensor gates = options.gates ? options.gates(chosen.size()) : at::Tensor();
    const std::vector<BestToken> best =
        best_tokens(model, batch_of(model, chosen), gates, options.mask_id);
    size_t at = 0;
    for (Canvas* canvas : chosen) {
      const size_t n = canvas->wanted.size();
      size_t surest = 0;
      for (size_t s = 1; s < n; ++s) {
        if (best[at + s].probability > best[at + surest].probability) surest = s;
      }
      canvas->ids[static_cast<size_t>(canvas->wanted[surest])] = best[at + surest].token;
      canvas->wanted.erase(canvas->wanted.begin() + static_cast<std::ptrdiff_t>(surest));
      at += n;
    }
  });
}

}  // namespace

Texts llada_generate(const Model& model, const Texts& prompts, const LladaOptions& options) {
  check(options);
  std::vector<Canvas> canvases = open_canvases(model, prompts, options);
  const int64_t n_blocks = options.n_new / options.block_length;
  const int64_t block_steps = options.steps / n_blocks;
  for (int64_t block = 0; block < n_blocks; ++block) {
    const auto end_of = [&](const Canvas& canvas) {
      return prompts[canvas.index].size() + static_cast<size_t>((block + 1) * options.block_length);
    };
    // Every block begins with all of its own positions masked.
    const std::vector<int64_t> counts = even_schedule(options.block_length, block_steps);
    for (int64_t i = 0; i < block_steps; ++i) {
      const int64_t step = block * block_steps + i;
      for (Canvas& canvas : canvases) canvas.wanted = masked_before(model, canvas, end_of(canvas));
      for_each_logits(model, canvases, options, options.cfg_scale,
                      [&](Canvas& canvas, const at::Tensor& rows) {
                        const Proposal p = propose(canvas, rows, step, options);
                        for (const size_t k : largest(p.confidence, counts[static_cast<size_t>(i)]))
                          write(canvas, k, p.picked[k]);
                      });
      report(options.stepped, step + 1, options.steps, canvases);
    }
  }
  return texts_of(canvases);
}

Texts dream_generate(const Model& model, const Texts& prompts, const DreamOptions& options) {
  check(options);
  std::vector<Canvas> canvases = open_canvases(model, prompts, options);
  const std::vector<double> levels = noise_levels(options.steps, options.eps);
  for (int64_t step = 0; step < options.steps; ++step) {
    for (Canvas& canvas : canvases) {
      canvas.wanted = masked_before(model, canvas, canvas.ids.size());
      const auto n_masked = static_cast<int64_t>(canvas.wanted.size());
      const bool counted = options.order != DreamOrder::kOrigin;
      if (counted && revealed_count(levels, step, n_masked) == 0) canvas.wanted.clear();
    }
    for_each_logits(model, canvases, options, 0, [&](Canvas& canvas, const at::Tensor& rows) {
      reveal(canvas, rows, step, levels, options);
    });
    report(options.stepped, step + 1, options.steps, canvases);
  }
  return texts_of(canvases);
}

std::vector<BestToken> best_tokens(const Model& model, const Batch& batch, const at::Tensor& gates,
                                   int64_t mask_id) {
  const at::NoGradGuard no_grad;
  at::Tensor rows = logits(model, batch, gates).to(at::kFloat);
  if (mask_id >= 0) rows.select(1, mask_id).fill_(kNever);
  std::vector<BestToken> best;
  for (const Picked& picked : best_rows(rows, {}))
    best.push_back({picked.token, static_cast<float>(picked.probability)});
  return best;
}

Texts fill_surest(const Model& model, Texts texts, const SurestOptions& options) {
  std::vector<Canvas> canvases;
  size_t most = 0;
  for (std::vector<int32_t>& ids : texts) {
    canvases.push_back({.ids = std::move(ids)});
    Canvas& canvas = canvases.back();
    for (size_t i = 0; i < canvas.ids.size(); ++i) {
      if (canvas.ids[i] == options.mask_id) canvas.wanted.push_back(static_cast<int64_t>(i));
    }
    most = std::max(most, canvas.wanted.size());
  }
  for (size_t step = 0; step < most; ++step) {
    write_surest(model, canvases, options);
    if (options.progress)
      options.progress(static_cast<double>(step + 1) / static_cast<double>(most));
  }
  return texts_of(canvases);
}

}  // namespace headcount::models
