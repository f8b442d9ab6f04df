#include "models/tokenizers/pipeline/wordpiece.h"

#include <algorithm>

#include "models/tokenizers/utf8.h"

namespace headcount::models {

WordPiece::WordPiece(Vocabulary vocabulary, WordPieceOptions options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    if (const std::string* token = vocabulary_.token(id))
      longest_ = std::max(longest_, token->size());
  }
}

void WordPiece::encode(std::string_view word, std::vector<int32_t>& ids) const {
  if (utf8::length(word) > options_.max_word_code_points) {
    ids.push_back(options_.unk);
    return;
  }
  const size_t n_before = ids.size();
  std::string candidate;
  for (size_t begin = 0; begin < word.size();) {
    candidate = begin == 0 ? "" : options_.continuing_prefix;
    const size_t n_prefix = candidate.size();
    candidate += word.substr(begin, longest_);
    while (candidate.size() > n_prefix) {
      if (const auto id = vocabulary_.id(candidate)) {
        ids.push_back(*id);
        break;
      }
      while ((static_cast<unsigned char>(candidate.back()) & 0xC0) == 0x80) candidate.pop_back();
      candidate.pop_back();
    }
    if (candidate.size() <= n_prefix) {
      ids.resize(n_before);
      ids.push_back(options_.unk);
      return;
    }
    begin += candidate.size() - n_prefix;
  }
}

}  // namespace headcount::models
