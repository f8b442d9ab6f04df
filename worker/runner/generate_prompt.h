// What `generate` reads and writes: the prompt as token ids, tokens as text.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/files/config.h"
#include "models/tokenizers/tokenizer.h"
#include "worker/runner/commands.h"

namespace headcount::runner {

/// The model's tokenizer, or digits, '+' and '=' of the addition task, or bare numbers.
class Words {
 public:
  Words(const GenerateOptions& options, const models::ModelFiles& files);

  /// Throws BadInput for a prompt that cannot be had or is not for this model.
  std::vector<int32_t> prompt() const;
  std::string text(const std::vector<int32_t>& ids) const;
  /// Ids that end an answer: those of config.json, of a chat's end of turn, of --stop.
  std::vector<int64_t> stop_ids() const;
  /// The end-of-turn token, -1 where the tokenizer has none.
  int64_t end_of_turn() const;
  bool writes_sums() const;
  /// Throws BadInput where there is no tokenizer.
  models::StreamDecoder stream() const;

 private:
  std::vector<int32_t> checked_ids() const;
  std::vector<int32_t> sum_ids(const std::string& text) const;
  std::string chat_text(const std::string& said) const;

  const GenerateOptions& options_;
  const models::ModelFiles& files_;
  std::optional<models::Tokenizer> tokenizer_;
};

}  // namespace headcount::runner
