// Counter-based randomness, the same on every device and in any order: Philox 4x32-10
// (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
#pragma once

#include <array>
#include <cstdint>

namespace headcount {

/// One Philox 4x32-10 block: 10 rounds, multipliers 0xD2511F53 and 0xCD9E8D57, Weyl constants
/// 0x9E3779B9 and 0xBB67AE85.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// What a random number is for. Part of the counter: streams of different purposes never meet.
/// Never renumber.
enum class Purpose : uint32_t {
  kMask = 1,         // which answer positions are masked
  kThreshold = 2,    // u_h of a stochastic-threshold path
  kPermutation = 3,  // Latin hypercube strata and prune orders
  kDataset = 4,      // the rows of a synthetic task
  kBootstrap = 5,    // resampled rows
  kTraining = 6,     // initial weights, batches
  kGeneration = 7,   // tokens drawn and positions chosen while decoding
  kLikelihood = 8,   // masks of Monte Carlo likelihood bounds
};

/// The number of (seed, purpose, row id, draw, element): uniform 64 bits.
/// Counter = (element, draw, row id low, row id high); key = (seed low ^ purpose * 0x9E3779B9, seed
/// high ^ purpose).
uint64_t random_bits(uint64_t seed, Purpose purpose, uint64_t row_id, uint32_t draw,
                     uint32_t element);

/// The same as a double in [0, 1) with 53 random bits.
double random_uniform(uint64_t seed, Purpose purpose, uint64_t row_id, uint32_t draw,
                      uint32_t element);

}  // namespace headcount
