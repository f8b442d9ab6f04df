// Match data and a growing JIT stack are kept per thread, for making them costs more than most
// matches.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "models/tokenizers/pipeline/regex.h"

#include <pcre2.h>

#include <algorithm>

#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr size_t kFirstStackBytes = 32 << 10;
constexpr size_t kMostStackBytes = 64 << 20;
// Backtracks of one match, more for a longer text; a pattern that needs them never ends.
constexpr size_t kMostSteps = 10'000'000, kMostStepsPerByte = 16;

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* value) const {
    Free(value);
  }
};

struct Matcher {
  std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>> data{
      pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>> context{
      pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, Deleter<pcre2_jit_stack_free>> stack{
      pcre2_jit_stack_create(kFirstStackBytes, kMostStackBytes, nullptr)};

  Matcher() {
    if (data == nullptr || context == nullptr) throw std::bad_alloc();
    if (stack != nullptr) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

}  // namespace

struct Regex::Code {
  std::string pattern, file;
  std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>> compiled;
};

Regex::Regex(std::string_view pattern, const std::string& file) {
  const std::string translated = translate_pattern(pattern, file);
  const std::unique_ptr<pcre2_compile_context, Deleter<pcre2_compile_context_free>> context{
      pcre2_compile_context_create(nullptr)};
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE at = 0;
  auto code = std::make_shared<Code>();
  code->pattern = pattern;
  code->file = file;
  code->compiled.reset(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &at,
                    context.get()));
  if (code->compiled == nullptr) {
    PCRE2_UCHAR text[256] = {};
    pcre2_get_error_message(error, text, sizeof text);
    throw Error(file + " has a pattern this program cannot run, \"" + std::string(pattern) +
                "\": " + reinterpret_cast<const char*>(text));
  }
  pcre2_jit_compile(code->compiled.get(), PCRE2_JIT_COMPLETE);  // where it cannot: interpreted
  code_ = std::move(code);
}

std::optional<Regex::Match> Regex::find(std::string_view text, size_t from) const {
  thread_local const Matcher matcher;
  pcre2_set_match_limit(matcher.context.get(),
                        static_cast<uint32_t>(std::min<size_t>(
                            kMostSteps + kMostStepsPerByte * text.size(), UINT32_MAX)));
  const auto search = [&](uint32_t options) {
    return pcre2_match(code_->compiled.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                       text.size(), from, PCRE2_NO_UTF_CHECK | options, matcher.data.get(),
                       matcher.context.get());
  };
  int found = search(0);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = search(PCRE2_NO_JIT);
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0)
    throw Error("the pattern \"" + code_->pattern + "\" of " + code_->file +
                " takes too long on this text");
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(matcher.data.get());
  if (ends[0] > ends[1]) return std::nullopt;  // \K in a look-ahead
  return Match{ends[0], ends[1]};
}

}  // namespace headcount::models
