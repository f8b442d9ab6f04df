#include "coordinator/campaign.h"

#include <algorithm>
#include <tuple>

namespace headcount::coordinator {
namespace {

constexpr Millis kWindow = 30'000;

const experiments::Point& point_of(const LiveSweep& sweep, const LiveStage& stage, int64_t i) {
  const auto& planned = sweep.plan.stages[stage.number];
  return planned.points[experiments::place(planned, i).point];
}

}  // namespace

void Rate::sample(Millis now, int64_t count) {
  if (!samples_.empty() && count < samples_.back().second) samples_.clear();  // planned again
  samples_.emplace_back(now, count);
  while (samples_.size() > 2 && now - samples_.front().first > kWindow) samples_.pop_front();
}

double Rate::per_second() const {
  if (samples_.size() < 2) return 0;
  const auto& [from, first] = samples_.front();
  const auto& [to, last] = samples_.back();
  return to > from ? static_cast<double>(last - first) * 1000.0 / static_cast<double>(to - from)
                   : 0;
}

std::vector<store::StageRow> stage_rows(const experiments::Sweep& plan) {
  std::vector<store::StageRow> rows;
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    store::StageRow row;
    row.number = static_cast<int>(i);
    row.name = plan.stages[i].name;
    row.kind = std::string(plan.stages[i].kind->name);
    row.state = "waiting";
    row.n_shards = experiments::count(plan.stages[i]);
    rows.push_back(std::move(row));
  }
  return rows;
}

bool has_its_scores(const LiveSweep& sweep, const LiveStage& stage) {
  const auto& planned = sweep.plan.stages[stage.number];
  return planned.input < 0 ||
         std::none_of(planned.points.begin(), planned.points.end(), [](const auto& point) {
           return point.scores && point.scores->value.empty();
         });
}

Shard shard_of(const LiveSweep& sweep, const LiveStage& stage, int64_t i) {
  return experiments::shard(sweep.plan.stages[stage.number], i);
}

std::string model_path_of(const LiveSweep& sweep, const LiveStage& stage, int64_t i) {
  return point_of(sweep, stage, i).model->path;
}

std::string tag_of(const LiveSweep& sweep, const LiveStage& stage, int64_t i) {
  return point_of(sweep, stage, i).model->tag;
}

bool is_gpu(const std::string& tag) { return tag.rfind("cuda-", 0) == 0; }

const TagView& of_most_capacity(std::span<const TagView> tags) {
  const auto worth = [](const TagView& one) {
    const bool gpu = is_gpu(one.tag);
    return std::tuple(gpu, gpu ? one.capacity_bytes : one.n_runners, -one.since);
  };
  return *std::max_element(tags.begin(), tags.end(),
                           [&](const auto& a, const auto& b) { return worth(a) < worth(b); });
}

}  // namespace headcount::coordinator
