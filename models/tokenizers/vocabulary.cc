#include "models/tokenizers/vocabulary.h"

#include <algorithm>

#include "schemas/error.h"

namespace headcount::models {

namespace {

constexpr int64_t kIdsAnyVocabularyMayHave = 1 << 20;
constexpr size_t kIdsPerToken = 4;

}  // namespace

void Vocabulary::add(const std::string& file, std::string token, int64_t id, size_t n_expected) {
  const auto most =
      std::max(kIdsAnyVocabularyMayHave, static_cast<int64_t>(kIdsPerToken * n_expected));
  if (id < 0 || id >= most)
    throw Error(file + " gives token \"" + token + "\" the id " + std::to_string(id) + "; ids of " +
                std::to_string(n_expected) + " tokens lie in 0 to " + std::to_string(most - 1));
  const auto at = static_cast<size_t>(id);
  if (at >= tokens_.size()) tokens_.resize(at + 1);
  if (tokens_[at] != nullptr)
    throw Error(file + " gives the id " + std::to_string(id) + " to two tokens, \"" + *tokens_[at] +
                "\" and \"" + token + "\"");
  const auto [entry, fresh] = ids_.emplace(std::move(token), static_cast<int32_t>(id));
  if (!fresh)
    throw Error(file + " holds the token \"" + entry->first + "\" twice, as " +
                std::to_string(entry->second) + " and as " + std::to_string(id));
  tokens_[at] = &entry->first;
}

std::optional<int32_t> Vocabulary::id(std::string_view token) const {
  const auto entry = ids_.find(token);
  if (entry == ids_.end()) return std::nullopt;
  return entry->second;
}

const std::string* Vocabulary::token(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= tokens_.size()) return nullptr;
  return tokens_[static_cast<size_t>(id)];
}

void PairMap::set(uint32_t a, uint32_t b, Value value) {
  if (2 * (n_ + 1) > slots_.size()) grow();
  const uint64_t key = key_of(a, b);
  size_t at = place(key);
  while (slots_[at].used && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
  if (!slots_[at].used) ++n_;
  slots_[at] = {key, value, true};
}

void PairMap::grow() {
  std::vector<Slot> old(std::max<size_t>(64, 2 * slots_.size()));
  old.swap(slots_);
  n_ = 0;
  for (const Slot& slot : old) {
    if (slot.used)
      set(static_cast<uint32_t>(slot.key >> 32), static_cast<uint32_t>(slot.key), slot.value);
  }
}

}  // namespace headcount::models
