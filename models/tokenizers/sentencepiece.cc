// Part of models/tokenizers/tokenizer_model.h.
// A SentencePiece tokenizer.model: a protocol buffer of pieces, the trainer's settings and the
// normalizer's. Llama 1 and 2, TinyLlama and Mistral publish byte-pair encodings with byte fallback
// and no normalization but spaces as U+2581; those are read and encoded here, twenty times as fast
// as by libsentencepiece, which the tests hold them to. All other models go to the library.
#include <cmath>
#include <cstring>
#include <utility>

#include "models/tokenizers/score_bpe.h"
#include "models/tokenizers/tokenizer_model.h"
#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";

enum class Kind { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

/// What of the file decides how a text is encoded and decoded.
struct Model {
  std::vector<ScorePiece> pieces;
  std::vector<Kind> kinds;
  std::string bos_piece = "<s>", unk_surface = " \xE2\x81\x87 ";
  bool dummy_prefix = true;
  // What only the library does.
  bool bpe = false, byte_fallback = false;
  bool suffix_space = false, charsmap = false, denormalizer = false, other_kinds = false;
  bool remove_extra_spaces = true, escape_spaces = true;
  bool plain() const {
    return bpe && byte_fallback && !suffix_space && !charsmap && !denormalizer && !other_kinds &&
           !remove_extra_spaces && escape_spaces;
  }
};

/// The fields of one protocol buffer message; nothing where it is cut.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}

  /// Moves to the next field; false at the end.
  bool next() {
    if (bytes_.empty()) return false;
    const uint64_t key = varint();
    number_ = key >> 3;
    value_ = 0;
    taken_ = {};
    switch (key & 7) {
      case 0:
        value_ = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        ok_ = false;
    }
    return ok_;
  }
  bool at_end() const { return ok_ && bytes_.empty(); }
  uint64_t number() const { return number_; }
  uint64_t value() const { return value_; }
  std::string_view bytes() const { return taken_; }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (bytes_.empty()) break;
      const auto byte = static_cast<unsigned char>(bytes_[0]);
      bytes_.remove_prefix(1);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }
  void take(uint64_t n) {
    ok_ = ok_ && n <= bytes_.size();
    if (!ok_) return;
    taken_ = bytes_.substr(0, static_cast<size_t>(n));
    bytes_.remove_prefix(static_cast<size_t>(n));
  }

  std::string_view bytes_, taken_;
  uint64_t number_ = 0, value_ = 0;
  bool ok_ = true;
};

void read_piece(std::string_view bytes, Model& model) {
  ScorePiece piece;
  auto kind = Kind::kNormal;
  for (Fields field(bytes); field.next();) {
    if (field.number() == 1) piece.text = field.bytes();
    if (field.number() == 2 && field.bytes().size() == sizeof piece.score)
      std::memcpy(&piece.score, field.bytes().data(), sizeof piece.score);
    if (field.number() == 3 && field.value() >= 1 && field.value() <= 6)
      kind = static_cast<Kind>(field.value());
  }
  piece.usable = kind == Kind::kNormal;
  model.other_kinds |= kind == Kind::kUserDefined || kind == Kind::kUnused;
  model.pieces.push_back(std::move(piece));
  model.kinds.push_back(kind);
}

void read_trainer(std::string_view bytes, Model& model) {
  for (Fields field(bytes); field.next();) {
    if (field.number() == 3) model.bpe = field.value() == 2;
    if (field.number() == 24) model.suffix_space = field.value() != 0;
    if (field.number() == 35) model.byte_fallback = field.value() != 0;
    if (field.number() == 44) model.unk_surface = field.bytes();
    if (field.number() == 46) model.bos_piece = field.bytes();
  }
}

void read_normalizer(std::string_view bytes, Model& model) {
  for (Fields field(bytes); field.next();) {
    if (field.number() == 2) model.charsmap = !field.bytes().empty();
    if (field.number() == 3) model.dummy_prefix = field.value() != 0;
    if (field.number() == 4) model.remove_extra_spaces = field.value() != 0;
    if (field.number() == 5) model.escape_spaces = field.value() != 0;
  }
}

Model read_model(const std::string& path) {
  const std::string bytes = read_tokenizer_file(path);
  Model model;
  Fields field(bytes);
  while (field.next()) {
    if (field.number() == 1) read_piece(field.bytes(), model);
    if (field.number() == 2) read_trainer(field.bytes(), model);
    if (field.number() == 3) read_normalizer(field.bytes(), model);
    if (field.number() == 5) model.denormalizer = true;
  }
  if (!field.at_end() || model.pieces.empty())
    throw Error(path + " is no SentencePiece model, or is truncated");
  return model;
}

/// The byte of a piece "<0xAB>"; none for another text.
std::optional<unsigned char> byte_of(const std::string& piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : piece.substr(3, 2)) {
    const bool digit = c >= '0' && c <= '9', letter = c >= 'A' && c <= 'F';
    if (!digit && !letter) return std::nullopt;
    value = 16 * value + static_cast<unsigned>(digit ? c - '0' : c - 'A' + 10);
  }
  return static_cast<unsigned char>(value);
}

class SentencePiece : public TokenizerModel {
 public:
  SentencePiece(Model model, const std::string& path) : model_(std::move(model)) {
    ScoreBpeOptions options{.byte_ids = {}, .unk = -1, .bytes_first = false};
    options.byte_ids.fill(-1);
    for (size_t i = 0; i < model_.pieces.size(); ++i) {
      const auto refuse = [&](const std::string& what) {
        throw Error(path + " is no SentencePiece model: token " + std::to_string(i) + " " + what);
      };
      const ScorePiece& piece = model_.pieces[i];
      const auto id = static_cast<int32_t>(i);
      if (piece.text.empty() || !utf8::is_valid(piece.text)) refuse("is empty or not UTF-8");
      if (!std::isfinite(piece.score)) refuse("has a score that is no number");
      if (!ids_.emplace(piece.text, id).second) refuse("is there twice: " + piece.text);
      if (model_.kinds[i] != Kind::kByte) continue;
      const auto byte = byte_of(piece.text);
      if (!byte) refuse("is to be a byte, but is \"" + piece.text + "\"");
      options.byte_ids[*byte] = id;
    }
    for (const int32_t id : options.byte_ids) {
      if (id < 0) throw Error(path + " is no SentencePiece model: it lacks some of the 256 bytes");
    }
    if (const auto bos = ids_.find(model_.bos_piece);
        bos != ids_.end() && kind(bos->second) == Kind::kControl)
      bos_ = bos->second;
    bpe_.emplace(model_.pieces, options);
  }

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const override {
    std::vector<int32_t> ids;
    if (add_special_tokens && bos_ >= 0) ids.push_back(bos_);
    if (text.empty()) return ids;
    std::string marked(model_.dummy_prefix ? kMark : "");
    marked.reserve(text.size() + text.size() / 2);
    for (const char byte : text) {
      if (byte == ' ')
        marked += kMark;
      else
        marked += byte;
    }
    const auto work = workspaces_.lend();
    bpe_->encode(marked, *work, ids);
    return ids;
  }

  std::unique_ptr<TokenStream> stream(bool skip_special_tokens) const override {
    return std::make_unique<Stream>(*this, skip_special_tokens);
  }

  int64_t size() const override { return static_cast<int64_t>(model_.pieces.size()); }

  std::optional<int32_t> id_of(std::string_view token) const override {
    const auto entry = ids_.find(token);
    if (entry == ids_.end()) return std::nullopt;
    return entry->second;
  }

  std::string description() const override {
    return "SentencePiece BPE, " + std::to_string(size()) + " tokens, tokenizer.model";
  }

 private:
  Kind kind(int32_t id) const { return model_.kinds[static_cast<size_t>(id)]; }

  /// As the library: control pieces write nothing, the first piece that writes loses one mark, runs
  /// of bytes become text with U+FFFD for each byte that is none.
  class Stream : public TokenStream {
   public:
    Stream(const SentencePiece& owner, bool skip_special_tokens)
        : owner_(owner), skip_unknown_(skip_special_tokens) {}

    std::string push(int32_t id) override {
      if (id < 0 || id >= owner_.size()) return "";
      const std::string& piece = owner_.model_.pieces[static_cast<size_t>(id)].text;
      std::string text;
      if (owner_.kind(id) == Kind::kByte) {
        bytes_ += static_cast<char>(byte_of(piece).value_or(0));
        bytes_.erase(0, utf8::append_valid(text, bytes_, true, utf8::Invalid::kByte));
        written_ |= !text.empty();
        return text;
      }
      flush(text);
      at_start_ &= !mark_dropped_ && !written_;
      mark_dropped_ = false;
      if (owner_.kind(id) == Kind::kUnknown) {
        if (!skip_unknown_) text += owner_.model_.unk_surface;
      } else if (owner_.kind(id) != Kind::kControl) {
        std::string_view rest = piece;
        if (at_start_ && owner_.model_.dummy_prefix && rest.starts_with(kMark)) {
          rest.remove_prefix(kMark.size());
          mark_dropped_ = true;
        }
        for (size_t at; (at = rest.find(kMark)) != std::string_view::npos;) {
          text += rest.substr(0, at);
          text += ' ';
          rest.remove_prefix(at + kMark.size());
        }
        text += rest;
      }
      written_ |= !text.empty();
      return text;
    }

    std::string finish() override {
      std::string text;
      flush(text);
      return text;
    }

   private:
    void flush(std::string& text) {
      utf8::append_valid(text, bytes_, false, utf8::Invalid::kByte);
      bytes_.clear();
      written_ |= !text.empty();
    }

    const SentencePiece& owner_;
    bool skip_unknown_;
    bool at_start_ = true, mark_dropped_ = false, written_ = false;
    std::string bytes_;
  };

  Model model_;
  int32_t bos_ = -1;
  std::unordered_map<std::string_view, int32_t> ids_;  // keys are model_'s
  std::optional<ScoreBpe> bpe_;
  mutable Pool<BpeWorkspace> workspaces_;
};

}  // namespace

TokenizerModelPtr open_sentencepiece(const std::string& path) {
  Model model = read_model(path);
  if (model.plain()) return std::make_unique<SentencePiece>(std::move(model), path);
  if (open_with_sentencepiece_library == nullptr)
    throw Error(path +
                " is a SentencePiece model of a kind (Unigram, a normalizer, pieces of the user's) "
                "for which this program needs libsentencepiece, which it was built without");
  // The library ends the process over such a piece instead of refusing it.
  for (const auto& piece : model.pieces) {
    if (piece.text.empty() || piece.text.find('\0') != std::string::npos)
      throw Error(path + " is no SentencePiece model: a piece is empty or holds a NUL byte");
  }
  return open_with_sentencepiece_library(path);
}

}  // namespace headcount::models
