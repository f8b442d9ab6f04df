// A spec, up to the models and datasets it names: there are none here.
#include "experiments/sweep.h"
#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headcount;
  const std::string_view text = fuzz::text(data, size);
  fuzz::expect_error_or_success(size, [&] {
    const ParsedSpec parsed = parse_spec(text, "spec.toml");
    if (parsed.spec) canonical(*parsed.spec);
    to_string(parsed.problems);
    to_string(experiments::prepare(text, "spec.toml", fuzz::folder()).problems);
  });
  return 0;
}
