#include "models/tokenizers/word_cache.h"

#include <algorithm>
#include <functional>

namespace headcount::models {
namespace {

constexpr size_t kMaxWords = size_t{1} << 16;

}  // namespace

size_t WordCache::place(std::string_view word, size_t hash) const {
  for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[at];
    if (!slot.used) return at;
    if (slot.hash == hash &&
        std::string_view(text_).substr(slot.text_begin, slot.text_size) == word)
      return at;
  }
}

std::optional<std::span<const int32_t>> WordCache::find(std::string_view word) const {
  if (slots_.empty()) return std::nullopt;
  const Slot& slot = slots_[place(word, std::hash<std::string_view>()(word))];
  if (!slot.used) return std::nullopt;
  return std::span(ids_).subspan(slot.ids_begin, slot.n_ids);
}

void WordCache::insert(std::string_view word, std::span<const int32_t> ids) {
  if (n_ == kMaxWords) {
    std::fill(slots_.begin(), slots_.end(), Slot());
    n_ = 0;
    text_.clear();
    ids_.clear();
  }
  if (2 * (n_ + 1) > slots_.size()) grow();
  const size_t hash = std::hash<std::string_view>()(word);
  Slot& slot = slots_[place(word, hash)];
  if (slot.used) return;
  slot = {.hash = hash,
          .text_begin = static_cast<uint32_t>(text_.size()),
          .text_size = static_cast<uint32_t>(word.size()),
          .ids_begin = static_cast<uint32_t>(ids_.size()),
          .n_ids = static_cast<uint32_t>(ids.size()),
          .used = true};
  text_ += word;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++n_;
}

void WordCache::grow() {
  std::vector<Slot> old(std::max<size_t>(256, 2 * slots_.size()));
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (!slot.used) continue;
    size_t at = slot.hash & (slots_.size() - 1);
    while (slots_[at].used) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

}  // namespace headcount::models
