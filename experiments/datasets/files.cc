// Folders, pipes and devices are refused before they are opened: reading them fails late or never
// ends.
#include "experiments/datasets/files.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "schemas/error.h"

namespace headcount::datasets {

namespace {

constexpr int kEnd = std::char_traits<char>::eof();

std::ifstream open(const std::string& path) {
  std::error_code failed;
  const std::filesystem::file_status status = std::filesystem::status(path, failed);
  if (!std::filesystem::exists(status)) throw Error(path + " does not exist");
  if (!std::filesystem::is_regular_file(status)) throw Error(path + " is not a regular file");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error("cannot read " + path + ": " + std::strerror(errno));
  return file;
}

}  // namespace

std::string read_file(const std::string& path, uint64_t max_bytes) {
  std::ifstream file = open(path);
  std::error_code failed;
  const uint64_t size = std::filesystem::file_size(path, failed);
  if (failed) throw Error("cannot read " + path + ": " + failed.message());
  if (size > max_bytes)
    throw Error(path + " has " + std::to_string(size) + " bytes; at most " +
                std::to_string(max_bytes) + " are read");
  std::string bytes(size, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  if (static_cast<uint64_t>(file.gcount()) != size)
    throw Error("cannot read " + path + ": it ended early");
  return bytes;
}

Lines::Lines(const std::string& path, size_t max_bytes)
    : path_(path), file_(open(path)), max_bytes_(max_bytes) {}

std::optional<std::string> Lines::next() {
  ++number_;
  std::string line;
  std::streambuf& bytes = *file_.rdbuf();
  int byte = bytes.sbumpc();
  if (byte == kEnd) return std::nullopt;
  for (; byte != kEnd && byte != '\n'; byte = bytes.sbumpc()) {
    if (line.size() == max_bytes_)
      throw Error(place() + ": the line is longer than " + std::to_string(max_bytes_) + " bytes");
    line += static_cast<char>(byte);
  }
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

std::string Lines::place() const { return path_ + ":" + std::to_string(number_); }

}  // namespace headcount::datasets
