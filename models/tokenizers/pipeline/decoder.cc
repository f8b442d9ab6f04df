// Text leaves the chain as soon as it is certain. Behind a step that makes one token of all, that
// token is passed on in parts where every later step can take it so, else at the end.
#include "models/tokenizers/pipeline/decoder.h"

#include <optional>

#include "models/tokenizers/pipeline/byte_level.h"
#include "models/tokenizers/utf8.h"

namespace headcount::models {
namespace {

std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
  return Replace{std::string(what), std::nullopt, std::string(by)}(text);
}

std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  const int high = token[3] == '+' ? 0 : digit(token[3]), low = digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(16 * high + low);
}

/// The text of an English sentence whose words and signs were all set apart.
std::string without_odd_spaces(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kCloser[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [apart, closer] : kCloser) text = replaced(text, apart, closer);
  return text;
}

bool takes_parts(const DecoderStep& step) {
  if (const auto* strip = std::get_if<StripChar>(&step)) return strip->stop == 0;
  return std::holds_alternative<Fuse>(step);
}

}  // namespace

struct DecoderChain::Push {
  DecoderChain& chain;
  size_t at;
  Stage& stage;
  std::string_view token;
  bool begins;

  void next(std::string_view text, bool new_token) const { chain.push(at + 1, text, new_token); }

  void operator()(const ByteLevelDecoder&) const {
    if (const auto bytes = byte_level::to_bytes(token))
      stage.held += *bytes;
    else
      stage.held += token;
    if (!stage.streams) return;
    std::string text;
    stage.held.erase(0, utf8::append_valid(text, stage.held, true));
    next(text, stage.n_tokens++ == 0);
  }

  void operator()(const ByteFallback&) const {
    if (const auto byte = byte_of(token)) {
      stage.held += *byte;
      return;
    }
    flush_bytes();
    next(token, true);
  }

  void flush_bytes() const {
    if (stage.held.empty()) return;
    const std::string bytes = std::move(stage.held);
    stage.held.clear();
    if (utf8::is_valid(bytes)) return next(bytes, true);
    for (size_t i = 0; i < bytes.size(); ++i) next(utf8::kReplacement, true);
  }

  void operator()(const Fuse&) const {
    if (stage.streams)
      next(token, stage.n_tokens++ == 0);
    else
      stage.held += token;
  }

  void operator()(const JoinBySpace&) const {
    const bool first = stage.n_tokens++ == 0;
    if (!first) next(" ", false);
    next(token, first);
  }

  void operator()(const StripChar& strip) const {
    if (begins) {
      stage.open = true;
      stage.n_stripped = 0;
    }
    std::string_view text = token;
    while (stage.open && !text.empty()) {
      stage.open = stage.n_stripped < strip.start && text.starts_with(strip.content);
      if (!stage.open) break;
      text.remove_prefix(strip.content.size());
      ++stage.n_stripped;
    }
    for (size_t i = 0; i < strip.stop && text.ends_with(strip.content); ++i)
      text.remove_suffix(strip.content.size());
    next(text, begins);
  }

  void operator()(const MetaspaceDecoder& space) const {
    const bool first = stage.n_tokens++ == 0;
    next(replaced(token, space.mark, first && space.drop_first ? "" : " "), true);
  }

  void operator()(const WordPieceDecoder& piece) const {
    std::string text(token);
    if (stage.n_tokens++ > 0) {
      if (text.starts_with(piece.prefix))
        text.erase(0, piece.prefix.size());
      else
        text.insert(0, " ");
    }
    next(piece.cleanup ? without_odd_spaces(std::move(text)) : text, true);
  }

  void operator()(const BpeDecoder& bpe) const {
    if (stage.n_tokens++ > 0) next(replaced(stage.held, bpe.suffix, " "), true);
    stage.held = token;
  }

  void operator()(const Replace& replace) const { next(replace(token), true); }
};

struct DecoderChain::Finish {
  DecoderChain& chain;
  size_t at;
  Stage& stage;

  void next(std::string_view text, bool new_token) const { chain.push(at + 1, text, new_token); }

  void operator()(const ByteLevelDecoder&) const {
    next(utf8::to_valid(stage.held), stage.n_tokens == 0);
  }
  void operator()(const ByteFallback&) const { Push{chain, at, stage, {}, true}.flush_bytes(); }
  void operator()(const Fuse&) const {
    if (stage.n_tokens == 0) next(stage.held, true);
  }
  void operator()(const BpeDecoder& bpe) const {
    if (stage.n_tokens > 0) next(replaced(stage.held, bpe.suffix, ""), true);
  }
  template <class Other>
  void operator()(const Other&) const {}
};

DecoderChain::DecoderChain(const std::vector<DecoderStep>& steps) : stages_(steps.size()) {
  bool streams = true;
  for (size_t i = steps.size(); i-- > 0;) {
    stages_[i].step = &steps[i];
    stages_[i].streams = streams;
    streams = streams && takes_parts(steps[i]);
  }
}

void DecoderChain::push(size_t at, std::string_view token, bool begins) {
  if (at == stages_.size()) {
    text_ += token;
    return;
  }
  std::visit(Push{*this, at, stages_[at], token, begins}, *stages_[at].step);
}

void DecoderChain::finish() {
  for (size_t at = 0; at < stages_.size(); ++at)
    std::visit(Finish{*this, at, stages_[at]}, *stages_[at].step);
}

std::string DecoderChain::take() {
  std::string text = std::move(text_);
  text_.clear();
  return text;
}

}  // namespace headcount::models
