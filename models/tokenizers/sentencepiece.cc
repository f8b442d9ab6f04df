// A SentencePiece tokenizer.model, read and checked by libsentencepiece. Most models that use one
// (Llama 1 and 2, Mistral) are byte-pair encodings with no normalization but spaces as U+2581;
// those are encoded by ScoreBpe, a hundred times faster on a long text; all others by the library.
#include <sentencepiece_processor.h>

#include <cmath>
#include <utility>

#include "models/tokenizers/score_bpe.h"
#include "models/tokenizers/tokenizer_model.h"
#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";

/// What of the model's protocol buffer decides how a text is encoded and decoded.
struct Settings {
  bool bpe = false;
  bool user_defined = false;  // has pieces that are found before all others
  bool suffix_space = false;
  bool charsmap = false, denormalizer = false;
  bool dummy_prefix = true, remove_extra_spaces = true, escape_spaces = true;
};

/// The fields of one protocol buffer message; nothing where it is cut.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}

  /// Moves to the next field; false at the end.
  bool next() {
    const uint64_t key = varint();
    number_ = key >> 3;
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

Settings read_settings(std::string_view model) {
  Settings settings;
  for (Fields field(model); field.next();) {
    const uint64_t part = field.number();
    if (part != 1 && part != 2 && part != 3 && part != 5) continue;
    for (Fields inner(field.bytes()); inner.next();) {
      const uint64_t n = inner.number(), value = inner.value();
      if (part == 1 && n == 3) settings.user_defined |= value == 4;
      if (part == 2 && n == 3) settings.bpe = value == 2;
      if (part == 2 && n == 24) settings.suffix_space = value != 0;
      if (part == 3 && n == 2) settings.charsmap = !inner.bytes().empty();
      if (part == 3 && n == 3) settings.dummy_prefix = value != 0;
      if (part == 3 && n == 4) settings.remove_extra_spaces = value != 0;
      if (part == 3 && n == 5) settings.escape_spaces = value != 0;
      if (part == 5 && n == 2) settings.denormalizer = !inner.bytes().empty();
    }
  }
  return settings;
}

unsigned char byte_of(const std::string& piece) {
  return static_cast<unsigned char>(std::stoi(piece.substr(3, 2), nullptr, 16));
}

class SentencePiece : public TokenizerModel {
 public:
  explicit SentencePiece(const std::string& path) {
    const std::string bytes = read_tokenizer_file(path);
    const auto status = library_.LoadFromSerializedProto(bytes);
    if (!status.ok()) throw Error(path + " is no SentencePiece model: " + status.ToString());
    settings_ = read_settings(bytes);
    plain_ = settings_.bpe && !settings_.user_defined && !settings_.suffix_space &&
             !settings_.charsmap && !settings_.denormalizer && !settings_.remove_extra_spaces &&
             settings_.escape_spaces;
    ScoreBpeOptions options{.byte_ids = {}, .unk = library_.unk_id(), .bytes_first = false};
    options.byte_ids.fill(-1);
    for (int id = 0; id < library_.GetPieceSize(); ++id) {
      pieces_.push_back({library_.IdToPiece(id), library_.GetScore(id), true});
      ScorePiece& piece = pieces_.back();
      if (!std::isfinite(piece.score))
        throw Error(path + ": token " + std::to_string(id) + " has a score that is no number");
      const bool byte = library_.IsByte(id);
      if (byte) options.byte_ids[byte_of(piece.text)] = id;
      piece.usable = !byte && !library_.IsControl(id) && !library_.IsUnknown(id);
      plain_ &= !library_.IsUnused(id);
    }
    if (plain_) bpe_.emplace(pieces_, options);
  }

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const override {
    std::vector<int32_t> ids;
    if (add_special_tokens && library_.bos_id() >= 0) ids.push_back(library_.bos_id());
    if (text.empty()) return ids;
    if (!plain_) {
      const std::vector<int> found = library_.EncodeAsIds({text.data(), text.size()});
      ids.insert(ids.end(), found.begin(), found.end());
      return ids;
    }
    std::string marked(settings_.dummy_prefix ? kMark : "");
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
    if (!plain_) return std::make_unique<LibraryStream>(*this);
    return std::make_unique<PlainStream>(*this, skip_special_tokens);
  }

  int64_t size() const override { return static_cast<int64_t>(pieces_.size()); }

  std::optional<int32_t> id_of(std::string_view token) const override {
    const int id = library_.PieceToId({token.data(), token.size()});
    if (id == library_.unk_id() && library_.IdToPiece(id) != token) return std::nullopt;
    return id;
  }

  std::string description() const override {
    return "SentencePiece " + std::string(settings_.bpe ? "BPE" : "model") + ", " +
           std::to_string(size()) + " tokens, tokenizer.model";
  }

 private:
  /// The library decodes all ids at once.
  class LibraryStream : public TokenStream {
   public:
    explicit LibraryStream(const SentencePiece& model) : model_(model) {}
    std::string push(int32_t id) override {
      if (id >= 0 && id < model_.size()) ids_.push_back(id);
      return "";
    }
    std::string finish() override { return utf8::to_valid(model_.library_.DecodeIds(ids_)); }

   private:
    const SentencePiece& model_;
    std::vector<int> ids_;
  };

  /// As the library: control pieces write nothing, the first piece that writes loses one mark, runs
  /// of bytes become text with U+FFFD for each byte that is none.
  class PlainStream : public TokenStream {
   public:
    PlainStream(const SentencePiece& model, bool skip_special_tokens)
        : model_(model), skip_unknown_(skip_special_tokens) {}

    std::string push(int32_t id) override {
      if (id < 0 || id >= model_.size()) return "";
      const std::string& piece = model_.pieces_[static_cast<size_t>(id)].text;
      std::string text;
      if (model_.library_.IsByte(id)) {
        bytes_ += static_cast<char>(byte_of(piece));
        bytes_.erase(0, utf8::append_valid(text, bytes_, true, utf8::Invalid::kByte));
        written_ |= !text.empty();
        return text;
      }
      flush(text);
      at_start_ &= !mark_dropped_ && !written_;
      mark_dropped_ = false;
      if (model_.library_.IsUnknown(id)) {
        if (!skip_unknown_) text += kUnknown;
      } else if (!model_.library_.IsControl(id)) {
        std::string_view rest = piece;
        if (at_start_ && model_.settings_.dummy_prefix && rest.starts_with(kMark)) {
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
    static constexpr std::string_view kUnknown = " \xE2\x81\x87 ";

    void flush(std::string& text) {
      utf8::append_valid(text, bytes_, false, utf8::Invalid::kByte);
      bytes_.clear();
      written_ |= !text.empty();
    }

    const SentencePiece& model_;
    bool skip_unknown_;
    bool at_start_ = true, mark_dropped_ = false, written_ = false;
    std::string bytes_;
  };

  sentencepiece::SentencePieceProcessor library_;
  Settings settings_;
  std::vector<ScorePiece> pieces_;
  bool plain_ = false;  // encoded by bpe_, decoded by PlainStream
  std::optional<ScoreBpe> bpe_;
  mutable Pool<BpeWorkspace> workspaces_;
};

}  // namespace

TokenizerModelPtr open_sentencepiece(const std::string& path) {
  return std::make_unique<SentencePiece>(path);
}

}  // namespace headcount::models
