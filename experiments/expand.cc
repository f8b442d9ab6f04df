// Part of experiments/check.h.
// Axes become points: a stage's own, and those of the stage it reads.
#include <functional>

#include "experiments/check.h"

namespace headcount::experiments {

namespace {

/// How many points `expand` would make.
size_t n_points(const std::vector<Choice>& choices,
                const std::vector<const UnopenedPoint*>& inputs) {
  size_t n = 0;
  for (const auto& choice : choices) {
    const Field& model = choice.values.at("model");
    for (const UnopenedPoint* input : inputs) n += input == nullptr || Field(input->model) == model;
  }
  return n;
}

UnopenedPoint own_point(const Choice& choice) {
  UnopenedPoint point;
  point.values = choice.values;
  point.model = get<std::string>(point.values, "model");
  point.dataset = get<std::string>(point.values, "dataset");
  for (const char* common : {"model", "dataset", "micro_batch", "allow_missing"}) {
    point.values.erase(common);
  }
  for (const auto& name : choice.axes) {
    if (name == "dataset") point.dataset_is_axis = true;
    if (point.values.contains(name)) point.axes.emplace_back(name, point.values.at(name));
  }
  return point;
}

/// The input's axes as columns; "scores_" stands before a name that `kind` has a parameter of.
std::vector<std::pair<std::string, Field>> inherited(const UnopenedPoint& from,
                                                     const std::set<std::string>& selected,
                                                     const Kind& kind) {
  std::vector<std::pair<std::string, Field>> axes;
  if (from.dataset_is_axis && !selected.contains("dataset")) {
    axes.emplace_back("scores_dataset", from.dataset);
  }
  for (const auto& [name, value] : from.axes) {
    if (selected.contains(name)) continue;
    axes.emplace_back(find_info(kind.params, name) != nullptr ? "scores_" + name : name, value);
  }
  return axes;
}

/// Calls `add` for every choice with every input of its model, in the order model, dataset,
/// inherited axes, own axes.
void each_point(const std::vector<Choice>& choices, const std::vector<const UnopenedPoint*>& inputs,
                const std::function<void(const Choice&, const UnopenedPoint*)>& add) {
  const auto same_rows = [](const Choice& a, const Choice& b) {
    return a.values.at("model") == b.values.at("model") &&
           a.values.at("dataset") == b.values.at("dataset");
  };
  for (size_t begin = 0, end = 0; begin < choices.size(); begin = end) {
    while (end < choices.size() && same_rows(choices[begin], choices[end])) ++end;
    const Field& model = choices[begin].values.at("model");
    for (const UnopenedPoint* input : inputs) {
      if (input != nullptr && Field(input->model) != model) continue;
      for (size_t i = begin; i < end; ++i) add(choices[i], input);
    }
  }
}

}  // namespace

std::vector<UnopenedPoint> expand(const StageContext& context, const Kind& kind,
                                  const std::vector<Choice>& choices,
                                  const std::optional<StageInput>& input) {
  for (const auto& choice : choices) {
    if (!choice.values.contains("model") || !choice.values.contains("dataset")) return {};
  }
  std::vector<const UnopenedPoint*> inputs = {nullptr};
  const UnopenedPoint* first = nullptr;
  if (input) {
    const auto& from = context.stage(input->stage).points;
    inputs.clear();
    for (const int point : input->points) inputs.push_back(&from[static_cast<size_t>(point)]);
    first = from.data();
  }
  if (const size_t n = n_points(choices, inputs); n > kMaxPoints) {
    context.complain(context.written().at, "scores",
                     "the axes of the stage it reads times this one's make " + std::to_string(n) +
                         " points, more than " + std::to_string(kMaxPoints) +
                         "; select some, or split them over several specs");
    return {};
  }
  std::vector<UnopenedPoint> points;
  each_point(choices, inputs, [&](const Choice& choice, const UnopenedPoint* from) {
    UnopenedPoint point = own_point(choice);
    if (from != nullptr) {
      point.input_point = static_cast<int>(from - first);
      const auto axes = inherited(*from, input->selected, kind);
      point.axes.insert(point.axes.begin(), axes.begin(), axes.end());
    }
    points.push_back(std::move(point));
  });
  return points;
}

}  // namespace headcount::experiments
