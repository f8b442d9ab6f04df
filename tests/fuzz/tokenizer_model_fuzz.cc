// tokenizer.model: a SentencePiece or a tiktoken file, told apart by content.
#include "models/tokenizers/tokenizer.h"
#include "tests/fuzz/reader.h"
#include "tests/fuzz/tokenizer_texts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headcount;
  fuzz::put("tokenizer.model", fuzz::text(data, size));
  fuzz::expect_error_or_success(
      size, [] { fuzz::use(models::Tokenizer::open(fuzz::folder() + "/tokenizer.model")); });
  return 0;
}
