// Text from a model: what it writes after, or into, a prompt.
#include "models/generate.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "experiments/datasets/addition.h"
#include "experiments/run/unmask.h"
#include "models/tokenizers/tokenizer.h"
#include "worker/runner/commands.h"
#include "worker/runner/inputs.h"

namespace headcount::runner {
namespace {

using models::Config;
namespace addition = datasets::addition;
constexpr std::string_view kAdditionText =
    "0123456789+=";  // token i of the addition task is character i

bool writes_sums(const models::ModelFiles& files) {
  return files.tokenizer.empty() && files.config.vocab_size == addition::kVocabSize &&
         files.config.mask_id == addition::kMask;
}

std::vector<int32_t> prompt_ids(const GenerateOptions& options, const models::ModelFiles& files) {
  const Config& config = files.config;
  if (!options.ids.empty()) {
    for (const int32_t id : options.ids) {
      if (id < 0 || id >= config.vocab_size)
        throw BadInput("--ids: " + std::to_string(id) + " is outside the vocabulary of " +
                       options.model + ", 0 to " + std::to_string(config.vocab_size - 1));
    }
    return options.ids;
  }
  if (writes_sums(files)) {
    std::vector<int32_t> ids;
    for (const char c : options.prompt) {
      const size_t id = kAdditionText.find(c);
      if (id == std::string_view::npos)
        throw BadInput("--prompt: " + options.model +
                       " reads digits, '+' and '=' only, for example 1234+4321=");
      ids.push_back(static_cast<int32_t>(id));
    }
    return ids;
  }
  if (files.tokenizer.empty())
    throw BadInput(options.model + " has no tokenizer file: give token ids with --ids");
  return input(
      [&] { return models::Tokenizer::open(files.tokenizer).encode(options.prompt, true); });
}

std::string text_of(const std::vector<int32_t>& ids, const models::ModelFiles& files) {
  if (!files.tokenizer.empty()) return models::Tokenizer::open(files.tokenizer).decode(ids);
  std::string text;
  const bool sums = writes_sums(files);
  for (const int32_t id : ids) {
    if (sums)
      text += static_cast<size_t>(id) < kAdditionText.size()
                  ? kAdditionText[static_cast<size_t>(id)]
                  : '?';
    else
      text += (text.empty() ? "" : " ") + std::to_string(id);
  }
  return text;
}

std::vector<int32_t> unmasked(const models::Model& model, std::vector<int32_t> ids,
                              int64_t tokens) {
  experiments::Example example{.ids = std::move(ids), .position = {}, .target = {}};
  const auto mask_id = static_cast<int32_t>(model.config.mask_id);
  for (int64_t i = 0; i < tokens; ++i) {
    example.position.push_back(static_cast<int32_t>(example.ids.size()));
    example.target.push_back(mask_id);
    example.ids.push_back(mask_id);
  }
  return experiments::unmask(model, {std::move(example)},
                             {.mask_id = mask_id,
                              .micro_batch = 1,
                              .gates = [](size_t) { return at::Tensor(); },
                              .progress = [](double) {}})
      .front();
}

}  // namespace

int generate(const GenerateOptions& options) {
  const Opened opened = open(options.model, options.dtype, options.compute);
  const Config& config = opened.files.config;
  std::vector<int32_t> ids = prompt_ids(options, opened.files);
  if (ids.empty())
    throw BadInput("the prompt is empty: " + options.model + " needs at least one token");
  const int64_t tokens = options.tokens >= 0         ? options.tokens
                         : writes_sums(opened.files) ? addition::kAnswerSize
                                                     : 100;
  const auto longest = static_cast<int64_t>(ids.size()) + (config.causal ? 0 : tokens);
  if (longest > config.max_positions)
    throw BadInput("prompt and answer take " + std::to_string(longest) + " positions, " +
                   options.model + " has " + std::to_string(config.max_positions));
  ids = config.causal ? models::greedy(opened.model, ids, tokens)
                      : unmasked(opened.model, std::move(ids), tokens);
  const std::string text = text_of(ids, opened.files);
  if (options.format == "json")
    std::printf("%s\n", nlohmann::ordered_json{{"text", text}, {"ids", ids}}
                            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                            .c_str());
  else
    std::printf("%s\n", text.c_str());
  return 0;
}

}  // namespace headcount::runner
