// What is wrong with something a user wrote, with the place to mend it.
#pragma once

#include <string>
#include <vector>

namespace headcount {

/// A place in a text file; both count from 1, 0 = unknown.
struct Position {
  int line = 0;
  int column = 0;
};

/// One thing to mend in a spec. `message` says what was found and what was expected, and the fix
/// where it is known.
struct Problem {
  std::string file;
  Position at;
  std::string key;  // path of the key: "stage[0].ig_steps"; empty for a syntax error
  std::string message;
};

/// "demo.toml:12:1: stage[0].ig_steps: expected ..., found ..."
std::string to_string(const Problem& problem);

/// All problems, one a line.
std::string to_string(const std::vector<Problem>& problems);

/// The candidate closest to `word` when it is close enough to be a slip (Damerau-Levenshtein <= 1 +
/// size/4), else "".
std::string closest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace headcount
