// Axes become points: a stage's own, and those of the stage it reads.
#include <functional>

#include "experiments/check.h"

namespace headcount::experiments {

namespace {

/// How many points `expand` would make.
size_t n_points(const std::vector<Choice>& choices, const std::vector<const Arm*>& inputs) {
  size_t n = 0;
  for (const auto& choice : choices) {
    const Field& model = choice.values.at("model");
    for (const Arm* input : inputs) n += input == nullptr || Field(input->model) == model;
  }
  return n;
}

Arm own_arm(const Choice& choice) {
  Arm arm;
  arm.values = choice.values;
  arm.model = get<std::string>(arm.values, "model");
  arm.dataset = get<std::string>(arm.values, "dataset");
  for (const char* common : {"model", "dataset", "micro_batch", "allow_missing"}) {
    arm.values.erase(common);
  }
  for (const auto& name : choice.axes) {
    if (name == "dataset") arm.dataset_is_axis = true;
    if (arm.values.contains(name)) arm.axes.emplace_back(name, arm.values.at(name));
  }
  return arm;
}

/// The input's axes as columns; "scores_" stands before a name that `kind` has a parameter of.
std::vector<std::pair<std::string, Field>> inherited(const Arm& from,
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
void each_point(const std::vector<Choice>& choices, const std::vector<const Arm*>& inputs,
                const std::function<void(const Choice&, const Arm*)>& add) {
  const auto same_rows = [](const Choice& a, const Choice& b) {
    return a.values.at("model") == b.values.at("model") &&
           a.values.at("dataset") == b.values.at("dataset");
  };
  for (size_t begin = 0, end = 0; begin < choices.size(); begin = end) {
    while (end < choices.size() && same_rows(choices[begin], choices[end])) ++end;
    const Field& model = choices[begin].values.at("model");
    for (const Arm* input : inputs) {
      if (input != nullptr && Field(input->model) != model) continue;
      for (size_t i = begin; i < end; ++i) add(choices[i], input);
    }
  }
}

}  // namespace

std::vector<Arm> expand(const StageContext& context, const Kind& kind,
                        const std::vector<Choice>& choices,
                        const std::optional<StageInput>& input) {
  for (const auto& choice : choices) {
    if (!choice.values.contains("model") || !choice.values.contains("dataset")) return {};
  }
  std::vector<const Arm*> inputs = {nullptr};
  const Arm* first = nullptr;
  if (input) {
    const auto& from = context.stage(input->stage).arms;
    inputs.clear();
    for (const int arm : input->arms) inputs.push_back(&from[static_cast<size_t>(arm)]);
    first = from.data();
  }
  if (const size_t n = n_points(choices, inputs); n > kMaxPoints) {
    context.complain(context.written().at, "scores",
                     "the axes of the stage it reads times this one's make " + std::to_string(n) +
                         " points, more than " + std::to_string(kMaxPoints) +
                         "; select some, or split them over several specs");
    return {};
  }
  std::vector<Arm> arms;
  each_point(choices, inputs, [&](const Choice& choice, const Arm* from) {
    Arm arm = own_arm(choice);
    if (from != nullptr) {
      arm.input_point = static_cast<int>(from - first);
      const auto axes = inherited(*from, input->selected, kind);
      arm.axes.insert(arm.axes.begin(), axes.begin(), axes.end());
    }
    arms.push_back(std::move(arm));
  });
  return arms;
}

}  // namespace headcount::experiments
