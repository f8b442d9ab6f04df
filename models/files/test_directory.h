// What the tests of this folder share: a folder that goes with its test, safetensors files of
// zeros, and small configs of every family (the fuzzers' seeds).
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "models/files/config.h"
#include "models/files/safetensors.h"
#include "schemas/error.h"

namespace headcount::models {

inline std::string shared(const std::string& path) {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  return (given != nullptr ? std::string(given)
                           : std::string(HEADCOUNT_SOURCE_DIR) + "/../shared") +
         "/" + path;
}

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not on this machine"

inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

class TestDirectory : public testing::Test {
 protected:
  TestDirectory() {
    std::string pattern = testing::TempDir() + "headcount-files-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~TestDirectory() override { std::filesystem::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& bytes) {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << bytes;
    return directory_ + "/" + name;
  }
  std::string refusal() {
    return error_of([&] { open_model(directory_); });
  }

  std::string directory_;
};

inline std::string u64(uint64_t value) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &value, 8);
  return bytes;
}

inline std::string safetensors(const std::string& header, size_t data_bytes) {
  return u64(header.size()) + header + std::string(data_bytes, '\0');
}

using Shapes = std::vector<std::pair<std::string, std::vector<int64_t>>>;

/// Tensors of zeros under these names.
inline std::string safetensors(const Shapes& shapes, const std::string& dtype = "F32") {
  std::vector<TensorForm> forms;
  uint64_t size = 0;
  for (const auto& [name, shape] : shapes) {
    forms.push_back({name, dtype, shape});
    size += std::accumulate(shape.begin(), shape.end(), dtype_size(dtype), std::multiplies<>());
  }
  return safetensors_header(forms, {}) + std::string(size, '\0');
}

/// A one-layer model's config.json.
inline std::string published_text(const std::string& family) {
  std::ostringstream text;
  text << std::ifstream(HEADCOUNT_SOURCE_DIR "/tests/fuzz/corpus/config/" + family).rdbuf();
  return text.str();
}

}  // namespace headcount::models
