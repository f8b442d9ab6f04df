// Tokens found in a text before anything else is done to it: the longest first, leftmost first.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "models/tokenizers/pipeline/normalizer.h"
#include "models/tokenizers/vocabulary.h"

namespace headcount::models {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;             // not inside a word
  bool lstrip = false, rstrip = false;  // takes the white space beside it
  bool normalized = false;              // found in the normalized text
  bool special = false;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  /// Throws Error, beginning with `file`, for an id or a text that the vocabulary or another added
  /// token uses otherwise.
  AddedTokens(std::vector<AddedToken> tokens, const Vocabulary& vocabulary,
              const std::vector<Normalizer>& normalizers, const std::string& file);

  struct Part {
    size_t begin = 0, end = 0;
    const AddedToken* token = nullptr;  // null: text between
  };
  /// The parts of a raw text, or of a normalized one.
  std::vector<Part> split(std::string_view text, bool normalized) const;

  const AddedToken* find(int32_t id) const;
  std::optional<int32_t> id(std::string_view content) const;
  bool is_special(std::string_view content) const {
    return special_.contains(std::string(content));
  }
  /// One more than the largest id, 0 without tokens.
  int64_t size() const { return size_; }

 private:
  /// All tokens of one kind by their bytes.
  class Trie {
   public:
    void add(std::string_view text, uint32_t token);
    /// The longest token `text` begins with: its bytes and number.
    std::optional<std::pair<size_t, uint32_t>> longest(std::string_view text) const;
    bool empty() const { return tokens_.empty(); }

   private:
    static constexpr uint32_t kNone = 0xFFFFFFFF;
    PairMap edges_;                 // (node, byte) -> node
    std::vector<uint32_t> tokens_;  // of each node
  };

  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, uint32_t> by_id_;
  std::unordered_map<std::string, uint32_t> by_content_;
  std::unordered_set<std::string> special_;
  Trie raw_, normalized_;
  std::optional<Regex> word_;  // one code point of a word, where a token asks
  int64_t size_ = 0;
};

}  // namespace headcount::models
