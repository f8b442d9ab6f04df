// config.json of a model directory, and what follows from it until a weight is missing: the
// directory holds one file of weights without a tensor.
#include "models/files/config.h"
#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headcount;
  static const bool made = [] {
    std::string empty("\x02\0\0\0\0\0\0\0{}", 10);
    fuzz::put("model.safetensors", empty);
    return true;
  }();
  if (!made) return 0;
  fuzz::put("config.json", fuzz::text(data, size));
  fuzz::expect_error_or_success(size, [] { models::open_model(fuzz::folder()); });
  return 0;
}
