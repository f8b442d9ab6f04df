// Every way to cut a piece into two becomes a merge ranked by the piece's score, so that merge()
// does the work. A code point that stands only inside pieces gets a number of its own.
#include "models/tokenizers/score_bpe.h"

#include <algorithm>

#include "models/tokenizers/utf8.h"

namespace headcount::models {
namespace {

bool is_one_code_point(std::string_view text) {
  return !text.empty() && utf8::size_of(text[0]) == text.size();
}

}  // namespace

ScoreBpe::ScoreBpe(const std::vector<ScorePiece>& pieces, ScoreBpeOptions options)
    : options_(options), n_pieces_(static_cast<int32_t>(pieces.size())) {
  std::vector<float> scores;
  const auto usable = [](const ScorePiece& piece) {
    return piece.usable && !piece.text.empty() && utf8::is_valid(piece.text);
  };
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (!usable(pieces[i])) continue;
    ids_.emplace(pieces[i].text, static_cast<int32_t>(i));
    scores.push_back(pieces[i].score);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  for (const auto& [text, id] : ids_) {
    size_t at = 0;
    if (is_one_code_point(text)) symbols_.set(utf8::next(text, at), 0, {static_cast<uint32_t>(id)});
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto known = ids_.find(pieces[i].text);
    if (known == ids_.end() || known->second != static_cast<int32_t>(i)) continue;
    const auto rank =
        std::lower_bound(scores.begin(), scores.end(), pieces[i].score, std::greater<>()) -
        scores.begin();
    add_piece(pieces[i].text, static_cast<uint32_t>(rank), static_cast<uint32_t>(i));
  }
  ids_.clear();  // its keys are the caller's
}

void ScoreBpe::add_piece(std::string_view text, uint32_t rank, uint32_t id) {
  size_t at = 0;
  for (char32_t left = utf8::next(text, at); at < text.size();) {
    const size_t cut = at;
    const char32_t right = utf8::next(text, at);
    junctions_.join(left, right);
    left = right;
    const int32_t a = part_id(text.substr(0, cut)), b = part_id(text.substr(cut));
    if (a >= 0 && b >= 0)
      merges_.set(static_cast<uint32_t>(a), static_cast<uint32_t>(b), {rank, id});
  }
}

int32_t ScoreBpe::part_id(std::string_view part) {
  if (const auto known = ids_.find(part); known != ids_.end()) return known->second;
  if (options_.bytes_first || !is_one_code_point(part)) return -1;
  size_t at = 0;
  const char32_t c = utf8::next(part, at);
  if (const auto* known = symbols_.find(c, 0)) return static_cast<int32_t>(known->first);
  const int32_t number = n_pieces_ + static_cast<int32_t>(pieceless_.size());
  symbols_.set(c, 0, {static_cast<uint32_t>(number)});
  pieceless_.push_back(c);
  return number;
}

int32_t ScoreBpe::symbol(char32_t code_point) const {
  const auto* found = symbols_.find(code_point, 0);
  return found == nullptr ? -1 : static_cast<int32_t>(found->first);
}

void ScoreBpe::encode(std::string_view text, BpeWorkspace& work, std::vector<int32_t>& ids) const {
  if (text.empty()) return;
  const auto known = [&](char32_t c) {
    const int32_t id = symbol(c);
    return id >= 0 && id < n_pieces_;
  };
  size_t begin = 0, at = 0;
  char32_t left = utf8::next(text, at);
  bool left_known = known(left);
  while (at < text.size()) {
    const size_t cut = at;
    const char32_t right = utf8::next(text, at);
    const bool right_known = known(right);
    if (left_known && right_known && !junctions_.joined(left, right)) {
      encode_part(text.substr(begin, cut - begin), work, ids);
      begin = cut;
    }
    left = right;
    left_known = right_known;
  }
  encode_part(text.substr(begin), work, ids);
}

void ScoreBpe::encode_part(std::string_view part, BpeWorkspace& work,
                           std::vector<int32_t>& ids) const {
  const bool keep = part.size() <= WordCache::kMaxWordBytes;
  if (keep) {
    if (const auto known = work.cache.find(part)) {
      ids.insert(ids.end(), known->begin(), known->end());
      return;
    }
  }
  auto& symbols = work.symbols;
  symbols.clear();
  // A code point that no piece holds stands for its first byte's number below zero.
  std::vector<std::string_view> strangers;
  for (size_t at = 0; at < part.size();) {
    const size_t begin = at;
    const int32_t id = symbol(utf8::next(part, at));
    const std::string_view bytes = part.substr(begin, at - begin);
    if (id >= 0) {
      symbols.push_back(id);
    } else if (options_.bytes_first) {
      add_bytes(bytes, symbols);
    } else {
      strangers.push_back(bytes);
      symbols.push_back(-1 - static_cast<int32_t>(strangers.size()));
    }
  }
  merge(merges_, symbols, work.merge);
  const size_t n_before = ids.size();
  std::string bytes;
  for (const int32_t id : symbols) {
    if (id >= 0 && id < n_pieces_) {
      ids.push_back(id);
    } else if (id >= n_pieces_) {
      bytes.clear();
      utf8::append(bytes, pieceless_[static_cast<size_t>(id - n_pieces_)]);
      add_bytes(bytes, ids);
    } else {
      add_bytes(strangers[static_cast<size_t>(-2 - id)], ids);
    }
  }
  if (keep) work.cache.insert(part, std::span(ids).subspan(n_before));
}

void ScoreBpe::add_bytes(std::string_view bytes, std::vector<int32_t>& ids) const {
  bool has_bytes = true;
  for (const char byte : bytes)
    has_bytes &= options_.byte_ids[static_cast<unsigned char>(byte)] >= 0;
  if (has_bytes) {
    for (const char byte : bytes)
      ids.push_back(options_.byte_ids[static_cast<unsigned char>(byte)]);
  } else if (options_.unk >= 0) {
    ids.push_back(options_.unk);
  }
}

}  // namespace headcount::models
