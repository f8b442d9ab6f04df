// For tests: a folder with the smallest models and datasets a spec can name, good and broken ones.
// Written anew by each test program, removed with it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace headcount::experiments {

/// root/masked, root/masked-wide (LLaDA layout, addition vocabulary, 2 layers x 2 heads and 3 x 4),
/// root/causal (llama2.c, 2 layers x 2 heads, byte tokenizer); root/empty-folder, root/truncated,
/// root/other-family (no models); root/story.txt, root/empty.txt, root/labels.jsonl,
/// root/choices.jsonl, root/broken.jsonl, root/outside.jsonl.
/// While it lives the built-in models are copies of masked (builtin:addition) and masked-wide
/// (builtin:addition-gqa).
class TestFiles {
 public:
  TestFiles();
  ~TestFiles();
  TestFiles(const TestFiles&) = delete;
  TestFiles& operator=(const TestFiles&) = delete;

  std::string root() const { return root_.string(); }
  /// `text` with this folder's name replaced by ROOT, so that it is
  /// the same everywhere.
  std::string without_root(std::string text) const;

 private:
  std::filesystem::path root_;
  std::optional<std::string> builtin_before_;  // $HEADCOUNT_BUILTIN
};

}  // namespace headcount::experiments
