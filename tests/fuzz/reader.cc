// Files in memory where there is /dev/shm, and a count of live bytes by the sanitizer's allocation
// hooks.
#include "tests/fuzz/reader.h"

#include <sanitizer/allocator_interface.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "schemas/error.h"

namespace headcount::fuzz {
namespace {

std::atomic<size_t> live{0}, limit{SIZE_MAX};

void on_malloc(const volatile void*, size_t size) {
  const size_t now = live.fetch_add(size) + size;
  const size_t allowed = limit.load();
  if (now <= allowed || now > SIZE_MAX / 2) return;
  limit = SIZE_MAX;  // printing allocates
  std::fprintf(stderr, "fuzz: a reader holds %zu bytes, allowed are %zu\n", now, allowed);
  std::abort();
}

void on_free(const volatile void* at) {
  if (at != nullptr) live -= __sanitizer_get_allocated_size(const_cast<const void*>(at));
}

struct Folder {
  std::string path;
  Folder() {
    const std::string name = "headcount-fuzz-" + std::to_string(::getpid());
    std::error_code error;
    path = "/dev/shm/" + name;
    if (std::filesystem::create_directories(path, error)) return;
    path = std::filesystem::temp_directory_path() / name;
    std::filesystem::create_directories(path);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace

const std::string& folder() {
  static const Folder own;
  return own.path;
}

void put(const std::string& name, std::string_view bytes) {
  std::ofstream(folder() + "/" + name, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void expect_error_or_success(size_t input_size, const std::function<void()>& read) {
  static const int hooked = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
  if (hooked == 0) std::abort();
  live = 0;
  limit = kBytesBesides + kBytesPerByte * input_size;
  try {
    read();
  } catch (const Error&) {
  }
  limit = SIZE_MAX;
}

}  // namespace headcount::fuzz
