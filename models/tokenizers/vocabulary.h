// Tokens and their ids, both ways, and a map from pairs of 32-bit numbers (merges, trie edges).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace headcount::models {

class Vocabulary {
 public:
  void reserve(size_t n) { ids_.reserve(n); }

  /// Throws Error, beginning with `file`, for a token or an id given twice, a negative id, and one
  /// far beyond any vocabulary of this many tokens (`n_expected`).
  void add(const std::string& file, std::string token, int64_t id, size_t n_expected);

  std::optional<int32_t> id(std::string_view token) const;
  /// Null where no token has this id.
  const std::string* token(int32_t id) const;
  /// One more than the largest id.
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }
  size_t n_tokens() const { return ids_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;  // keys of ids_, which never move
};

/// An open-addressing hash map from (a, b) to a pair of 32-bit numbers.
class PairMap {
 public:
  struct Value {
    uint32_t first = 0, second = 0;
  };

  /// Replaces what was there.
  void set(uint32_t a, uint32_t b, Value value);
  /// Null where there is none.
  const Value* find(uint32_t a, uint32_t b) const {
    if (slots_.empty()) return nullptr;
    const uint64_t key = key_of(a, b);
    for (size_t at = place(key);; at = (at + 1) & (slots_.size() - 1)) {
      if (!slots_[at].used) return nullptr;
      if (slots_[at].key == key) return &slots_[at].value;
    }
  }
  /// visit(a, b) of every entry.
  template <class Visit>
  void each(Visit visit) const {
    for (const Slot& slot : slots_) {
      if (slot.used) visit(static_cast<uint32_t>(slot.key >> 32), static_cast<uint32_t>(slot.key));
    }
  }
  size_t size() const { return n_; }

 private:
  struct Slot {
    uint64_t key = 0;
    Value value;
    bool used = false;
  };
  static uint64_t key_of(uint32_t a, uint32_t b) { return uint64_t{a} << 32 | b; }
  size_t place(uint64_t key) const {
    key *= 0x9E3779B97F4A7C15u;
    return static_cast<size_t>(key ^ key >> 32) & (slots_.size() - 1);
  }
  void grow();

  std::vector<Slot> slots_;  // none, or a power of two
  size_t n_ = 0;
};

}  // namespace headcount::models
