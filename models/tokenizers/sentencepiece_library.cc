// Part of models/tokenizers/tokenizer_model.h.
// SentencePiece models of every other kind, by libsentencepiece. Linked into programs without
// LibTorch alone (target hc_sentencepiece): the library exports a protobuf of its own, which
// LibTorch's libprotobuf would fall into before main.
#include <sentencepiece_processor.h>

#include "models/tokenizers/tokenizer_model.h"
#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

class LibraryModel : public TokenizerModel {
 public:
  explicit LibraryModel(const std::string& path) {
    const std::string bytes = read_tokenizer_file(path);
    const auto status = library_.LoadFromSerializedProto(bytes);
    if (!status.ok()) throw Error(path + " is no SentencePiece model: " + status.ToString());
  }

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const override {
    std::vector<int32_t> ids;
    if (add_special_tokens && library_.bos_id() >= 0) ids.push_back(library_.bos_id());
    const std::vector<int> found = library_.EncodeAsIds(text);
    ids.insert(ids.end(), found.begin(), found.end());
    return ids;
  }

  std::unique_ptr<TokenStream> stream(bool) const override {
    return std::make_unique<Stream>(*this);
  }

  int64_t size() const override { return library_.GetPieceSize(); }

  std::optional<int32_t> id_of(std::string_view token) const override {
    const int id = library_.PieceToId(token);
    if (id < 0 || library_.IdToPiece(id) != token) return std::nullopt;
    return id;
  }

  std::string description() const override {
    return "SentencePiece, " + std::to_string(size()) + " tokens, tokenizer.model";
  }

 private:
  /// The library decodes all ids at once.
  class Stream : public TokenStream {
   public:
    explicit Stream(const LibraryModel& model) : model_(model) {}
    std::string push(int32_t id) override {
      if (id >= 0 && id < model_.size()) ids_.push_back(id);
      return "";
    }
    std::string finish() override { return utf8::to_valid(model_.library_.DecodeIds(ids_)); }

   private:
    const LibraryModel& model_;
    std::vector<int> ids_;
  };

  sentencepiece::SentencePieceProcessor library_;
};

}  // namespace

TokenizerModelPtr open_with_sentencepiece_library(const std::string& path) {
  return std::make_unique<LibraryModel>(path);
}

}  // namespace headcount::models
