// Counting a plan: every shard is made once, its key compared, its passes added up.
#include "experiments/plan_summary.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_set>

namespace headcount::experiments {

namespace {

void add(Passes& total, const Passes& more) {
  total.forward += more.forward;
  total.backward += more.backward;
  total.most_forward += more.most_forward;
  total.most_backward += more.most_backward;
}

int64_t count_rows(const Stage& stage) {
  std::map<std::string, size_t> rows;
  for (const auto& point : stage.points) rows[point.dataset->name] = point.dataset->rows.size();
  int64_t total = 0;
  for (const auto& [name, n] : rows) total += static_cast<int64_t>(n);
  return total;
}

bool waits_for_scores(const Stage& stage) {
  return std::any_of(stage.points.begin(), stage.points.end(), [](const Point& point) {
    return point.scores && point.scores->value.empty();
  });
}

/// The stage with scores that are all different: which heads are pruned is not known, how many
/// passes that takes is.
Stage with_some_scores(const Stage& stage) {
  Stage some = stage;
  for (auto& point : some.points) {
    const auto& config = point.model->config;
    for (int64_t head = 0; head < config.n_layers * config.n_heads; ++head) {
      point.scores->value.push_back(-static_cast<double>(head));
    }
  }
  return some;
}

StageSummary summarize_stage(const Stage& stage, std::unordered_set<ShardKey>& seen,
                             const std::function<bool(const ShardKey&)>& is_cached) {
  StageSummary summary{.name = stage.name, .kind = std::string(stage.kind->name)};
  summary.n_points = static_cast<int64_t>(stage.points.size());
  summary.n_rows = count_rows(stage);
  summary.n_shards = count(stage);
  if (waits_for_scores(stage)) {
    const Stage some = with_some_scores(stage);
    for (int64_t i = 0; i < summary.n_shards; ++i) add(summary.passes, passes(shard(some, i)));
    return summary;
  }
  summary.n_unique = summary.n_cached = 0;
  for (int64_t i = 0; i < summary.n_shards; ++i) {
    const Shard one = shard(stage, i);
    const ShardKey its_key = key(one);
    if (!seen.insert(its_key).second) continue;
    ++*summary.n_unique;
    if (is_cached(its_key)) {
      ++*summary.n_cached;
    } else {
      add(summary.passes, passes(one));
    }
  }
  return summary;
}

using Line = std::vector<std::string>;

std::string known(const std::optional<int64_t>& number) {
  return number ? std::to_string(*number) : "?";
}

std::optional<int64_t> to_run(const StageSummary& stage) {
  if (!stage.n_unique) return std::nullopt;
  return *stage.n_unique - *stage.n_cached;
}

Line line_of(const StageSummary& stage) {
  const std::string mark = stage.passes.uncertain() ? "~" : "";
  return {stage.name,
          stage.kind,
          std::to_string(stage.n_points),
          std::to_string(stage.n_rows),
          std::to_string(stage.n_shards),
          known(stage.n_unique),
          known(stage.n_cached),
          known(to_run(stage)),
          mark + std::to_string(stage.passes.forward),
          mark + std::to_string(stage.passes.backward),
          std::to_string(stage.passes.most_backward)};
}

/// The sum of all stages; unknown where one is.
StageSummary total_of(const PlanSummary& summary) {
  StageSummary total{.name = "total", .kind = ""};
  total.n_unique = total.n_cached = 0;
  for (const auto& stage : summary.stages) {
    total.n_points += stage.n_points;
    total.n_shards += stage.n_shards;
    if (stage.n_unique && total.n_unique) {
      *total.n_unique += *stage.n_unique;
      *total.n_cached += *stage.n_cached;
    } else {
      total.n_unique = total.n_cached = std::nullopt;
    }
    add(total.passes, stage.passes);
  }
  return total;
}

/// Names to the left, numbers to the right.
std::string aligned(const std::vector<Line>& lines) {
  std::vector<size_t> widths(lines.front().size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string text;
  for (const auto& line : lines) {
    std::string out;
    for (size_t i = 0; i < line.size(); ++i) {
      const std::string space(widths[i] - line[i].size(), ' ');
      out += (i > 0 ? "  " : "") + (i < 2 ? line[i] + space : space + line[i]);
    }
    text += out + "\n";
  }
  return text;
}

}  // namespace

PlanSummary summarize(const Sweep& sweep, const std::function<bool(const ShardKey&)>& is_cached) {
  PlanSummary summary{.sweep = sweep.spec.name, .stages = {}};
  std::unordered_set<ShardKey> seen;
  for (const auto& stage : sweep.stages) {
    summary.stages.push_back(summarize_stage(stage, seen, is_cached));
  }
  return summary;
}

std::string to_text(const PlanSummary& summary) {
  std::vector<Line> lines = {{"stage", "kind", "points", "rows", "shards", "unique", "cached",
                              "to run", "forward", "backward", "at most"}};
  for (const auto& stage : summary.stages) lines.push_back(line_of(stage));
  const StageSummary total = total_of(summary);
  lines.push_back(line_of(total));
  lines.back()[3] = "";  // rows of one dataset may be read by several stages
  std::string text = aligned(lines);
  text += "forward, backward: passes of one sequence through a model, of what is to run\n";
  if (!total.n_unique)
    text += "?: known once the stage it reads is complete; passes are of all its shards\n";
  if (total.passes.uncertain())
    text +=
        "~: adaptive quadrature goes on until its tolerance is met; what the built-in models took "
        "is expected, at most so many backward passes\n";
  return text;
}

std::string to_json(const PlanSummary& summary) {
  using Json = nlohmann::ordered_json;
  const auto number = [](const std::optional<int64_t>& value) {
    return value ? Json(*value) : Json(nullptr);
  };
  Json stages = Json::array();
  for (const auto& stage : summary.stages) {
    Json one;
    one["name"] = stage.name;
    one["kind"] = stage.kind;
    one["points"] = stage.n_points;
    one["rows"] = stage.n_rows;
    one["shards"] = stage.n_shards;
    one["unique"] = number(stage.n_unique);
    one["cached"] = number(stage.n_cached);
    one["to_run"] = number(to_run(stage));
    one["forward_passes"] = stage.passes.forward;
    one["backward_passes"] = stage.passes.backward;
    one["forward_passes_at_most"] = stage.passes.most_forward;
    one["backward_passes_at_most"] = stage.passes.most_backward;
    stages.push_back(std::move(one));
  }
  Json all;
  all["sweep"] = summary.sweep;
  all["stages"] = std::move(stages);
  return all.dump() + "\n";
}

}  // namespace headcount::experiments
