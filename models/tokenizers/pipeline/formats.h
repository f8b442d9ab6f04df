// What the formats that say less than tokenizer.json share.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "models/tokenizers/pipeline/pipeline.h"

namespace headcount::models {

/// Qwen2's words.
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// visit(line) of every line that is not empty, without its end.
template <class Visit>
void each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) visit(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// Byte-level BPE over words of `pattern`, with nothing else; `file` for its description.
PipelineParts byte_level_parts(Bpe bpe, std::string_view pattern, const std::string& file);

/// Found in raw text.
AddedToken special_token(std::string content, int32_t id);

}  // namespace headcount::models
