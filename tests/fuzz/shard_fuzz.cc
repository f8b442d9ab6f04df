// A file of shards (`plan --shards`), a shard as a grant carries it, the result of one.
#include <cstdlib>

#include "schemas/result.h"
#include "schemas/shard.h"
#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headcount;
  const std::string_view bytes = fuzz::text(data, size);
  fuzz::put("shards", bytes);
  fuzz::expect_error_or_success(size, [] { read_shard_file(fuzz::folder() + "/shards"); });
  fuzz::expect_error_or_success(size, [&] {
    if (encode(decode_shard(bytes)) != bytes) std::abort();
  });
  fuzz::expect_error_or_success(size, [&] { decode_result(bytes); });
  return 0;
}
