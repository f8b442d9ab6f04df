// Stages against their kinds' tables: keys, axes, names of models and datasets, inputs.
#include "experiments/check.h"

#include <algorithm>
#include <array>

#include "experiments/sweep.h"

namespace headcount::experiments {

namespace {

constexpr size_t kMaxSweepPoints = 100'000;
constexpr size_t kMaxListed = 8;  // in one message

template <class Named>
std::vector<std::string> names_of(const std::vector<Named>& all) {
  std::vector<std::string> names;
  names.reserve(all.size());
  for (const auto& one : all) names.push_back(one.name);
  return names;
}

/// "; did you mean "mha"?" or "; defined: "mha", "gqa"" or how to define one.
std::string instead(const std::string& name, const std::vector<std::string>& defined,
                    const std::string& none) {
  const std::string near = closest(name, defined);
  if (!near.empty()) return "; did you mean " + quote(near) + "?";
  return defined.empty() ? none : "; defined here: " + listed(quoted(defined));
}

/// `value` itself, or its elements where it is a list.
std::vector<const Value*> elements(const Value& value) {
  std::vector<const Value*> all;
  if (const auto* list = std::get_if<Value::List>(&value.data)) {
    for (const auto& element : *list) all.push_back(&element);
  } else {
    all.push_back(&value);
  }
  return all;
}

class StageChecker {
 public:
  explicit StageChecker(const StageContext& context)
      : context_(context), spec_(context.written()) {}

  CheckedStage check(std::span<const Kind> kinds) const {
    CheckedStage checked;
    checked.kind = find(kinds);
    if (checked.kind == nullptr) return checked;
    std::vector<Choice> choices = read_keys(*checked.kind);
    const Fields& first = choices.front().values;
    checked.micro_batch = get_or<int64_t>(first, "micro_batch", 0);
    checked.allow_missing = get_or<bool>(first, "allow_missing", false);
    if (checked.allow_missing && checked.kind->reads == Output::kNone) {
      context_.complain(
          place_of(spec_, "allow_missing"), "allow_missing",
          "a stage of kind " + std::string(checked.kind->name) + " reads no other stage");
    }
    const auto input = read_input(context_, *checked.kind);
    if (input) checked.input = input->stage;
    name_dataset(choices);
    name_model(*checked.kind, input, choices);
    if (input) match_models(*input);
    checked.points = expand(context_, *checked.kind, choices, input);
    return checked;
  }

 private:
  /// All combinations of the stage's own axes; model and dataset, slowest, are among them.
  std::vector<Choice> read_keys(const Kind& kind) const {
    std::vector<ParamInfo> infos;
    for (const char* common : {"model", "dataset", "micro_batch", "allow_missing"}) {
      infos.push_back(*find_info(stage_params(), common));
    }
    infos.insert(infos.end(), kind.params.begin(), kind.params.end());
    constexpr std::array<std::string_view, 1> elsewhere = {"scores"};
    return read_params(spec_.keys, infos, elsewhere, stage_path(context_.index), context_.spec.file,
                       spec_.at, context_.problems);
  }

  const Kind* find(std::span<const Kind> kinds) const {
    if (spec_.kind.empty()) return nullptr;  // said already
    std::vector<std::string> names;
    for (const auto& kind : kinds) {
      if (kind.name == spec_.kind) return &kind;
      names.emplace_back(kind.name);
    }
    const std::string near = closest(spec_.kind, names);
    context_.complain(spec_.at, "kind",
                      "no kind is named " + quote(spec_.kind) +
                          (near.empty() ? "; there are " + listed(quoted(names))
                                        : "; did you mean " + quote(near) + "?"));
    return nullptr;
  }

  /// The one the spec defines where the key is not written; every written name must be defined.
  template <class Named>
  void check_names(const char* key, const std::vector<Named>& all) const {
    const std::string group = std::string(key) + "s";
    const auto names = names_of(all);
    const auto* member = find_member(spec_.keys, key);
    for (const auto* element : elements(member->value)) {
      const auto* name = std::get_if<std::string>(&element->data);
      if (name == nullptr || contains(names, *name)) continue;
      const bool whole = element == &member->value;
      context_.complain(whole ? member->at : element->at, key,
                        "no " + std::string(key) + " is named " + quote(*name) +
                            instead(*name, names, "; write a table [" + group + "." + *name + "]"));
    }
  }

  template <class Named>
  void default_name(const char* key, const std::vector<Named>& all,
                    std::vector<Choice>& choices) const {
    const std::string group = std::string(key) + "s";
    const bool said = std::any_of(context_.problems.begin(), context_.problems.end(),
                                  [&](const Problem& one) { return one.key.starts_with(key); });
    if (all.size() == 1) {
      for (auto& choice : choices) choice.values[key] = all.front().name;
    } else if (all.empty() && said) {
      return;  // what was meant to define it is wrong
    } else if (all.empty()) {
      context_.complain(spec_.at, key,
                        "this spec defines none; write a table [" + group + ".NAME]");
    } else {
      context_.complain(spec_.at, key,
                        "required key is missing: this spec defines several " + group + ", " +
                            listed(quoted(names_of(all))));
    }
  }

  void name_dataset(std::vector<Choice>& choices) const {
    if (headcount::find(spec_.keys, "dataset") != nullptr) {
      check_names("dataset", context_.spec.datasets);
    } else {
      default_name("dataset", context_.spec.datasets, choices);
    }
  }

  /// A stage that reads another takes its models, slowest of all axes, where it names none.
  void name_model(const Kind& kind, const std::optional<StageInput>& input,
                  std::vector<Choice>& choices) const {
    const bool reads = kind.must_read || headcount::find(spec_.keys, "scores") != nullptr;
    if (headcount::find(spec_.keys, "model") != nullptr) {
      check_names("model", context_.spec.models);
    } else if (!reads) {
      default_name("model", context_.spec.models, choices);
    } else if (input) {
      std::vector<Choice> all;
      for (const auto& model : models_of(*input)) {
        for (Choice choice : choices) {
          choice.values["model"] = model;
          all.push_back(std::move(choice));
        }
      }
      if (!all.empty()) choices = std::move(all);
    }
  }

  std::vector<std::string> models_of(const StageInput& input) const {
    std::vector<std::string> models;
    for (const int point : input.points) {
      const auto& model = context_.stage(input.stage).points[static_cast<size_t>(point)].model;
      if (!contains(models, model)) models.push_back(model);
    }
    return models;
  }

  /// Every model written in the stage must have scores.
  void match_models(const StageInput& input) const {
    const auto* member = find_member(spec_.keys, "model");
    if (member == nullptr || !context_.stage(input.stage).clean) return;
    const auto models = models_of(input);
    const auto defined = names_of(context_.spec.models);
    for (const auto* element : elements(member->value)) {
      const auto* name = std::get_if<std::string>(&element->data);
      if (name == nullptr || !contains(defined, *name) || contains(models, *name)) continue;
      context_.complain(element == &member->value ? member->at : element->at, "model",
                        "stage " + quote(context_.name_of(input.stage)) + " gives no scores of " +
                            quote(*name) + "; it has those of " + listed(quoted(models)));
    }
  }

  const StageContext& context_;
  const StageSpec& spec_;
};

}  // namespace

std::vector<CheckedStage> check_stages(const Spec& spec, std::span<const Kind> kinds,
                                       std::vector<Problem>& problems) {
  std::vector<CheckedStage> done;
  size_t n_points = 0;
  for (size_t i = 0; i < spec.stages.size(); ++i) {
    const size_t before = problems.size();
    const StageContext context{.spec = spec, .index = i, .before = done, .problems = problems};
    CheckedStage checked = StageChecker(context).check(kinds);
    n_points += checked.points.size();
    if (n_points > kMaxSweepPoints && !checked.points.empty()) {
      context.complain(context.written().at, "name",
                       "the stages up to this one have more than " +
                           std::to_string(kMaxSweepPoints) +
                           " points; split them over several specs");
      checked.points.clear();
    }
    checked.clean = checked.kind != nullptr && problems.size() == before;
    done.push_back(std::move(checked));
  }
  return done;
}

void StageContext::complain(Position at, const std::string& key, const std::string& message) const {
  problems.push_back({spec.file, at, stage_path(index) + "." + key, message});
}

std::string stage_path(size_t stage) { return "stage[" + std::to_string(stage) + "]"; }

Position place_of(const StageSpec& stage, const std::string& key) {
  const auto* member = find_member(stage.keys, key);
  return member == nullptr ? stage.at : member->at;
}

const ParamInfo* find_info(std::span<const ParamInfo> infos, std::string_view name) {
  const auto found =
      std::find_if(infos.begin(), infos.end(), [&](const auto& info) { return info.name == name; });
  return found == infos.end() ? nullptr : &*found;
}

std::string quote(const std::string& text) { return to_text(Value{.data = text, .at = {}}); }

std::vector<std::string> quoted(const std::vector<std::string>& names) {
  std::vector<std::string> all;
  all.reserve(names.size());
  for (const auto& name : names) all.push_back(quote(name));
  return all;
}

std::string listed(const std::vector<std::string>& texts) {
  std::string text;
  for (size_t i = 0; i < std::min(texts.size(), kMaxListed); ++i) {
    text += (i > 0 ? ", " : "") + texts[i];
  }
  return texts.size() > kMaxListed ? text + ", ..." : text;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace headcount::experiments
