// Names, defaults and older spellings as the published tokenizers library reads them.
#include "models/tokenizers/pipeline/json_components.h"

#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr size_t kMostSteps = 1024;
constexpr std::string_view kMetaspaceMark = "\xE2\x96\x81";

const std::string& type_of(const JsonValue& component) {
  if (!component.is_object()) component.refuse("is no component with a \"type\"");
  return component["type"].string();
}

template <class Step, class Read>
bool read_sequence(const JsonValue& component, const char* key, std::vector<Step>& out, Read read) {
  if (type_of(component) != "Sequence") return false;
  if (!component[key].is_array()) component[key].refuse("is no list of components");
  for (const JsonValue& item : component[key].items()) read(item, out);
  if (out.size() > kMostSteps) component.refuse("has more components than any tokenizer");
  return true;
}

[[noreturn]] void refuse_type(const JsonValue& component, const char* of) {
  component["type"].refuse("is \"" + type_of(component) + "\", " + of +
                           " this program does not know");
}

/// {"String": ...} or {"Regex": ...}, or a plain string.
std::variant<std::string, Regex> read_pattern(const JsonValue& pattern) {
  if (pattern.is_string()) return pattern.string();
  if (pattern.has("String")) return pattern["String"].string();
  if (pattern.has("Regex")) return Regex(pattern["Regex"].string(), pattern.file());
  pattern.refuse("has neither \"String\" nor \"Regex\"");
}

Replace read_replace(const JsonValue& component) {
  Replace replace;
  auto pattern = read_pattern(component["pattern"]);
  if (auto* regex = std::get_if<Regex>(&pattern))
    replace.regex = *regex;
  else
    replace.literal = std::get<std::string>(pattern);
  replace.content = component["content"].string();
  return replace;
}

Behavior read_behavior(const JsonValue& behavior, Behavior otherwise) {
  if (behavior.is_null()) return otherwise;
  const std::string& name = behavior.string();
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  behavior.refuse("is \"" + name + "\", a behavior this program does not know");
}

std::string one_code_point(const JsonValue& value, const std::string& otherwise) {
  const std::string text = value.string_or(otherwise);
  if (text.empty() || utf8::length(text) != 1) value.refuse("is not one character");
  return text;
}

/// prepend_scheme, or add_prefix_space as older files have it.
Metaspace::Prepend read_prepend(const JsonValue& component) {
  const JsonValue scheme = component["prepend_scheme"];
  const bool prefix = component["add_prefix_space"].boolean(true);
  if (scheme.is_null()) return prefix ? Metaspace::Prepend::kAlways : Metaspace::Prepend::kNever;
  const std::string& name = scheme.string();
  if (name == "never") return Metaspace::Prepend::kNever;
  if (!prefix) scheme.refuse("is \"" + name + "\", but add_prefix_space is false");
  if (name == "always") return Metaspace::Prepend::kAlways;
  if (name == "first") return Metaspace::Prepend::kFirst;
  scheme.refuse("is \"" + name + "\", not always, first or never");
}

size_t count(const JsonValue& value, size_t most) {
  const int64_t n = value.integer();
  if (n < 0 || static_cast<uint64_t>(n) > most)
    value.refuse("is " + std::to_string(n) + ", not 0 to " + std::to_string(most));
  return static_cast<size_t>(n);
}

int32_t token_id(const JsonValue& value) { return static_cast<int32_t>(count(value, 1 << 24)); }

void read_template(const JsonValue& component, std::vector<int32_t>& before,
                   std::vector<int32_t>& after) {
  const JsonValue special = component["special_tokens"];
  bool seen = false;
  if (!component["single"].is_array()) component["single"].refuse("is no template");
  for (const JsonValue& piece : component["single"].items()) {
    if (piece.has("Sequence")) {
      if (piece["Sequence"]["id"].string() != "A" || seen)
        component["single"].refuse("does not hold the text A exactly once");
      seen = true;
    } else if (piece.has("SpecialToken")) {
      const std::string& name = piece["SpecialToken"]["id"].string();
      if (!special.has(name)) special.refuse("has no \"" + name + "\", which the template uses");
      for (const JsonValue& id : special[name]["ids"].items())
        (seen ? after : before).push_back(token_id(id));
    } else {
      component["single"].refuse("holds neither a Sequence nor a SpecialToken");
    }
  }
  if (!seen) component["single"].refuse("does not hold the text A exactly once");
}

int32_t pair_id(const JsonValue& pair) {
  const auto items = pair.items();
  if (items.size() != 2) pair.refuse("is not [token, id]");
  return token_id(items[1]);
}

}  // namespace

void read_normalizer(const JsonValue& component, std::vector<Normalizer>& out) {
  if (component.is_null()) return;
  if (read_sequence(component, "normalizers", out, read_normalizer)) return;
  const std::string& type = type_of(component);
  if (type == "NFC") return out.push_back(unicode::Form::kNfc);
  if (type == "NFD") return out.push_back(unicode::Form::kNfd);
  if (type == "NFKC") return out.push_back(unicode::Form::kNfkc);
  if (type == "NFKD") return out.push_back(unicode::Form::kNfkd);
  if (type == "Lowercase") return out.push_back(Lowercase{});
  if (type == "StripAccents") return out.push_back(StripAccents{});
  if (type == "Nmt") return out.push_back(Nmt{});
  if (type == "ByteLevel") return out.push_back(ByteLevelNormalizer{});
  if (type == "Prepend") return out.push_back(Prepend{component["prepend"].string()});
  if (type == "Replace") return out.push_back(read_replace(component));
  if (type == "Strip") {
    return out.push_back(
        StripSpace{component["strip_left"].boolean(true), component["strip_right"].boolean(true)});
  }
  if (type == "BertNormalizer") {
    const bool lowercase = component["lowercase"].boolean(true);
    return out.push_back(
        BertNormalizer{.clean_text = component["clean_text"].boolean(true),
                       .chinese = component["handle_chinese_chars"].boolean(true),
                       .strip_accents = component["strip_accents"].boolean(lowercase),
                       .lowercase = lowercase});
  }
  refuse_type(component, "a normalizer");
}

void add_bert_pre_tokenizer(std::vector<PreTokenizer>& out) {
  out.push_back(Split{unicode::is_white_space, Behavior::kRemoved, false});
  out.push_back(Split{unicode::is_punctuation, Behavior::kIsolated, false});
}

void read_pre_tokenizer(const JsonValue& component, std::vector<PreTokenizer>& out) {
  if (component.is_null()) return;
  if (read_sequence(component, "pretokenizers", out, read_pre_tokenizer)) return;
  const std::string& type = type_of(component);
  if (type == "ByteLevel") {
    ByteLevel level{component["add_prefix_space"].boolean(true), std::nullopt};
    if (component["use_regex"].boolean(true)) level.pattern.emplace(kGpt2Pattern, component.file());
    return out.push_back(std::move(level));
  }
  if (type == "Split") {
    Split split{unicode::is_white_space, read_behavior(component["behavior"], Behavior::kIsolated),
                component["invert"].boolean(false)};
    std::visit(
        [&](auto& pattern) { split.at = pattern; },
        static_cast<const std::variant<std::string, Regex>&>(read_pattern(component["pattern"])));
    return out.push_back(std::move(split));
  }
  if (type == "Metaspace") {
    return out.push_back(
        Metaspace{one_code_point(component["replacement"], std::string(kMetaspaceMark)),
                  read_prepend(component), component["split"].boolean(true)});
  }
  if (type == "Digits") {
    const bool alone = component["individual_digits"].boolean(false);
    return out.push_back(
        Split{unicode::is_numeric, alone ? Behavior::kIsolated : Behavior::kContiguous, false});
  }
  if (type == "Punctuation") {
    return out.push_back(Split{unicode::is_punctuation,
                               read_behavior(component["behavior"], Behavior::kIsolated), false});
  }
  if (type == "Whitespace")
    return out.push_back(
        Split{Regex("\\w+|[^\\w\\s]+", component.file()), Behavior::kRemoved, true});
  if (type == "WhitespaceSplit")
    return out.push_back(Split{unicode::is_white_space, Behavior::kRemoved, false});
  if (type == "CharDelimiterSplit")
    return out.push_back(
        Split{one_code_point(component["delimiter"], ""), Behavior::kRemoved, false});
  if (type == "BertPreTokenizer") return add_bert_pre_tokenizer(out);
  refuse_type(component, "a pre-tokenizer");
}

void read_decoder(const JsonValue& component, std::vector<DecoderStep>& out) {
  if (component.is_null()) return;
  if (read_sequence(component, "decoders", out, read_decoder)) return;
  const std::string& type = type_of(component);
  if (type == "ByteLevel") return out.push_back(ByteLevelDecoder{});
  if (type == "ByteFallback") return out.push_back(ByteFallback{});
  if (type == "Fuse") return out.push_back(Fuse{});
  if (type == "Replace") return out.push_back(read_replace(component));
  if (type == "Strip") {
    return out.push_back(StripChar{one_code_point(component["content"], " "),
                                   count(component["start"], 1 << 20),
                                   count(component["stop"], 1 << 20)});
  }
  if (type == "Metaspace") {
    return out.push_back(
        MetaspaceDecoder{one_code_point(component["replacement"], std::string(kMetaspaceMark)),
                         read_prepend(component) != Metaspace::Prepend::kNever});
  }
  if (type == "WordPiece") {
    return out.push_back(
        WordPieceDecoder{component["prefix"].string_or("##"), component["cleanup"].boolean(true)});
  }
  if (type == "BPEDecoder") return out.push_back(BpeDecoder{component["suffix"].string_or("</w>")});
  refuse_type(component, "a decoder");
}

void read_post_processor(const JsonValue& component, std::vector<int32_t>& before,
                         std::vector<int32_t>& after) {
  if (component.is_null()) return;
  const std::string& type = type_of(component);
  if (type == "Sequence") {
    if (!component["processors"].is_array())
      component["processors"].refuse("is no list of components");
    for (const JsonValue& item : component["processors"].items()) {
      std::vector<int32_t> outside;
      read_post_processor(item, outside, after);
      before.insert(before.begin(), outside.begin(), outside.end());
    }
    return;
  }
  if (type == "ByteLevel") return;  // moves offsets, not ids
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    before.insert(before.begin(), pair_id(component["cls"]));
    after.push_back(pair_id(component["sep"]));
    return;
  }
  if (type == "TemplateProcessing") return read_template(component, before, after);
  refuse_type(component, "a post-processor");
}

}  // namespace headcount::models
