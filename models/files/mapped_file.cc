// mmap, and advice to the kernel about it.
#include "models/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "schemas/error.h"

namespace headcount::models {

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw Error("cannot open " + path + ": " + std::strerror(errno));
  struct stat info {};
  const bool regular = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0;
  size_ = regular ? static_cast<size_t>(info.st_size) : 0;
  void* const at = regular ? ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  const int why = errno;
  ::close(fd);
  if (!regular) throw Error(path + " is empty or not a regular file");
  if (at == MAP_FAILED) throw Error("cannot map " + path + ": " + std::strerror(why));
  data_ = static_cast<const std::byte*>(at);
  ::madvise(at, size_, MADV_SEQUENTIAL);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::span<const std::byte> MappedFile::at(const TensorPlace& place) const {
  struct stat info {};
  const bool shorter =
      ::stat(path_.c_str(), &info) == 0 && static_cast<size_t>(info.st_size) < size_;
  if (shorter || place.offset > size_ || place.size_bytes > size_ - place.offset)
    throw Error(path_ + " ends before weight " + place.name + "; it was changed, fetch it again");
  return bytes().subspan(place.offset, place.size_bytes);
}

void MappedFile::forget(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace headcount::models
