// The llama2.c tokenizer file (tok*.bin): u32 max token length, then per token f32 score, i32 size,
// bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace headcount::models {

/// SentencePiece-style BPE by score: one leading space, code points, unknown bytes as id 3 + byte,
/// then the adjacent pair with the best score is merged until none is left (leftmost on ties).
class Tokenizer {
 public:
  /// Throws Error on a missing, truncated or oversized file.
  static Tokenizer open(const std::string& path, int64_t vocab_size);
  /// BOS (1) first when `bos`.
  std::vector<int32_t> encode(std::string_view text, bool bos) const;
  std::string decode(const std::vector<int32_t>& ids) const;

 private:
  std::vector<std::string> pieces_;
  std::vector<float> scores_;
  std::unordered_map<std::string, int32_t> ids_;
};

}  // namespace headcount::models
