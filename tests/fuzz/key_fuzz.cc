// A key file.
#include <sys/stat.h>

#include <cstdlib>

#include "cluster/transport/keys.h"
#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headcount;
  const std::string path = fuzz::folder() + "/node.key", again = path + ".again";
  fuzz::put("node.key", fuzz::text(data, size));
  ::chmod(path.c_str(), 0600);
  fuzz::expect_error_or_success(size, [&] {
    const transport::KeyFile key = transport::read_key_file(path);
    transport::write_key_file(again, key);
    const transport::KeyFile copy = transport::read_key_file(again);
    if (copy.name != key.name || copy.address != key.address) std::abort();
  });
  return 0;
}
