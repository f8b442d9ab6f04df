#include "models/tokenizers/pipeline/pre_tokenizer.h"

#include <algorithm>

#include "models/tokenizers/pipeline/byte_level.h"
#include "models/tokenizers/pipeline/normalizer.h"
#include "models/tokenizers/utf8.h"

namespace headcount::models {
namespace {

using Piece = Pieces::Piece;

/// A stretch of a piece that matches, or lies between matches; together they are the piece.
struct Stretch {
  size_t begin = 0, end = 0;
  bool match = false;
};

using Stretches = std::vector<Stretch>;

void add(Stretches& out, size_t begin, size_t end, bool match) {
  out.push_back({begin, end, match});
}

void find(CharTest test, std::string_view text, Stretches& out) {
  size_t last = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (!test(utf8::next(text, at))) continue;
    if (last < begin) add(out, last, begin, false);
    add(out, begin, at, true);
    last = at;
  }
  if (last < text.size()) add(out, last, text.size(), false);
}

void find(const std::string& literal, std::string_view text, Stretches& out) {
  size_t last = 0;
  while (!literal.empty()) {
    const size_t at = text.find(literal, last);
    if (at == std::string_view::npos) break;
    if (last < at) add(out, last, at, false);
    last = at + literal.size();
    add(out, at, last, true);
  }
  if (last < text.size()) add(out, last, text.size(), false);
}

void find(const Regex& regex, std::string_view text, Stretches& out) {
  size_t last = 0, from = 0;
  bool matched = false;
  while (from <= text.size()) {
    const auto match = regex.find(text, from);
    if (!match) break;
    if (match->begin == match->end && matched && match->end == last) {
      from += from < text.size() ? utf8::size_of(text[from]) : 1;
      continue;
    }
    if (last < match->begin) add(out, last, match->begin, false);
    add(out, match->begin, match->end, true);
    last = from = match->end;
    matched = true;
  }
  if (last < text.size()) add(out, last, text.size(), false);
}

/// Joins neighbours as the behavior says: each stretch left is a piece, removed where it is a match
/// of kRemoved.
void join(Stretches& stretches, Behavior behavior) {
  Stretches joined;
  joined.reserve(stretches.size());
  const size_t n = stretches.size();
  const bool backwards = behavior == Behavior::kMergedWithNext;
  bool previous = false;
  for (size_t i = 0; i < n; ++i) {
    const Stretch& next = stretches[backwards ? n - 1 - i : i];
    const bool joins =
        behavior == Behavior::kContiguous ? next.match == previous : next.match && !previous;
    if (joins && !joined.empty()) {
      joined.back().begin = std::min(joined.back().begin, next.begin);
      joined.back().end = std::max(joined.back().end, next.end);
    } else {
      joined.push_back(next);
    }
    previous = next.match;
  }
  if (backwards) std::reverse(joined.begin(), joined.end());
  stretches = std::move(joined);
}

void apply(const Split& split, Pieces& pieces) {
  std::vector<Piece> list;
  Stretches stretches;
  for (const Piece& piece : pieces.list) {
    stretches.clear();
    std::visit([&](const auto& at) { find(at, pieces.view(piece), stretches); }, split.at);
    if (split.behavior != Behavior::kIsolated && split.behavior != Behavior::kRemoved) {
      for (Stretch& stretch : stretches) stretch.match ^= split.invert;
      join(stretches, split.behavior);
    }
    for (const Stretch& stretch : stretches) {
      const bool removed = split.behavior == Behavior::kRemoved && stretch.match != split.invert;
      if (removed || stretch.begin == stretch.end) continue;
      list.push_back({piece.begin + stretch.begin, piece.begin + stretch.end,
                      piece.first && stretch.begin == 0});
    }
  }
  pieces.list = std::move(list);
}

/// Writes every piece anew; write(piece, out) appends it.
template <class Write>
void rewrite(Pieces& pieces, Write write) {
  Pieces out;
  out.text.reserve(pieces.text.size() + pieces.text.size() / 4);
  out.list.reserve(pieces.list.size());
  for (const Piece& piece : pieces.list) {
    const size_t begin = out.text.size();
    write(piece, out.text);
    check_growth(out.text.size(), pieces.text.size());
    if (out.text.size() > begin) out.list.push_back({begin, out.text.size(), piece.first});
  }
  pieces = std::move(out);
}

void apply(const ByteLevel& level, Pieces& pieces) {
  if (level.add_prefix_space) {
    rewrite(pieces, [&](const Piece& piece, std::string& out) {
      if (!pieces.view(piece).starts_with(' ')) out += ' ';
      out += pieces.view(piece);
    });
  }
  if (level.pattern) apply(Split{*level.pattern, Behavior::kIsolated, false}, pieces);
  rewrite(pieces, [&](const Piece& piece, std::string& out) {
    byte_level::append(out, pieces.view(piece));
  });
}

void apply(const Metaspace& space, Pieces& pieces) {
  rewrite(pieces, [&](const Piece& piece, std::string& out) {
    const std::string_view text = pieces.view(piece);
    const bool prepends = (space.prepend == Metaspace::Prepend::kAlways ||
                           (space.prepend == Metaspace::Prepend::kFirst && piece.first)) &&
                          !text.starts_with(' ') && !text.starts_with(space.mark);
    if (prepends) out += space.mark;
    for (const char byte : text) {
      if (byte == ' ')
        out += space.mark;
      else
        out += byte;
    }
  });
  if (space.split) apply(Split{space.mark, Behavior::kMergedWithNext, false}, pieces);
}

}  // namespace

Pieces pieces(const std::vector<PreTokenizer>& pre_tokenizers, std::string text, bool first) {
  const size_t original = text.size();
  Pieces out{.text = std::move(text), .list = {}};
  if (original == 0) return out;
  out.list.push_back({0, original, first});
  for (const PreTokenizer& step : pre_tokenizers) {
    std::visit([&](const auto& each) { apply(each, out); }, step);
    check_growth(out.text.size(), original);
  }
  return out;
}

}  // namespace headcount::models
