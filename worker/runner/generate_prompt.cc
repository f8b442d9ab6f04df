#include "worker/runner/generate_prompt.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>

#include "experiments/datasets/addition.h"
#include "models/tokenizers/chat_template.h"
#include "worker/runner/inputs.h"

namespace headcount::runner {
namespace {

namespace addition = datasets::addition;
constexpr std::string_view kAdditionText =
    "0123456789+=";  // token i of the addition task is character i

/// Ends of a turn as published vocabularies write them.
constexpr const char* kEndsOfTurn[] = {"<|eot_id|>", "<|im_end|>", "<end_of_turn>"};

constexpr size_t kLargestPrompt = size_t{64} << 20;

std::string read_prompt(const std::string& path) {
  std::string text;
  if (path == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw BadInput("--prompt-file: " + path + " cannot be read");
    text.resize(kLargestPrompt + 1);
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(in.gcount()));
  }
  if (text.size() > kLargestPrompt)
    throw BadInput("--prompt-file: " + path + " is larger than 64 MiB");
  return text;
}

}  // namespace

Words::Words(const GenerateOptions& options, const models::ModelFiles& files)
    : options_(options), files_(files) {
  if (!files.tokenizer.empty())
    tokenizer_ = read_input([&] { return models::Tokenizer::open(files.tokenizer); });
  if (options.chat && !tokenizer_)
    throw BadInput("--chat: " + options.model + " has no tokenizer file");
  if (!options.chat && (!options.system.empty() || !options.chat_template.empty()))
    throw BadInput("--system and --template belong to a conversation: add --chat");
}

bool Words::writes_sums() const {
  return !tokenizer_ && files_.config.vocab_size == addition::kVocabSize &&
         files_.config.mask_id == addition::kMask;
}

std::vector<int32_t> Words::checked_ids() const {
  const int64_t size = files_.config.vocab_size;
  for (const int32_t id : options_.ids) {
    if (id < 0 || id >= size)
      throw BadInput("--ids: " + std::to_string(id) + " is outside the vocabulary of " +
                     options_.model + ", 0 to " + std::to_string(size - 1));
  }
  return options_.ids;
}

std::vector<int32_t> Words::sum_ids(const std::string& text) const {
  std::vector<int32_t> ids;
  for (const char c : text) {
    const size_t id = kAdditionText.find(c);
    if (id == std::string_view::npos)
      throw BadInput("--prompt: " + options_.model +
                     " reads digits, '+' and '=' only, for example 1234+4321=");
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::string Words::chat_text(const std::string& said) const {
  return read_input([&] {
    const models::ChatFormat format = models::chat_format(files_.directory, options_.chat_template);
    std::vector<models::ChatMessage> messages;
    if (!options_.system.empty()) messages.push_back({"system", options_.system});
    messages.push_back({"user", said});
    return models::render_chat(format.name, messages, true, format.bos, format.eos);
  });
}

std::vector<int32_t> Words::prompt() const {
  if (!options_.ids.empty()) {
    if (options_.chat) throw BadInput("--chat needs a text: give --prompt instead of --ids");
    return checked_ids();
  }
  std::string text =
      options_.prompt_file.empty() ? options_.prompt : read_prompt(options_.prompt_file);
  if (writes_sums()) {
    while (text.ends_with('\n')) text.pop_back();
    return sum_ids(text);
  }
  if (!tokenizer_)
    throw BadInput(options_.model + " has no tokenizer file: give token ids with --ids");
  std::vector<int32_t> ids =
      options_.chat ? tokenizer_->encode(chat_text(text)) : tokenizer_->encode(text, true);
  for (const int32_t id : ids) {
    if (id < 0 || id >= files_.config.vocab_size)
      throw BadInput(files_.tokenizer + " gives token id " + std::to_string(id) +
                     ", the model's vocabulary ends at " +
                     std::to_string(files_.config.vocab_size - 1));
  }
  return ids;
}

std::string Words::text(const std::vector<int32_t>& ids) const {
  if (tokenizer_) return tokenizer_->decode(ids, options_.chat);
  std::string text;
  const bool sums = writes_sums();
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

int64_t Words::end_of_turn() const {
  for (const char* token : kEndsOfTurn) {
    const auto id = tokenizer_ ? tokenizer_->id_of(token) : std::nullopt;
    if (id) return *id;
  }
  return -1;
}

std::vector<int64_t> Words::stop_ids() const {
  std::vector<int64_t> ids = files_.config.stop_ids;
  for (const std::string& token : options_.stop) {
    const auto id = tokenizer_ ? tokenizer_->id_of(token) : std::nullopt;
    if (!id)
      throw BadInput("--stop: \"" + token + "\" is no token of " + options_.model +
                     "'s vocabulary");
    ids.push_back(*id);
  }
  if (options_.chat && end_of_turn() >= 0) ids.push_back(end_of_turn());
  return ids;
}

models::StreamDecoder Words::stream() const {
  if (!tokenizer_) throw BadInput("--stream: " + options_.model + " has no tokenizer file");
  return {*tokenizer_, options_.chat};
}

}  // namespace headcount::runner
