// Part of experiments/check.h.
// scores = { stage = "importance", ig_steps = 16 }: which earlier stage a stage reads, and which of
// its points.
#include <algorithm>

#include "experiments/check.h"
#include "experiments/sweep.h"

namespace headcount::experiments {

namespace {

/// The kinds that give it, for messages: "A or B".
std::string givers(Output output) {
  std::string text;
  for (const Kind& kind : kinds()) {
    if (kind.gives == output) text += (text.empty() ? "" : " or ") + std::string(kind.name);
  }
  return text;
}

class InputReader {
 public:
  explicit InputReader(const StageContext& context) : context_(context) {}

  std::optional<StageInput> read(const Kind& kind) {
    wanted_ = kind.reads;
    const StageSpec& spec = context_.written();
    const auto* member = find_member(spec.keys, "scores");
    if (member == nullptr) {
      if (kind.must_read) {
        context_.complain(spec.at, "scores",
                          "required key is missing; write scores = " + scores_form());
      }
      return std::nullopt;
    }
    if (kind.reads == Output::kNone) {
      context_.complain(member->at, "scores",
                        "a stage of kind " + std::string(kind.name) + " reads no scores");
      return std::nullopt;
    }
    const auto* table = std::get_if<Value::Table>(&member->value.data);
    if (table == nullptr) {
      context_.complain(member->at, "scores",
                        "expected a table " + scores_form() + ", found " + to_text(member->value));
      return std::nullopt;
    }
    const int stage = named_stage(*table, member->at);
    if (stage < 0) return std::nullopt;
    return select(*table, stage);
  }

 private:
  /// `scores = { stage = "importance" }`, with the first stage that would do.
  std::string scores_form() const {
    for (size_t i = 0; i < context_.before.size(); ++i) {
      if (gives(i)) {
        return "{ stage = " + quote(context_.name_of(static_cast<int>(i))) + " }";
      }
    }
    return "{ stage = \"NAME\" }, an earlier stage of kind " + givers(wanted_);
  }

  /// Whether that stage is earlier and gives what this one reads.
  bool gives(size_t stage) const {
    return stage < context_.before.size() && context_.before[stage].kind != nullptr &&
           context_.before[stage].kind->gives == wanted_;
  }

  /// The index of the stage that `scores` names, or -1 after a problem.
  int named_stage(const Value::Table& table, Position at) {
    const auto* member = find_member(table, "stage");
    if (member == nullptr) {
      context_.complain(at, "scores.stage", "required key is missing; write " + scores_form());
      return -1;
    }
    const auto* name = std::get_if<std::string>(&member->value.data);
    if (name == nullptr) {
      context_.complain(member->at, "scores.stage",
                        "expected the name of an earlier stage, found " + to_text(member->value));
      return -1;
    }
    std::vector<std::string> able;
    for (size_t i = 0; i < context_.spec.stages.size(); ++i) {
      const StageSpec& other = context_.spec.stages[i];
      if (gives(i)) able.push_back(other.name);
      if (other.name != *name || name->empty()) continue;
      if (gives(i)) return static_cast<int>(i);
      if (i < context_.index && context_.before[i].kind == nullptr) return -1;  // said already
      context_.complain(member->at, "scores.stage",
                        i < context_.index
                            ? "stage " + quote(*name) + " is of kind " + other.kind +
                                  "; scores come from one of kind " + givers(wanted_)
                            : "stage " + quote(*name) + " is not earlier than this one");
      return -1;
    }
    const std::string near = closest(*name, able);
    context_.complain(member->at, "scores.stage",
                      "no earlier stage is named " + quote(*name) +
                          (!near.empty()  ? "; did you mean " + quote(near) + "?"
                           : able.empty() ? "; there is none of kind " + givers(wanted_)
                                          : "; there is " + listed(quoted(able))));
    return -1;
  }

  /// Narrows the points of `stage` by the other keys of `table`.
  StageInput select(const Value::Table& table, int stage) {
    const CheckedStage& from = context_.stage(stage);
    StageInput input{.stage = stage, .points = {}, .selected = {}};
    for (size_t i = 0; i < from.points.size(); ++i) input.points.push_back(static_cast<int>(i));
    std::vector<std::string> known = {"stage", "model", "dataset"};
    for (const auto& info : from.kind->params) known.emplace_back(info.name);
    for (const auto& member : table) {
      if (member.key == "stage") continue;
      if (!contains(known, member.key)) {
        context_.complain(member.at, "scores." + key_text(member.key),
                          unknown_key(member.key, known));
        continue;
      }
      const auto* info = find_info(from.kind->params, member.key);
      narrow(member, info != nullptr ? *info : *find_info(stage_params(), member.key), from, input);
    }
    return input;
  }

  static std::optional<Field> value_of(const UnopenedPoint& point, const std::string& key) {
    if (key == "model") return point.model;
    if (key == "dataset") return point.dataset;
    const auto found = point.values.find(key);
    return found == point.values.end() ? std::nullopt : std::optional(found->second);
  }

  using Wanted = std::vector<std::pair<Field, const Value*>>;

  /// Keeps the points whose `member.key` is one of the values written.
  void narrow(const Value::Member& member, const ParamInfo& info, const CheckedStage& from,
              StageInput& input) {
    const auto* several = as_axis(member.value, info);
    if (several == nullptr) input.selected.insert(member.key);
    const Wanted wanted = read_wanted(member, info, several);
    if (!from.clean) return;  // its values are not all known
    complain_of_absent(member, several != nullptr, wanted, from, input.stage);
    std::erase_if(input.points, [&](int point) {
      const auto value = value_of(from.points[static_cast<size_t>(point)], member.key);
      return std::none_of(wanted.begin(), wanted.end(),
                          [&](const auto& one) { return value && one.first == *value; });
    });
  }

  /// One value, or those of `several`.
  Wanted read_wanted(const Value::Member& member, const ParamInfo& info,
                     const Value::List* several) {
    const std::string key = stage_path(context_.index) + ".scores." + member.key;
    Wanted wanted;
    const auto read_one = [&](const Value& value, Position at) {
      if (auto field = read_param(value, info, at, key, context_.spec.file, context_.problems)) {
        wanted.emplace_back(std::move(*field), &value);
      }
    };
    if (several == nullptr) {
      read_one(member.value, member.at);
    } else if (several->empty() || several->size() > kMaxPoints) {
      context_.complain(member.at, "scores." + member.key,
                        "expected 1 to " + std::to_string(kMaxPoints) +
                            " values, found a list of " + std::to_string(several->size()));
    } else {
      for (const auto& value : *several) read_one(value, value.at);
    }
    return wanted;
  }

  void complain_of_absent(const Value::Member& member, bool several, const Wanted& wanted,
                          const CheckedStage& from, int stage) {
    std::vector<Field> there;
    std::vector<std::string> texts;
    for (const auto& point : from.points) {
      const auto value = value_of(point, member.key);
      if (!value || std::find(there.begin(), there.end(), *value) != there.end()) continue;
      there.push_back(*value);
      texts.push_back(to_json(*value));
    }
    for (const auto& [field, value] : wanted) {
      if (std::find(there.begin(), there.end(), field) != there.end()) continue;
      context_.complain(
          several ? value->at : member.at, "scores." + member.key,
          "stage " + quote(context_.name_of(stage)) + " has no " + member.key + " " +
              to_text(*value) +
              (texts.empty() ? "; it is not set there" : "; it has " + listed(texts)));
    }
  }

  const StageContext& context_;
  Output wanted_ = Output::kNone;
};

}  // namespace

std::optional<StageInput> read_input(const StageContext& context, const Kind& kind) {
  return InputReader(context).read(kind);
}

}  // namespace headcount::experiments
