// Part of models/tokenizers/tokenizer_model.h.
// llama2.c's tok*.bin: u32 length of the longest piece, then per piece f32 score, i32 size, bytes.
// Spaces stand as ' ' in the pieces, one is put before a text; code points without a piece become
// pieces 3 + byte; piece 1 begins a text.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>

#include "models/tokenizers/score_bpe.h"
#include "models/tokenizers/tokenizer_model.h"
#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr int32_t kMaxPieceBytes = 4096;
constexpr int32_t kFirstByteId = 3;
constexpr int32_t kUnknown = 0, kBos = 1, kEos = 2;

/// A piece written "<0xAB>" stands for that byte.
bool is_byte_piece(const std::string& piece, char* byte) {
  unsigned value = 0;
  if (piece.size() != 6 || std::sscanf(piece.c_str(), "<0x%02X>", &value) != 1) return false;
  *byte = static_cast<char>(value);
  return true;
}

std::vector<ScorePiece> read_pieces(const std::string& path) {
  const std::string bytes = read_tokenizer_file(path);
  size_t at = 0;
  const auto refuse = [&](size_t id, const std::string& what) {
    throw Error(path + " is no llama2.c tokenizer, or is truncated: token " + std::to_string(id) +
                " " + what);
  };
  std::vector<ScorePiece> pieces;
  const auto take = [&](void* out, size_t n) {
    if (n > bytes.size() - at) refuse(pieces.size(), "ends behind the file");
    std::memcpy(out, bytes.data() + at, n);
    at += n;
  };
  uint32_t longest = 0;
  take(&longest, sizeof longest);
  while (at < bytes.size()) {
    ScorePiece piece;
    int32_t size = 0;
    take(&piece.score, sizeof piece.score);
    take(&size, sizeof size);
    if (size < 0 || size > kMaxPieceBytes)
      refuse(pieces.size(), "claims " + std::to_string(size) + " bytes");
    if (!std::isfinite(piece.score)) refuse(pieces.size(), "has a score that is no number");
    piece.text.resize(static_cast<size_t>(size));
    take(piece.text.data(), piece.text.size());
    pieces.push_back(std::move(piece));
  }
  if (pieces.size() < kFirstByteId + 256)
    throw Error(path + " is no llama2.c tokenizer, or is truncated: it has " +
                std::to_string(pieces.size()) + " tokens, fewer than its special ones and bytes");
  return pieces;
}

class Llama2c : public TokenizerModel {
 public:
  explicit Llama2c(const std::string& path) : pieces_(read_pieces(path)), bpe_(pieces_, options()) {
    for (size_t i = 0; i < pieces_.size(); ++i)
      ids_.emplace(pieces_[i].text, static_cast<int32_t>(i));
  }

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const override {
    std::vector<int32_t> ids;
    if (add_special_tokens) ids.push_back(kBos);
    if (text.empty()) return ids;
    const auto work = workspaces_.lend();
    bpe_.encode(" " + std::string(text), *work, ids);
    return ids;
  }

  std::unique_ptr<TokenStream> stream(bool skip_special) const override {
    return std::make_unique<Stream>(*this, skip_special);
  }

  int64_t size() const override { return static_cast<int64_t>(pieces_.size()); }

  std::optional<int32_t> id_of(std::string_view token) const override {
    const auto entry = ids_.find(token);
    if (entry == ids_.end()) return std::nullopt;
    return entry->second;
  }

  std::string description() const override {
    return "BPE by score, " + std::to_string(size()) + " tokens, llama2.c";
  }

 private:
  /// The beginning-of-text piece writes nothing; a piece behind it, or the first, loses a space.
  class Stream : public TokenStream {
   public:
    Stream(const Llama2c& model, bool skip_special) : model_(model), skip_special_(skip_special) {}

    std::string push(int32_t id) override {
      if (id < 0 || id >= model_.size()) return "";
      const bool first = std::exchange(begins_, id == kBos);
      if (id == kBos || (skip_special_ && (id == kUnknown || id == kEos))) return "";
      const std::string& piece = model_.pieces_[static_cast<size_t>(id)].text;
      char byte = 0;
      if (is_byte_piece(piece, &byte))
        held_ += byte;
      else
        held_ += std::string_view(piece).substr(first && piece.starts_with(' ') ? 1 : 0);
      std::string text;
      held_.erase(0, utf8::append_valid(text, held_, true));
      return text;
    }

    std::string finish() override { return utf8::to_valid(std::exchange(held_, "")); }

   private:
    const Llama2c& model_;
    bool skip_special_;
    bool begins_ = true;
    std::string held_;
  };

  static ScoreBpeOptions options() {
    ScoreBpeOptions options{.byte_ids = {}, .unk = -1, .bytes_first = true};
    for (int32_t byte = 0; byte < 256; ++byte)
      options.byte_ids[static_cast<size_t>(byte)] = kFirstByteId + byte;
    return options;
  }

  std::vector<ScorePiece> pieces_;
  std::unordered_map<std::string_view, int32_t> ids_;
  ScoreBpe bpe_;
  mutable Pool<BpeWorkspace> workspaces_;
};

}  // namespace

TokenizerModelPtr open_llama2c(const std::string& path) { return std::make_unique<Llama2c>(path); }

}  // namespace headcount::models
