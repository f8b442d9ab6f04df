#include "schemas/philox.h"

namespace headcount {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

uint64_t random_bits(uint64_t seed, Purpose purpose, uint64_t row_id, uint32_t draw,
                     uint32_t element) {
  const auto tag = static_cast<uint32_t>(purpose);
  const auto block = philox(
      {element, draw, static_cast<uint32_t>(row_id), static_cast<uint32_t>(row_id >> 32)},
      {static_cast<uint32_t>(seed) ^ tag * 0x9E3779B9u, static_cast<uint32_t>(seed >> 32) ^ tag});
  return uint64_t{block[1]} << 32 | block[0];
}

double random_uniform(uint64_t seed, Purpose purpose, uint64_t row_id, uint32_t draw,
                      uint32_t element) {
  return static_cast<double>(random_bits(seed, purpose, row_id, draw, element) >> 11) * 0x1p-53;
}

}  // namespace headcount
