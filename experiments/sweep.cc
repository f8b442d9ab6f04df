// prepare(): a checked spec becomes points with models and datasets behind them; shards by number;
// scores put in.
#include "experiments/sweep.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "experiments/check.h"
#include "models/files/fingerprint.h"
#include "schemas/error.h"

namespace headcount::experiments {

namespace {

constexpr size_t kMaxProblems = 1000;
constexpr std::string_view kBuiltin = "builtin:";

std::string resolved(const std::string& path, const std::string& root) {
  if (path.starts_with(kBuiltin) || path.starts_with("/") || root.empty()) return path;
  return (std::filesystem::path(root) / path).lexically_normal().string();
}

std::string gigabytes(uint64_t n_bytes) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", static_cast<double>(n_bytes) / 1e9);
  return text.data();
}

/// Opens what the stages use; each model once, each dataset once per model.
class Opener {
 public:
  Opener(const std::string& root, const Reading& reading, Sweep& sweep,
         std::vector<Problem>& problems)
      : root_(root), reading_(reading), sweep_(sweep), problems_(problems) {
    check_datasets();
  }

  /// nullptr after a problem (said once).
  const ModelInfo* model(const std::string& name) {
    const auto [entry, is_new] = models_.try_emplace(name);
    if (is_new) entry->second = open(name);
    return entry->second.info;
  }

  const datasets::Dataset* dataset(const std::string& name, const std::string& model_name) {
    const auto [entry, is_new] = loaded_.try_emplace({name, model_name}, nullptr);
    if (is_new && usable_.contains(name) && model(model_name) != nullptr) {
      entry->second = load(name, model_name);
    }
    return entry->second;
  }

 private:
  struct Opened {
    const ModelInfo* info = nullptr;
    models::ModelFiles files;
  };

  void complain(Position at, const std::string& key, const std::string& message) {
    problems_.push_back({sweep_.spec.file, at, key, message});
  }

  /// The tasks' own keys, of used and unused datasets alike.
  void check_datasets() {
    const auto tasks = datasets::task_names();
    for (size_t i = 0; i < sweep_.spec.datasets.size(); ++i) {
      const DatasetSpec& spec = sweep_.spec.datasets[i];
      const size_t before = problems_.size();
      if (std::find(tasks.begin(), tasks.end(), spec.task) != tasks.end()) {
        datasets::check(spec, i, sweep_.spec.file, problems_);
      } else if (!spec.task.empty()) {
        complain_of_task(spec, tasks);
      }
      if (!spec.task.empty() && problems_.size() == before) usable_.insert(spec.name);
    }
  }

  void complain_of_task(const DatasetSpec& spec, const std::vector<std::string>& tasks) {
    const std::string near = closest(spec.task, tasks);
    std::string there;
    for (const auto& task : tasks) there += (there.empty() ? "\"" : ", \"") + task + "\"";
    const auto* member = find_member(spec.keys, "task");
    complain(member->at, "datasets." + key_text(spec.name) + ".task",
             "no task is named " + to_text(member->value) +
                 (near.empty() ? "; there are " + there : "; did you mean \"" + near + "\"?"));
  }

  Opened open(const std::string& name) {
    const auto& specs = sweep_.spec.models;
    const auto spec =
        std::find_if(specs.begin(), specs.end(), [&](const auto& one) { return one.name == name; });
    if (spec == specs.end() || spec->path.empty()) return {};  // said already
    Opened opened;
    try {
      const std::string path = resolved(spec->path, root_);
      const bool builtin = path.starts_with(kBuiltin);
      opened.files = models::open_model(builtin ? path : allowed_directory(reading_.allowed, path));
      auto info = std::make_unique<ModelInfo>();
      info->name = name;
      info->path = path;
      info->fingerprint = models::fingerprint(opened.files, [&](uint64_t done, uint64_t total) {
        reading_.tell("model " + name + ": " + gigabytes(done) + " of " + gigabytes(total) + " GB");
      });
      info->dtype = spec->dtype;
      info->config = opened.files.config;
      opened.info = info.get();
      sweep_.models.push_back(std::move(info));
    } catch (const Error& error) {
      complain(spec->path_at, "models." + key_text(name) + ".path", error.what());
    }
    return opened;
  }

  const datasets::Dataset* load(const std::string& name, const std::string& model_name) {
    const auto& specs = sweep_.spec.datasets;
    const auto spec =
        std::find_if(specs.begin(), specs.end(), [&](const auto& one) { return one.name == name; });
    try {
      reading_.tell("dataset " + name);
      datasets::Dataset dataset =
          datasets::load(allowed(*spec), sweep_.spec.seed, models_.at(model_name).files, root_);
      sweep_.datasets.push_back(
          reading_.shared != nullptr
              ? reading_.shared->share(std::move(dataset))
              : std::make_shared<const datasets::Dataset>(std::move(dataset)));
      return sweep_.datasets.back().get();
    } catch (const Error& error) {
      const auto* path = find_member(spec->keys, "path");
      const std::string table = "datasets." + key_text(name);
      complain(path == nullptr ? spec->at : path->at, path == nullptr ? table : table + ".path",
               error.what());
      return nullptr;
    }
  }

  /// With its path, where it has one, as it may be opened.
  DatasetSpec allowed(DatasetSpec spec) const {
    for (auto& member : spec.keys) {
      auto* path = std::get_if<std::string>(&member.value.data);
      if (member.key == "path" && path != nullptr)
        *path = allowed_file(reading_.allowed, resolved(*path, root_));
    }
    return spec;
  }

  const std::string& root_;
  const Reading& reading_;
  Sweep& sweep_;
  std::vector<Problem>& problems_;
  std::set<std::string> usable_;
  std::map<std::string, Opened> models_;
  std::map<std::pair<std::string, std::string>, const datasets::Dataset*> loaded_;
};

/// A point with its model and dataset, either of which may be missing after a problem.
Point point(const UnopenedPoint& unopened, const CheckedStage& checked, uint64_t seed,
            Opener& opener) {
  Point made;
  made.model = opener.model(unopened.model);
  made.dataset = opener.dataset(unopened.dataset, unopened.model);
  made.values = unopened.values;
  made.seed = seed;
  made.micro_batch = checked.micro_batch;
  made.columns = {{"model", unopened.model}, {"dataset", unopened.dataset}};
  made.column_order = {"model", "dataset"};
  for (const auto& [name, value] : unopened.axes) {
    made.columns.emplace(name, value);
    made.column_order.push_back(name);
  }
  return made;
}

/// Points of one stage; those without model, dataset or input are left out, as problems have been
/// said.
Stage make_stage(size_t index, const CheckedStage& checked, Sweep& sweep, Opener& opener) {
  const StageSpec& spec = sweep.spec.stages[index];
  Stage stage;
  stage.name = spec.name;
  stage.kind = checked.kind;
  stage.input = checked.input;
  stage.allow_missing = checked.allow_missing;
  for (const auto& unopened : checked.points) {
    Point made = point(unopened, checked, sweep.spec.seed, opener);
    if (checked.input >= 0) {
      const auto& from = sweep.stages[static_cast<size_t>(checked.input)];
      const auto& read = from.points[static_cast<size_t>(unopened.input_point)];
      made.scores =
          Scores{.stage = from.name, .value = {}, .dataset = read.dataset, .values = read.values};
    }
    stage.points.push_back(std::move(made));
    stage.input_point.push_back(unopened.input_point);
  }
  return stage;
}

/// Whether the kind can be asked: it relies on required values, and on its input's being what was
/// meant.
bool can_check(const CheckedStage& checked, const std::vector<CheckedStage>& all) {
  if (checked.kind == nullptr || checked.points.empty()) return false;
  if (checked.kind->must_read && checked.input < 0) return false;
  if (checked.input >= 0 && !all[static_cast<size_t>(checked.input)].clean) return false;
  const Fields& values = checked.points.front().values;
  return std::all_of(checked.kind->params.begin(), checked.kind->params.end(),
                     [&](const ParamInfo& info) {
                       return !info.required || values.contains(std::string(info.name));
                     });
}

/// What the kind itself says of its points: each sentence once, and nothing of a key that is
/// refused already.
void check_points(const Stage& stage, size_t index, const Spec& spec,
                  std::vector<Problem>& problems) {
  const StageSpec& written = spec.stages[index];
  const std::string path = stage_path(index) + ".";
  std::set<std::string> refused;
  for (const auto& problem : problems)
    refused.insert(problem.key.substr(0, problem.key.rfind('[')));
  for (const auto& problem : problems) refused.insert(problem.key);
  std::set<std::pair<std::string, std::string>> said;
  for (const auto& point : stage.points) {
    if (point.model == nullptr || point.dataset == nullptr) continue;
    stage.kind->check(point, [&](const std::string& key, const std::string& message) {
      if (refused.contains(path + key) || !said.emplace(key, message).second) return;
      problems.push_back({spec.file, place_of(written, key), path + key, message});
    });
  }
}

/// In the order of the file, each once, at most kMaxProblems: one dataset may fail in the same way
/// for two models.
void put_in_order(std::vector<Problem>& problems) {
  std::stable_sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
    return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
  });
  std::set<std::string> said;
  std::erase_if(problems, [&](const Problem& one) { return !said.insert(to_string(one)).second; });
  if (problems.size() <= kMaxProblems) return;
  const size_t n_more = problems.size() - kMaxProblems;
  problems.resize(kMaxProblems);
  problems.push_back({problems.front().file, problems.back().at, "",
                      "and " + std::to_string(n_more) + " more problems after this one"});
}

}  // namespace

std::span<const ParamInfo> stage_params() {
  static const std::string a_kind = quote(std::string(kinds().front().name));
  static const std::vector<ParamInfo> infos = {
      {.name = "name",
       .type = ParamType::kText,
       .required = true,
       .meaning = "What results, later stages and commands call it; unique in the spec.",
       .example = "\"importance\"",
       .axis = false},
      {.name = "kind",
       .type = ParamType::kText,
       .required = true,
       .meaning = "The kind of experiment.",
       .example = a_kind,
       .axis = false},
      {.name = "model",
       .type = ParamType::kText,
       .meaning = "A name of [models.NAME]. May be left out where the spec defines one only, or "
                  "where `scores` brings the models along.",
       .example = "[\"mha\", \"gqa\"]"},
      {.name = "dataset",
       .type = ParamType::kText,
       .meaning = "A name of [datasets.NAME]. May be left out where the spec defines one only.",
       .example = "\"train\""},
      {.name = "micro_batch",
       .type = ParamType::kInteger,
       .at_least = 1,
       .at_most = 65536,
       .unit = "forward samples",
       .meaning = "Samples computed together. It changes last bits, so it is part of every "
                  "shard's key; absent: a constant of the kind. Halved until it fits the device.",
       .example = "32",
       .axis = false},
      {.name = "allow_missing",
       .type = ParamType::kBool,
       .otherwise = Field(false),
       .meaning = "Go on where the stage that `scores` names is incomplete (quarantined shards); "
                  "otherwise this stage is stopped. Points for which it scored fewer than k "
                  "heads then have no value, and a warning says so.",
       .example = "true",
       .axis = false},
  };
  return infos;
}

Prepared prepare(std::string_view text, const std::string& file, const std::string& root,
                 const Reading& reading) {
  Prepared prepared;
  ParsedSpec parsed = parse_spec(text, file);
  prepared.problems = std::move(parsed.problems);
  if (!parsed.spec) return prepared;

  Sweep sweep;
  sweep.spec = std::move(*parsed.spec);
  const auto checked = check_stages(sweep.spec, kinds(), prepared.problems);
  Opener opener(root, reading, sweep, prepared.problems);
  for (size_t i = 0; i < checked.size(); ++i) {
    sweep.stages.push_back(make_stage(i, checked[i], sweep, opener));
    if (can_check(checked[i], checked))
      check_points(sweep.stages.back(), i, sweep.spec, prepared.problems);
  }
  put_in_order(prepared.problems);
  if (!prepared.problems.empty()) return prepared;
  for (auto& stage : sweep.stages) number_shards(stage);
  prepared.sweep = std::move(sweep);
  return prepared;
}

void number_shards(Stage& stage) {
  stage.first_shard = {0};
  for (const auto& point : stage.points) {
    stage.first_shard.push_back(stage.first_shard.back() + stage.kind->count(point));
  }
}

int64_t count(const Stage& stage) { return stage.first_shard.back(); }

Place place(const Stage& stage, int64_t i) {
  HC_CHECK(i >= 0 && i < count(stage));
  const auto after = std::upper_bound(stage.first_shard.begin(), stage.first_shard.end(), i);
  const auto point = static_cast<size_t>(after - stage.first_shard.begin()) - 1;
  return {point, i - stage.first_shard[point]};
}

Shard shard(const Stage& stage, int64_t i) {
  const Place at = place(stage, i);
  return stage.kind->shard(stage.points[at.point], at.shard);
}

}  // namespace headcount::experiments
