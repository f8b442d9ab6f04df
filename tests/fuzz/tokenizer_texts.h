// What a tokenizer that opened must survive: texts of every kind, and ids of none.
#pragma once

#include <string>

#include "models/tokenizers/tokenizer.h"

namespace headcount::fuzz {

/// Encodes and decodes; any vocabulary, any merges.
inline void use(const models::Tokenizer& tokenizer) {
  const std::string texts[] = {"",
                               "Hello, world 123",
                               "  \t\n  \xE2\x96\x81",
                               "caf\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80",
                               std::string("a\0b\xFF\xC0", 5),
                               "<s>[CLS]<|endoftext|> 's 're"};
  for (const std::string& text : texts) {
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(text, special);
      tokenizer.decode(ids, special);
    }
  }
  const int32_t strange[] = {-1, 0, 1, 2, 255, 2147483647};
  tokenizer.decode(strange);
}

}  // namespace headcount::fuzz
