#include "models/tokenizers/pipeline/added_tokens.h"

#include <algorithm>

#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Vocabulary& vocabulary,
                         const std::vector<Normalizer>& normalizers, const std::string& file)
    : tokens_(std::move(tokens)) {
  const auto refuse = [&](const AddedToken& token, const std::string& what) {
    throw Error(file + " gives the added token \"" + token.content + "\" the id " +
                std::to_string(token.id) + ", but " + what);
  };
  // Of two tokens that normalize alike the special one is found.
  std::stable_partition(tokens_.begin(), tokens_.end(),
                        [](const AddedToken& token) { return token.special; });
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    const auto known = vocabulary.id(token.content);
    if (known && *known != token.id) refuse(token, "its vocabulary " + std::to_string(*known));
    if (const std::string* other = vocabulary.token(token.id); !known && other != nullptr)
      refuse(token, "that is \"" + *other + "\" in its vocabulary");
    if (!by_content_.emplace(token.content, i).second) refuse(token, "that token is given twice");
    if (const auto [entry, fresh] = by_id_.emplace(token.id, i); !fresh)
      refuse(token, "that is \"" + tokens_[entry->second].content + "\" too");
    size_ = std::max(size_, int64_t{token.id} + 1);
    if (token.special) special_.insert(token.content);
    if (token.single_word && !word_) word_.emplace("\\w", file);
    if (token.normalized)
      normalized_.add(models::normalized(normalizers, token.content), i);
    else
      raw_.add(token.content, i);
  }
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool normalized) const {
  const Trie& trie = normalized ? normalized_ : raw_;
  std::vector<Part> parts;
  size_t begin_of_rest = 0;
  const auto in_word = [&](size_t from) {
    return word_->find(text.substr(from, utf8::size_of(text[from])), 0).has_value();
  };
  const auto stands_alone = [&](size_t begin, size_t end) {
    size_t before = begin;
    if (begin > 0) utf8::previous(text, before);
    return (begin == 0 || !in_word(before)) && (end == text.size() || !in_word(end));
  };
  for (size_t at = 0; at < text.size() && !trie.empty();) {
    const auto found = trie.longest(text.substr(at));
    if (!found) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[found->second];
    size_t begin = at, end = at + found->first;
    at = end;
    if (token.single_word && !stands_alone(begin, end)) continue;
    if (token.lstrip) {
      for (size_t before = begin; begin > begin_of_rest; begin = before) {
        if (!unicode::is_white_space(utf8::previous(text, before))) break;
      }
    }
    if (token.rstrip) {
      for (size_t behind = end; end < text.size(); end = behind) {
        if (!unicode::is_white_space(utf8::next(text, behind))) break;
      }
    }
    if (begin_of_rest < begin) parts.push_back({begin_of_rest, begin, nullptr});
    parts.push_back({begin, end, &token});
    begin_of_rest = end;
  }
  if (begin_of_rest < text.size()) parts.push_back({begin_of_rest, text.size(), nullptr});
  return parts;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto entry = by_id_.find(id);
  return entry == by_id_.end() ? nullptr : &tokens_[entry->second];
}

std::optional<int32_t> AddedTokens::id(std::string_view content) const {
  const auto entry = by_content_.find(std::string(content));
  if (entry == by_content_.end()) return std::nullopt;
  return tokens_[entry->second].id;
}

void AddedTokens::Trie::add(std::string_view text, uint32_t token) {
  if (text.empty()) return;
  if (tokens_.empty()) tokens_.push_back(kNone);
  uint32_t node = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (const auto* child = edges_.find(node, byte)) {
      node = child->first;
      continue;
    }
    const auto made = static_cast<uint32_t>(tokens_.size());
    edges_.set(node, byte, {made, 0});
    tokens_.push_back(kNone);
    node = made;
  }
  if (tokens_[node] == kNone) tokens_[node] = token;
}

std::optional<std::pair<size_t, uint32_t>> AddedTokens::Trie::longest(std::string_view text) const {
  std::optional<std::pair<size_t, uint32_t>> best;
  uint32_t node = 0;
  for (size_t n = 0; n < text.size(); ++n) {
    const auto* child = edges_.find(node, static_cast<unsigned char>(text[n]));
    if (child == nullptr) break;
    node = child->first;
    if (tokens_[node] != kNone) best = {n + 1, tokens_[node]};
  }
  return best;
}

}  // namespace headcount::models
