// The header of a .safetensors file.
#include "models/files/safetensors.h"
#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headcount;
  fuzz::put("model.safetensors", fuzz::text(data, size));
  fuzz::expect_error_or_success(
      size, [] { models::read_safetensors(fuzz::folder() + "/model.safetensors"); });
  return 0;
}
