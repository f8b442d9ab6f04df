// A file seen as memory: weights are read where they lie, without a copy of the file in host
// memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "models/files/config.h"

namespace headcount::models {

/// A read-only mapping of a whole regular file; unmapped with its owner. Movable. A file that
/// shrinks between `at` and the use of what it gave ends the process (SIGBUS), as for every reader
/// of mapped files.
class MappedFile {
 public:
  /// Throws Error naming the file when it cannot be opened, is no regular file, or is empty.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// The place's bytes, from its first element to its last. Throws Error when they are not in the
  /// file any more.
  std::span<const std::byte> at(const TensorPlace& place) const;
  /// Lets the kernel take these pages back: they will not be read again soon.
  void forget(std::span<const std::byte> part) const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace headcount::models
