// Part of worker/runner/commands.h.
// Text from a model: what it writes after, or into, a prompt.
#include "models/generate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "experiments/datasets/addition.h"
#include "worker/runner/commands.h"
#include "worker/runner/generate_prompt.h"
#include "worker/runner/inputs.h"

namespace headcount::runner {
namespace {

using models::Config;
using Ids = std::vector<int32_t>;

enum class Way { kCausal, kLlada, kDream };

Way way_of(const Config& config) {
  return config.causal ? Way::kCausal : config.shifted ? Way::kDream : Way::kLlada;
}

void need_finite(const GenerateOptions& o) {
  const std::pair<const char*, std::optional<double>> numbers[] = {{"--temperature", o.temperature},
                                                                   {"--top-p", o.top_p},
                                                                   {"--cfg-scale", o.cfg_scale},
                                                                   {"--alg-temp", o.alg_temp},
                                                                   {"--eps", o.eps}};
  for (const auto& [name, value] : numbers) {
    if (value && !std::isfinite(*value)) throw BadInput(std::string(name) + " is no finite number");
  }
}

/// A flag given for a way of decoding that has no such thing would be silently without effect.
void refuse_foreign(const GenerateOptions& o, Way way) {
  const bool causal = way == Way::kCausal, llada = way == Way::kLlada, dream = way == Way::kDream;
  const std::tuple<const char*, bool, bool> flags[] = {
      {"--top-p", o.top_p.has_value(), causal || dream},
      {"--top-k", o.top_k.has_value(), causal || dream},
      {"--steps", o.steps.has_value(), llada || dream},
      {"--block-length", o.block_length.has_value(), llada},
      {"--remasking", !o.remasking.empty(), llada},
      {"--cfg-scale", o.cfg_scale.has_value(), llada},
      {"--logits-eos-inf", o.logits_eos_inf, llada},
      {"--confidence-eos-eot-inf", o.confidence_eos_eot_inf, llada},
      {"--alg", !o.alg.empty(), dream},
      {"--alg-temp", o.alg_temp.has_value(), dream},
      {"--eps", o.eps.has_value(), dream}};
  for (const auto& [name, given, known] : flags) {
    if (given && !known)
      throw BadInput(std::string(name) + " has no meaning for " + o.model + ", which " +
                     (causal  ? "writes one token after the other"
                      : llada ? "fills in masks as LLaDA does"
                              : "fills in masks as Dream does"));
  }
}

/// Prints what can no longer change, as it comes.
class Stream {
 public:
  Stream(const Words& words, const Ids& prompt, bool answer_alone, std::vector<int64_t> stop_ids)
      : decoder_(words.stream()), stop_ids_(std::move(stop_ids)), n_settled_(prompt.size()) {
    if (!answer_alone) {
      for (const int32_t id : prompt) show(decoder_.push(id));
    }
  }
  void push(int32_t id) { show(decoder_.push(id)); }
  /// Whatever stands before the first mask.
  void push_settled(const Ids& ids, int64_t mask_id) {
    for (; n_settled_ < ids.size() && ids[n_settled_] != mask_id && !ended_; ++n_settled_) {
      const int32_t id = ids[n_settled_];
      ended_ = std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end();
      if (!ended_) push(id);
    }
  }
  void finish() { show(decoder_.finish() + "\n"); }

 private:
  static void show(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
  models::StreamDecoder decoder_;
  std::vector<int64_t> stop_ids_;
  size_t n_settled_;
  bool ended_ = false;
};

struct Task {
  const GenerateOptions& options;
  const models::Model& model;
  const Words& words;
  const Ids& prompt;
  int64_t n_new;
  Stream* stream;  // or none

  void share(models::DecodeOptions& o) const {
    o.n_new = n_new;
    o.seed = options.seed;
  }
  models::Stepped stepped() const {
    if (stream == nullptr) return {};
    return [this](double, const models::Texts& texts) {
      stream->push_settled(texts.front(), model.config.mask_id);
    };
  }
};

Ids continued(const Task& task) {
  models::CausalOptions o;
  task.share(o);
  o.sampling = {.temperature = task.options.temperature.value_or(0),
                .top_k = task.options.top_k.value_or(0),
                .top_p = task.options.top_p.value_or(1)};
  o.stop_ids = task.words.stop_ids();
  if (task.stream != nullptr) o.written = [&](size_t, int32_t id) { task.stream->push(id); };
  return models::continue_texts(task.model, {task.prompt}, o).front();
}

Ids filled_as_llada(const Task& task) {
  const GenerateOptions& given = task.options;
  models::LladaOptions o;
  task.share(o);
  o.block_length = given.block_length.value_or(task.n_new % 32 == 0 ? 32 : task.n_new);
  o.steps = given.steps.value_or(task.n_new);
  o.temperature = given.temperature.value_or(0);
  o.cfg_scale = given.cfg_scale.value_or(0);
  if (given.remasking == "random") o.remasking = models::Remasking::kRandom;
  o.logits_eos_inf = given.logits_eos_inf;
  o.confidence_eos_eot_inf = given.confidence_eos_eot_inf;
  o.eos_id = task.model.config.eos_id;
  o.eot_id = task.words.end_of_turn();
  if ((o.logits_eos_inf || o.confidence_eos_eot_inf) && o.eos_id < 0)
    throw BadInput(given.model + " names no end-of-text token (eos_token_id of config.json)");
  o.stepped = task.stepped();
  return models::llada_generate(task.model, {task.prompt}, o).front();
}

Ids filled_as_dream(const Task& task) {
  const GenerateOptions& given = task.options;
  models::DreamOptions o;
  task.share(o);
  o.steps = given.steps.value_or(task.n_new);
  o.eps = given.eps.value_or(1e-3);
  o.order = given.alg == "origin"         ? models::DreamOrder::kOrigin
            : given.alg == "maskgit_plus" ? models::DreamOrder::kMaskgitPlus
            : given.alg == "topk_margin"  ? models::DreamOrder::kTopkMargin
                                          : models::DreamOrder::kEntropy;
  o.sampling = {.temperature = given.temperature.value_or(0.1),
                .top_k = given.top_k.value_or(0),
                .top_p = given.top_p.value_or(0.9)};
  o.alg_temp = given.alg_temp.value_or(0);
  o.stepped = task.stepped();
  return models::dream_generate(task.model, {task.prompt}, o).front();
}

/// The sequence up to the first stop token of the answer.
Ids cut(Ids ids, size_t n_prompt, const std::vector<int64_t>& stop_ids) {
  const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(n_prompt);
  const auto end = std::find_first_of(begin, ids.end(), stop_ids.begin(), stop_ids.end());
  ids.erase(end, ids.end());
  return ids;
}

void print(const GenerateOptions& options, const Words& words, const Ids& ids, const Ids& shown,
           size_t n_prompt) {
  const Ids answer(shown.begin() + static_cast<std::ptrdiff_t>(n_prompt), shown.end());
  const std::string text = words.text(options.chat ? answer : shown);
  if (options.format != "json") {
    std::printf("%s\n", text.c_str());
    return;
  }
  const nlohmann::ordered_json out{
      {"text", text}, {"answer", words.text(answer)}, {"n_prompt", n_prompt}, {"ids", ids}};
  std::printf("%s\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

int generate(const GenerateOptions& options) {
  if (options.stream && options.format == "json")
    throw BadInput("--stream prints text as it comes: it cannot be one JSON object");
  need_finite(options);
  const Opened opened = open(options.model, options.dtype, options.compute);
  const Config& config = opened.files.config;
  const Way way = way_of(config);
  refuse_foreign(options, way);
  const Words words(options, opened.files);
  const Ids prompt = words.prompt();
  if (prompt.empty())
    throw BadInput("the prompt is empty: " + options.model + " needs at least one token");
  const int64_t n_new = options.tokens >= 0   ? options.tokens
                        : words.writes_sums() ? datasets::addition::kAnswerSize
                        : config.causal       ? 100
                                              : 128;
  const auto longest = static_cast<int64_t>(prompt.size()) + (config.causal ? 0 : n_new);
  if (longest > config.max_positions)
    throw BadInput("prompt and answer take " + std::to_string(longest) + " positions, " +
                   options.model + " has " + std::to_string(config.max_positions) +
                   ": ask for fewer (--tokens) or shorten the prompt");
  const std::vector<int64_t> stop_ids = words.stop_ids();
  std::optional<Stream> stream;
  if (options.stream) stream.emplace(words, prompt, options.chat, stop_ids);
  const Task task{.options = options,
                  .model = opened.model,
                  .words = words,
                  .prompt = prompt,
                  .n_new = n_new,
                  .stream = stream ? &*stream : nullptr};
  const Ids ids = read_input([&] {
    return n_new == 0            ? prompt
           : way == Way::kCausal ? continued(task)
           : way == Way::kLlada  ? filled_as_llada(task)
                                 : filled_as_dream(task);
  });
  if (stream)
    stream->finish();
  else
    print(options, words, ids, cut(ids, prompt.size(), stop_ids), prompt.size());
  return 0;
}

}  // namespace headcount::runner
