// The largest of each model's passes.
#include "experiments/memory.h"

#include <algorithm>

#include "experiments/kinds/evaluate/evaluate.h"
#include "experiments/kinds/head_importance/head_importance.h"
#include "experiments/plan_summary.h"

namespace headcount::experiments {
namespace {

/// Positions of the longest sequence a row becomes, and of the most whose logits are computed.
struct Extent {
  int64_t length = 0, supervised = 0;
};

Extent extent_of(const Row& row) {
  int64_t longest = 0, all = 0;
  for (const auto& choice : row.choices) {
    longest = std::max(longest, static_cast<int64_t>(choice.size()));
    all += static_cast<int64_t>(choice.size());
  }
  const auto labelled = std::count_if(row.labels.begin(), row.labels.end(),
                                      [](int32_t label) { return label != kIgnore; });
  return {.length = static_cast<int64_t>(row.ids.size()) + longest,
          .supervised = std::max<int64_t>({labelled, row.span_end - row.span_begin, all})};
}

int64_t micro_batch_of(const Stage& stage, const Point& point, size_t index) {
  const bool importance = stage.kind->name == "head_importance";
  const int64_t constant = importance ? head_importance::kMicroBatch : evaluate::kMicroBatch;
  const int64_t asked = point.micro_batch > 0 ? point.micro_batch : constant;
  if (point.scores && point.scores->value.empty()) return asked;
  const Shard first = shard(stage, stage.first_shard.at(index));
  return std::min(asked, std::max<int64_t>(1, passes(first).forward));
}

models::PassShape pass_of(const Stage& stage, size_t index) {
  const Point& point = stage.points[index];
  models::PassShape pass{.micro_batch = micro_batch_of(stage, point, index),
                         .length = 0,
                         .supervised = 0,
                         .backward = stage.kind->name == "head_importance"};
  for (const Row& row : point.dataset->rows) {
    const Extent extent = extent_of(row);
    pass.length = std::max(pass.length, extent.length);
    pass.supervised = std::max(pass.supervised, extent.supervised);
  }
  return pass;
}

}  // namespace

std::vector<ModelMemory> model_memory(const Sweep& sweep) {
  std::vector<ModelMemory> all;
  for (const auto& model : sweep.models) {
    ModelMemory most{.model = model->name,
                     .dtype = model->dtype,
                     .config = model->config,
                     .pass = {},
                     .plan = {}};
    for (const Stage& stage : sweep.stages) {
      for (size_t i = 0; i < stage.points.size(); ++i) {
        if (stage.points[i].model != model.get()) continue;
        const models::PassShape pass = pass_of(stage, i);
        const models::MemoryPlan plan = models::memory_plan(model->config, model->dtype, pass);
        if (plan.total() <= most.plan.total()) continue;
        most.pass = pass;
        most.plan = plan;
      }
    }
    if (most.plan.total() > 0) all.push_back(most);
  }
  return all;
}

std::string to_text(const std::vector<ModelMemory>& models, uint64_t nominal_bytes) {
  std::string text;
  for (const ModelMemory& one : models) {
    const bool fit = models::fits(one.plan, nominal_bytes);
    text += "memory of " + one.model + ": " +
            models::describe(one.plan, one.dtype, one.pass, nominal_bytes) +
            (fit ? ": fits\n" : ": DOES NOT FIT\n");
  }
  return text;
}

}  // namespace headcount::experiments
