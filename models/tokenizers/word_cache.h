// What one thread keeps from word to word and from text to text while it encodes: the ids of words
// seen before, and buffers. Bounded, and lent by a pool so that any number of threads may encode.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headcount::models {

/// Words and their ids; forgets all when it is full.
class WordCache {
 public:
  static constexpr size_t kMaxWordBytes = 64;  // longer ones are not worth keeping

  std::optional<std::span<const int32_t>> find(std::string_view word) const;
  void insert(std::string_view word, std::span<const int32_t> ids);

 private:
  struct Slot {
    size_t hash = 0;
    uint32_t text_begin = 0, text_size = 0, ids_begin = 0, n_ids = 0;
    bool used = false;
  };
  size_t place(std::string_view word, size_t hash) const;
  void grow();

  std::vector<Slot> slots_;  // none, or a power of two
  size_t n_ = 0;
  std::string text_;
  std::vector<int32_t> ids_;
};

/// Values of T, one for each thread at work.
template <class T>
class Pool {
 public:
  class Lent {
   public:
    Lent(Pool& pool, std::unique_ptr<T> value) : pool_(pool), value_(std::move(value)) {}
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;
    ~Lent() {
      const std::lock_guard lock(pool_.mutex_);
      pool_.idle_.push_back(std::move(value_));
    }
    T& operator*() const { return *value_; }
    T* operator->() const { return value_.get(); }

   private:
    Pool& pool_;
    std::unique_ptr<T> value_;
  };

  Lent lend() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return Lent(*this, std::make_unique<T>());
    std::unique_ptr<T> value = std::move(idle_.back());
    idle_.pop_back();
    return Lent(*this, std::move(value));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> idle_;
};

}  // namespace headcount::models
