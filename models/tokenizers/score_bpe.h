// SentencePiece's byte-pair encoding, also llama2.c's: of all adjacent pairs that together are a
// piece, the one of the best score is joined first, the leftmost of equals.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/tokenizers/bpe.h"
#include "models/tokenizers/merge.h"

namespace headcount::models {

struct ScorePiece {
  std::string text;
  float score = 0;
  bool usable = true;  // may be made by joining
};

struct ScoreBpeOptions {
  std::array<int32_t, 256> byte_ids{};  // of bytes of code points without a piece; -1: none
  int32_t unk = -1;                     // where there is no byte id; -1: they vanish
  bool bytes_first = false;             // to bytes before joining, as llama2.c does, else after
};

class ScoreBpe {
 public:
  /// Id of a piece = its index; of equal pieces the first counts.
  ScoreBpe(const std::vector<ScorePiece>& pieces, ScoreBpeOptions options);

  /// Appends the ids of a text (valid UTF-8) in which spaces are written as the pieces write them.
  void encode(std::string_view text, BpeWorkspace& work, std::vector<int32_t>& ids) const;

 private:
  void add_piece(std::string_view text, uint32_t rank, uint32_t id);
  int32_t part_id(std::string_view part);
  int32_t symbol(char32_t code_point) const;
  void encode_part(std::string_view part, BpeWorkspace& work, std::vector<int32_t>& ids) const;
  void add_bytes(std::string_view bytes, std::vector<int32_t>& ids) const;

  ScoreBpeOptions options_;
  int32_t n_pieces_ = 0;
  std::unordered_map<std::string_view, int32_t> ids_;  // while being made
  PairMap symbols_;                  // (code point, 0) -> its piece, or a number beyond all pieces
  std::vector<char32_t> pieceless_;  // the code points of those numbers
  Merges merges_;
  Junctions junctions_;
};

}  // namespace headcount::models
