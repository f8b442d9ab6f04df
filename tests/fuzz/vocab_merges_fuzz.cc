// vocab.json and merges.txt: the input is the two, a NUL byte between them.
#include "models/tokenizers/tokenizer.h"
#include "tests/fuzz/reader.h"
#include "tests/fuzz/tokenizer_texts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headcount;
  const std::string_view all = fuzz::text(data, size);
  const size_t cut = all.find('\0');
  fuzz::put("vocab.json", all.substr(0, cut));
  fuzz::put("merges.txt", cut == std::string_view::npos ? "" : all.substr(cut + 1));
  fuzz::expect_error_or_success(size, [] { fuzz::use(models::Tokenizer::open(fuzz::folder())); });
  return 0;
}
