// Long words (a whole text, where a tokenizer has no pre-tokenizer) are cut where no merge reaches
// across, so that their parts come from the cache.
#include "models/tokenizers/bpe.h"

#include <cstdio>
#include <optional>

#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr size_t kLongestUncut = 16;  // bytes

}  // namespace

Bpe::Bpe(Vocabulary vocabulary, Merges merges, BpeOptions options)
    : vocabulary_(std::move(vocabulary)),
      merges_(std::move(merges)),
      options_(std::move(options)),
      may_cut_(options_.continuing_prefix.empty() && options_.end_suffix.empty()) {
  low_symbols_.fill(-1);
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    const std::string* token = vocabulary_.token(id);
    if (token == nullptr || token->empty() || utf8::size_of((*token)[0]) != token->size()) continue;
    size_t at = 0;
    const char32_t c = utf8::next(*token, at);
    if (c < low_symbols_.size())
      low_symbols_[c] = id;
    else
      high_symbols_.set(c, 0, {static_cast<uint32_t>(id), 0});
  }
  for (size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    byte_ids_[byte] = options_.byte_fallback ? vocabulary_.id(name).value_or(-1) : -1;
  }
  if (!may_cut_) return;
  merges_.each([&](uint32_t left, uint32_t right) {
    junctions_.join(*vocabulary_.token(static_cast<int32_t>(left)),
                    *vocabulary_.token(static_cast<int32_t>(right)));
  });
}

int32_t Bpe::symbol(char32_t code_point) const {
  if (code_point < low_symbols_.size()) return low_symbols_[code_point];
  const auto* found = high_symbols_.find(code_point, 0);
  return found == nullptr ? -1 : static_cast<int32_t>(found->first);
}

void Bpe::encode(std::string_view word, BpeWorkspace& work, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  if (options_.ignore_merges) {
    if (const auto whole = vocabulary_.id(word)) {
      ids.push_back(*whole);
      return;
    }
  }
  if (!may_cut_ || word.size() <= kLongestUncut) return encode_part(word, work, ids);
  size_t begin = 0, at = 0;
  char32_t left = utf8::next(word, at);
  bool left_known = symbol(left) >= 0;
  while (at < word.size()) {
    const size_t cut = at;
    const char32_t right = utf8::next(word, at);
    const bool right_known = symbol(right) >= 0;
    if (left_known && right_known && !junctions_.joined(left, right)) {
      encode_part(word.substr(begin, cut - begin), work, ids);
      begin = cut;
    }
    left = right;
    left_known = right_known;
  }
  encode_part(word.substr(begin), work, ids);
}

void Bpe::encode_part(std::string_view part, BpeWorkspace& work, std::vector<int32_t>& ids) const {
  const bool keep = part.size() <= WordCache::kMaxWordBytes;
  if (keep) {
    if (const auto known = work.cache.find(part)) {
      ids.insert(ids.end(), known->begin(), known->end());
      return;
    }
  }
  first_symbols(part, work.symbols);
  merge(merges_, work.symbols, work.merge);
  ids.insert(ids.end(), work.symbols.begin(), work.symbols.end());
  if (keep) work.cache.insert(part, work.symbols);
}

void Bpe::first_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  symbols.clear();
  bool unk_waits = false;  // an unknown token not yet written: the next may join it
  const auto flush = [&] {
    if (unk_waits) symbols.push_back(options_.unk);
    unk_waits = false;
  };
  std::string affixed;
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    const char32_t c = utf8::next(word, at);
    std::string_view bytes = word.substr(begin, at - begin);
    int32_t id = -1;
    if (may_cut_) {
      id = symbol(c);
    } else {
      affixed = begin == 0 ? "" : options_.continuing_prefix;
      affixed += bytes;
      if (at == word.size()) affixed += options_.end_suffix;
      bytes = affixed;
      id = vocabulary_.id(bytes).value_or(-1);
    }
    if (id >= 0) {
      flush();
      symbols.push_back(id);
      continue;
    }
    bool has_bytes = options_.byte_fallback;
    for (const char byte : bytes) has_bytes &= byte_ids_[static_cast<unsigned char>(byte)] >= 0;
    if (has_bytes) {
      for (const char byte : bytes) symbols.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    } else if (options_.unk >= 0) {
      if (!options_.fuse_unk) flush();
      unk_waits = true;
    } else if (!options_.missing_unk.empty()) {
      throw Error(options_.missing_unk);
    }
  }
  flush();
}

}  // namespace headcount::models
