#include "models/tokenizers/pipeline/merges.h"

#include "schemas/error.h"

namespace headcount::models {

MergeReader::MergeReader(const Vocabulary& vocabulary, std::string continuing_prefix,
                         std::string file)
    : vocabulary_(vocabulary),
      continuing_prefix_(std::move(continuing_prefix)),
      file_(std::move(file)) {}

void MergeReader::add(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
    throw Error(file_ + ": merge " + std::to_string(n_ + 1) + ", \"" + std::string(line) +
                "\", is not two parts with one space between");
  add(line.substr(0, space), line.substr(space + 1));
}

void MergeReader::add(std::string_view left, std::string_view right) {
  const auto id = [&](std::string_view token, const char* what) {
    const auto found = vocabulary_.id(token);
    if (!found || token.empty())
      throw Error(file_ + ": merge " + std::to_string(n_ + 1) + ", \"" + std::string(left) +
                  "\" and \"" + std::string(right) + "\": " + what + " \"" + std::string(token) +
                  "\" is not in the vocabulary");
    return static_cast<uint32_t>(*found);
  };
  const uint32_t a = id(left, "its part"), b = id(right, "its part");
  if (right.size() < continuing_prefix_.size())
    throw Error(file_ + ": merge " + std::to_string(n_ + 1) + ", \"" + std::string(left) +
                "\" and \"" + std::string(right) + "\": the second part has no \"" +
                continuing_prefix_ + "\" before it");
  const std::string joined =
      std::string(left) + std::string(right.substr(continuing_prefix_.size()));
  merges_.set(a, b, {n_, id(joined, "its result")});
  ++n_;
}

AddedToken read_added_token(const JsonValue& flags, const std::string& content, int64_t id) {
  constexpr int64_t kLargestId = (1 << 24) - 1;
  if (id < 0 || id > kLargestId)
    flags.refuse("gives the token \"" + content + "\" the id " + std::to_string(id) +
                 ", not 0 to " + std::to_string(kLargestId));
  if (content.empty()) flags.refuse("holds an empty token");
  const bool special = flags["special"].boolean(false);
  return {.content = content,
          .id = static_cast<int32_t>(id),
          .single_word = flags["single_word"].boolean(false),
          .lstrip = flags["lstrip"].boolean(false),
          .rstrip = flags["rstrip"].boolean(false),
          .normalized = flags["normalized"].boolean(!special),
          .special = special};
}

}  // namespace headcount::models
