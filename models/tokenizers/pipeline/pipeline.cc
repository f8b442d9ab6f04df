#include "models/tokenizers/pipeline/pipeline.h"

#include <algorithm>

namespace headcount::models {

class Pipeline::Stream : public TokenStream {
 public:
  Stream(const Pipeline& pipeline, bool skip_special_tokens)
      : pipeline_(pipeline),
        skip_special_tokens_(skip_special_tokens),
        chain_(pipeline.parts_.decoders) {}

  std::string push(int32_t id) override {
    const AddedToken* added = pipeline_.parts_.added.find(id);
    const std::string* token =
        added != nullptr ? &added->content : pipeline_.vocabulary().token(id);
    if (token == nullptr) return "";
    if (skip_special_tokens_ && pipeline_.parts_.added.is_special(*token)) return "";
    chain_.push(*token);
    return chain_.take();
  }

  std::string finish() override {
    chain_.finish();
    return chain_.take();
  }

 private:
  const Pipeline& pipeline_;
  bool skip_special_tokens_;
  DecoderChain chain_;
};

const Vocabulary& Pipeline::vocabulary() const {
  return std::visit([](const auto& model) -> const Vocabulary& { return model.vocabulary(); },
                    parts_.model);
}

void Pipeline::encode_text(std::string_view text, bool first, BpeWorkspace& work,
                           std::vector<int32_t>& ids) const {
  const Pieces cut = pieces(parts_.pre_tokenizers, std::string(text), first);
  for (const Pieces::Piece& piece : cut.list) {
    if (const auto* bpe = std::get_if<Bpe>(&parts_.model))
      bpe->encode(cut.view(piece), work, ids);
    else
      std::get<WordPiece>(parts_.model).encode(cut.view(piece), ids);
  }
}

std::vector<int32_t> Pipeline::encode(std::string_view text, bool add_special_tokens) const {
  const auto work = workspaces_.lend();
  std::vector<int32_t> ids;
  for (const AddedTokens::Part& raw : parts_.added.split(text, false)) {
    if (raw.token != nullptr) {
      ids.push_back(raw.token->id);
      continue;
    }
    const std::string clean =
        normalized(parts_.normalizers, text.substr(raw.begin, raw.end - raw.begin));
    for (const AddedTokens::Part& part : parts_.added.split(clean, true)) {
      if (part.token != nullptr)
        ids.push_back(part.token->id);
      else
        encode_text(std::string_view(clean).substr(part.begin, part.end - part.begin),
                    raw.begin == 0 && part.begin == 0, *work, ids);
    }
  }
  const size_t n_around = add_special_tokens ? parts_.before.size() + parts_.after.size() : 0;
  if (parts_.truncation && ids.size() + n_around > parts_.truncation->max_length) {
    const size_t kept =
        parts_.truncation->max_length - std::min(parts_.truncation->max_length, n_around);
    if (parts_.truncation->left)
      ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(kept));
    else
      ids.resize(kept);
  }
  if (add_special_tokens) {
    ids.insert(ids.begin(), parts_.before.begin(), parts_.before.end());
    ids.insert(ids.end(), parts_.after.begin(), parts_.after.end());
  }
  if (parts_.padding) {
    const Padding& padding = *parts_.padding;
    size_t length = padding.length.value_or(ids.size());
    length += (padding.multiple - length % padding.multiple) % padding.multiple;
    if (length > ids.size())
      ids.insert(padding.left ? ids.begin() : ids.end(), length - ids.size(), padding.id);
  }
  return ids;
}

std::unique_ptr<TokenStream> Pipeline::stream(bool skip_special_tokens) const {
  return std::make_unique<Stream>(*this, skip_special_tokens);
}

int64_t Pipeline::size() const { return std::max(vocabulary().size(), parts_.added.size()); }

std::optional<int32_t> Pipeline::id_of(std::string_view token) const {
  if (const auto id = parts_.added.id(token)) return id;
  return vocabulary().id(token);
}

std::string Pipeline::description() const {
  return parts_.description + ", " + std::to_string(size()) + " tokens, " + parts_.file;
}

}  // namespace headcount::models
