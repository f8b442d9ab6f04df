// The two halves of parse_spec that know nothing of toml++: what is looked at before it (encoding,
// size, nesting) and what is read after it (name, seed, [models.X], [datasets.X], [[stage]]).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/spec.h"

namespace headcount {

struct Unreadable {
  Position at;
  std::string message;
};

/// Why `text` should not reach a TOML parser: too big, not UTF-8, or nested beyond kMaxSpecNesting.
/// One pass.
std::optional<Unreadable> unreadable(std::string_view text);

/// The outer shape; everything wrong with it goes to `problems`. What could be read is in the spec
/// all the same.
Spec read_shape(const Value::Table& root, const std::string& file, std::vector<Problem>& problems);

}  // namespace headcount
