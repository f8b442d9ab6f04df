// Stages against their kinds' tables: keys, axes, names of models and datasets, inputs.
#include "experiments/check.h"

#include <algorithm>
#include <array>
#include <set>

#include "experiments/sweep.h"

namespace headcount::experiments {

namespace {

constexpr std::string_view kGivesScores = "head_importance";

/// `"a", "b", "c"`, at most eight.
std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kMost = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += (i > 0 ? ", " : "") + names[i];
  }
  return names.size() > kMost ? text + ", ..." : text;
}

std::string quote(const std::string& text) { return to_text(Value{.data = text, .at = {}}); }

std::vector<std::string> quoted(const std::vector<std::string>& names) {
  std::vector<std::string> all;
  for (const auto& name : names) all.push_back(quote(name));
  return all;
}

template <class Named>
std::vector<std::string> names_of(const std::vector<Named>& all) {
  std::vector<std::string> names;
  for (const auto& one : all) names.push_back(one.name);
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// "; did you mean "mha"?" or "; defined: "mha", "gqa"" or how to define one.
std::string instead(const std::string& name, const std::vector<std::string>& defined,
                    const std::string& none) {
  const std::string near = closest(name, defined);
  if (!near.empty()) return "; did you mean " + quote(near) + "?";
  return defined.empty() ? none : "; defined here: " + listed(quoted(defined));
}

const ParamInfo* find_info(std::span<const ParamInfo> infos, std::string_view name) {
  const auto found =
      std::find_if(infos.begin(), infos.end(), [&](const auto& info) { return info.name == name; });
  return found == infos.end() ? nullptr : &*found;
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

/// Which arms of the input stage a stage reads, and which of that stage's axes it still inherits.
struct Input {
  int stage = -1;
  std::vector<int> arms;
  std::set<std::string> selected;  // axes narrowed to one value
};

class Checker {
 public:
  Checker(const Spec& spec, std::span<const Kind> kinds, std::vector<Problem>& problems)
      : spec_(spec), kinds_(kinds), problems_(problems) {}

  std::vector<CheckedStage> all() {
    for (size_t i = 0; i < spec_.stages.size(); ++i) {
      const size_t before = problems_.size();
      done_.push_back(stage(i));
      done_.back().clean = done_.back().kind != nullptr && problems_.size() == before;
    }
    return std::move(done_);
  }

 private:
  void complain(Position at, const std::string& key, const std::string& message) {
    problems_.push_back({spec_.file, at, path_ + "." + key, message});
  }

  CheckedStage stage(size_t index) {
    const StageSpec& spec = spec_.stages[index];
    path_ = stage_path(index);
    CheckedStage checked;
    checked.kind = find(spec);
    if (checked.kind == nullptr) return checked;

    std::vector<ParamInfo> infos;
    for (const char* common : {"model", "dataset", "micro_batch", "allow_missing"}) {
      infos.push_back(*find_info(stage_params(), common));
    }
    infos.insert(infos.end(), checked.kind->params.begin(), checked.kind->params.end());
    constexpr std::array<std::string_view, 1> elsewhere = {"scores"};
    auto choices = read_params(spec.keys, infos, elsewhere, path_, spec_.file, spec.at, problems_);

    const Fields& first = choices.front().values;
    checked.micro_batch = get_or<int64_t>(first, "micro_batch", 0);
    checked.allow_missing = get_or<bool>(first, "allow_missing", false);
    if (checked.allow_missing && !checked.kind->reads_scores) {
      complain(place_of(spec, "allow_missing"), "allow_missing",
               "a stage of kind " + std::string(checked.kind->name) + " reads no other stage");
    }
    const auto input = read_input(spec, index, *checked.kind);
    if (input) checked.input = input->stage;
    name_dataset(spec, choices);
    name_model(spec, *checked.kind, input, choices);
    if (input) match_models(spec, *input);
    if (enough_room(spec, input, choices)) checked.arms = expand(input, *checked.kind, choices);
    return checked;
  }

  const Kind* find(const StageSpec& spec) {
    if (spec.kind.empty()) return nullptr;  // said already
    std::vector<std::string> names;
    for (const auto& kind : kinds_) {
      if (kind.name == spec.kind) return &kind;
      names.emplace_back(kind.name);
    }
    const std::string near = closest(spec.kind, names);
    complain(spec.at, "kind",
             "no kind is named " + quote(spec.kind) +
                 (near.empty() ? "; there are " + listed(quoted(names))
                               : "; did you mean " + quote(near) + "?"));
    return nullptr;
  }

  // ---- models and datasets

  /// The one the spec defines where the key is not written; every written name must be defined.
  template <class Named>
  void check_names(const StageSpec& spec, const char* key, const std::vector<Named>& all) {
    const std::string group = std::string(key) + "s";
    const auto names = names_of(all);
    const auto* member = find_member(spec.keys, key);
    for (const auto* element : elements(member->value)) {
      const auto* name = std::get_if<std::string>(&element->data);
      if (name == nullptr || contains(names, *name)) continue;
      const bool whole = element == &member->value;
      complain(whole ? member->at : element->at, key,
               "no " + std::string(key) + " is named " + quote(*name) +
                   instead(*name, names, "; write a table [" + group + "." + *name + "]"));
    }
  }

  template <class Named>
  void default_name(const StageSpec& spec, const char* key, const std::vector<Named>& all,
                    std::vector<Choice>& choices) {
    const std::string group = std::string(key) + "s";
    const bool said = std::any_of(problems_.begin(), problems_.end(),
                                  [&](const Problem& one) { return one.key.starts_with(key); });
    if (all.size() == 1) {
      for (auto& choice : choices) choice.values[key] = all.front().name;
    } else if (all.empty() && said) {
      return;  // what was meant to define it is wrong
    } else if (all.empty()) {
      complain(spec.at, key, "this spec defines none; write a table [" + group + ".NAME]");
    } else {
      complain(spec.at, key,
               "required key is missing: this spec defines several " + group + ", " +
                   listed(quoted(names_of(all))));
    }
  }

  void name_dataset(const StageSpec& spec, std::vector<Choice>& choices) {
    if (headcount::find(spec.keys, "dataset") != nullptr) {
      check_names(spec, "dataset", spec_.datasets);
    } else {
      default_name(spec, "dataset", spec_.datasets, choices);
    }
  }

  /// A stage that reads another takes its models, slowest of all axes, where it names none.
  void name_model(const StageSpec& spec, const Kind& kind, const std::optional<Input>& input,
                  std::vector<Choice>& choices) {
    const bool reads = kind.scores_required || headcount::find(spec.keys, "scores") != nullptr;
    if (headcount::find(spec.keys, "model") != nullptr) {
      check_names(spec, "model", spec_.models);
    } else if (!reads) {
      default_name(spec, "model", spec_.models, choices);
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

  std::vector<std::string> models_of(const Input& input) const {
    std::vector<std::string> models;
    for (const int arm : input.arms) {
      const auto& model = input_arm(input, arm).model;
      if (!contains(models, model)) models.push_back(model);
    }
    return models;
  }

  /// Every model written in the stage must have scores.
  void match_models(const StageSpec& spec, const Input& input) {
    const auto* member = find_member(spec.keys, "model");
    if (member == nullptr || !done_[static_cast<size_t>(input.stage)].clean) return;
    const auto models = models_of(input);
    const auto defined = names_of(spec_.models);
    for (const auto* element : elements(member->value)) {
      const auto* name = std::get_if<std::string>(&element->data);
      if (name == nullptr || !contains(defined, *name) || contains(models, *name)) continue;
      complain(element == &member->value ? member->at : element->at, "model",
               "stage " + quote(input_name(input)) + " gives no scores of " + quote(*name) +
                   "; it has those of " + listed(quoted(models)));
    }
  }

  // ---- scores = { stage = ..., ... }

  const std::string& input_name(const Input& input) const {
    return spec_.stages[static_cast<size_t>(input.stage)].name;
  }
  const Arm& input_arm(const Input& input, int arm) const {
    return done_[static_cast<size_t>(input.stage)].arms[static_cast<size_t>(arm)];
  }

  /// `scores = { stage = "importance" }`, with the first stage that would do.
  std::string scores_form() const {
    for (size_t i = 0; i < done_.size(); ++i) {
      if (done_[i].kind != nullptr && done_[i].kind->name == kGivesScores) {
        return "{ stage = " + quote(spec_.stages[i].name) + " }";
      }
    }
    return "{ stage = \"NAME\" }, an earlier stage of kind " + std::string(kGivesScores);
  }

  std::optional<Input> read_input(const StageSpec& spec, size_t index, const Kind& kind) {
    const auto* member = find_member(spec.keys, "scores");
    if (member == nullptr) {
      if (kind.scores_required) {
        complain(spec.at, "scores", "required key is missing; write scores = " + scores_form());
      }
      return std::nullopt;
    }
    if (!kind.reads_scores) {
      complain(member->at, "scores",
               "a stage of kind " + std::string(kind.name) + " reads no scores");
      return std::nullopt;
    }
    const auto* table = std::get_if<Value::Table>(&member->value.data);
    if (table == nullptr) {
      complain(member->at, "scores",
               "expected a table " + scores_form() + ", found " + to_text(member->value));
      return std::nullopt;
    }
    const int stage = named_stage(*table, member->at, index);
    if (stage < 0) return std::nullopt;
    return select(*table, stage);
  }

  /// The index of the stage that `scores` names, or -1 after a problem.
  int named_stage(const Value::Table& table, Position at, size_t index) {
    const auto* member = find_member(table, "stage");
    if (member == nullptr) {
      complain(at, "scores.stage", "required key is missing; write " + scores_form());
      return -1;
    }
    const auto* name = std::get_if<std::string>(&member->value.data);
    if (name == nullptr) {
      complain(member->at, "scores.stage",
               "expected the name of an earlier stage, found " + to_text(member->value));
      return -1;
    }
    std::vector<std::string> able;
    for (size_t i = 0; i < spec_.stages.size(); ++i) {
      const StageSpec& other = spec_.stages[i];
      if (i < index && other.kind == kGivesScores && !other.name.empty())
        able.push_back(other.name);
      if (other.name != *name || name->empty()) continue;
      if (i < index && other.kind == kGivesScores) return static_cast<int>(i);
      if (i < index && done_[i].kind == nullptr) return -1;  // said already
      complain(member->at, "scores.stage",
               i < index ? "stage " + quote(*name) + " is of kind " + other.kind +
                               "; scores come from one of kind " + std::string(kGivesScores)
                         : "stage " + quote(*name) + " is not earlier than this one");
      return -1;
    }
    const std::string near = closest(*name, able);
    complain(member->at, "scores.stage",
             "no earlier stage is named " + quote(*name) +
                 (!near.empty()  ? "; did you mean " + quote(near) + "?"
                  : able.empty() ? "; there is none of kind " + std::string(kGivesScores)
                                 : "; there is " + listed(quoted(able))));
    return -1;
  }

  /// Narrows the arms of `stage` by the other keys of `table`.
  Input select(const Value::Table& table, int stage) {
    const CheckedStage& from = done_[static_cast<size_t>(stage)];
    Input input{.stage = stage, .arms = {}, .selected = {}};
    for (size_t i = 0; i < from.arms.size(); ++i) input.arms.push_back(static_cast<int>(i));
    std::vector<std::string> known = {"stage", "model", "dataset"};
    for (const auto& info : from.kind->params) known.emplace_back(info.name);
    for (const auto& member : table) {
      if (member.key == "stage") continue;
      if (!contains(known, member.key)) {
        complain(member.at, "scores." + key_text(member.key), unknown_key(member.key, known));
        continue;
      }
      const auto* info = find_info(from.kind->params, member.key);
      narrow(member, info != nullptr ? *info : *find_info(stage_params(), member.key), from, input);
    }
    return input;
  }

  static std::optional<Field> value_of(const Arm& arm, const std::string& key) {
    if (key == "model") return arm.model;
    if (key == "dataset") return arm.dataset;
    const auto found = arm.values.find(key);
    return found == arm.values.end() ? std::nullopt : std::optional(found->second);
  }

  /// Keeps the arms whose `member.key` is one of the values written.
  void narrow(const Value::Member& member, const ParamInfo& info, const CheckedStage& from,
              Input& input) {
    const std::string key = path_ + ".scores." + member.key;
    const auto* several = as_axis(member.value, info);
    std::vector<std::pair<Field, const Value*>> wanted;
    const auto want = [&](const Value& value, Position at) {
      if (auto field = read_param(value, info, at, key, spec_.file, problems_)) {
        wanted.emplace_back(std::move(*field), &value);
      }
    };
    if (several == nullptr) {
      want(member.value, member.at);
      input.selected.insert(member.key);
    } else {
      for (const auto& value : *several) want(value, value.at);
      if (several->empty()) {
        complain(member.at, "scores." + member.key,
                 "expected one or more values, found an empty list");
      }
    }
    if (!from.clean) return;  // its values are not all known
    std::vector<Field> there;
    for (const auto& arm : from.arms) {
      const auto value = value_of(arm, member.key);
      if (value && std::find(there.begin(), there.end(), *value) == there.end()) {
        there.push_back(*value);
      }
    }
    for (const auto& [field, value] : wanted) {
      if (std::find(there.begin(), there.end(), field) != there.end()) continue;
      std::vector<std::string> texts;
      for (const auto& one : there) texts.push_back(to_json(one));
      complain(several == nullptr ? member.at : value->at, "scores." + member.key,
               "stage " + quote(input_name(input)) + " has no " + member.key + " " +
                   to_text(*value) +
                   (texts.empty() ? "; it is not set there" : "; it has " + listed(texts)));
    }
    std::erase_if(input.arms, [&](int arm) {
      const auto value = value_of(input_arm(input, arm), member.key);
      return std::none_of(wanted.begin(), wanted.end(),
                          [&](const auto& one) { return value && one.first == *value; });
    });
  }

  // ---- points

  bool enough_room(const StageSpec& spec, const std::optional<Input>& input,
                   const std::vector<Choice>& choices) {
    if (!input) return true;  // read_params has looked
    size_t n_points = 0;
    for (const auto& choice : choices) {
      const auto model = choice.values.find("model");
      for (const int arm : input->arms) {
        n_points +=
            model != choice.values.end() && model->second == Field(input_arm(*input, arm).model);
      }
    }
    if (n_points <= kMaxPoints) return true;
    complain(spec.at, "scores",
             "the points of stage " + quote(input_name(*input)) + " times this one's axes make " +
                 std::to_string(n_points) + " points, more than " + std::to_string(kMaxPoints) +
                 "; select some, or split them over several specs");
    return false;
  }

  /// Points in the order model, dataset, inherited axes, own axes.
  static std::vector<Arm> product(const std::vector<Choice>& choices,
                                  const std::vector<const Arm*>& inputs,
                                  const std::function<Arm(const Choice&, const Arm*)>& make) {
    const auto same_rows = [](const Choice& a, const Choice& b) {
      return a.values.at("model") == b.values.at("model") &&
             a.values.at("dataset") == b.values.at("dataset");
    };
    std::vector<Arm> arms;
    for (size_t begin = 0, end = 0; begin < choices.size(); begin = end) {
      while (end < choices.size() && same_rows(choices[begin], choices[end])) ++end;
      for (const Arm* input : inputs) {
        for (size_t i = begin; i < end; ++i) {
          const bool same_model =
              input == nullptr || Field(input->model) == choices[i].values.at("model");
          if (same_model) arms.push_back(make(choices[i], input));
        }
      }
    }
    return arms;
  }

  std::vector<Arm> expand(const std::optional<Input>& input, const Kind& kind,
                          const std::vector<Choice>& choices) const {
    for (const auto& choice : choices) {
      if (!choice.values.contains("model") || !choice.values.contains("dataset")) return {};
    }
    std::vector<const Arm*> inputs = {nullptr};
    const Arm* first = nullptr;
    if (input) {
      const auto& from = done_[static_cast<size_t>(input->stage)].arms;
      inputs.clear();
      for (const int arm : input->arms) inputs.push_back(&from[static_cast<size_t>(arm)]);
      first = from.data();
    }
    return product(choices, inputs, [&](const Choice& choice, const Arm* from) {
      Arm arm = own_arm(choice);
      if (from == nullptr) return arm;
      arm.input_point = static_cast<int>(from - first);
      auto axes = inherited(*from, input->selected, kind);
      arm.axes.insert(arm.axes.begin(), axes.begin(), axes.end());
      return arm;
    });
  }

  static Arm own_arm(const Choice& choice) {
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

  /// The input's axes as columns; "scores_" stands before a name this kind has a parameter or
  /// column of.
  static std::vector<std::pair<std::string, Field>> inherited(const Arm& from,
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

  const Spec& spec_;
  std::span<const Kind> kinds_;
  std::vector<Problem>& problems_;
  std::vector<CheckedStage> done_;  // of the stages before this one
  std::string path_;                // of this one
};

}  // namespace

std::vector<CheckedStage> check_stages(const Spec& spec, std::span<const Kind> kinds,
                                       std::vector<Problem>& problems) {
  return Checker(spec, kinds, problems).all();
}

std::string stage_path(size_t stage) { return "stage[" + std::to_string(stage) + "]"; }

Position place_of(const StageSpec& stage, const std::string& key) {
  const auto* member = find_member(stage.keys, key);
  return member == nullptr ? stage.at : member->at;
}

}  // namespace headcount::experiments
