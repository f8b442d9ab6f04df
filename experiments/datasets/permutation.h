// A keyed permutation of 0 .. n - 1 that needs no table: a balanced Feistel network (Luby and
// Rackoff 1988) with Philox as its round function, walked along its cycle until it lands below n
// (Black and Rogaway 2002). Any position of an enormous shuffle in constant time.
#pragma once

#include <cstdint>

namespace headcount::datasets {

class Permutation {
 public:
  /// Of 0 .. n - 1, 1 <= n <= 2^62; another key, another permutation.
  Permutation(uint64_t n, uint64_t key);
  uint64_t size() const { return n_; }
  /// Where i goes; i < n.
  uint64_t operator()(uint64_t i) const;
  /// What goes to `i`: the reverse.
  uint64_t inverse(uint64_t i) const;

 private:
  uint64_t forward(uint64_t x) const;
  uint64_t backward(uint64_t x) const;
  uint64_t round(uint64_t half, uint32_t number) const;
  uint64_t n_, key_, half_mask_;
  int half_bits_;
};

}  // namespace headcount::datasets
