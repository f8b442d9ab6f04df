// What the dataset tests share: a scratch folder, model shapes, and dataset specs written in a
// line.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "experiments/datasets/dataset.h"
#include "schemas/error.h"

namespace headcount::datasets {

/// A folder of its own, removed with the fixture.
class Folder : public ::testing::Test {
 protected:
  Folder()
      : path_(std::filesystem::temp_directory_path() /
              ("headcount-datasets-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() override { std::filesystem::remove_all(path_); }

  std::string write(const std::string& name, const std::string& bytes) const {
    const std::string file = (path_ / name).string();
    std::ofstream(file, std::ios::binary) << bytes;
    return file;
  }
  std::string root() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// A spec of `task` with the given keys, in order.
inline DatasetSpec spec_of(const std::string& task,
                           std::vector<std::pair<std::string, Value>> keys) {
  DatasetSpec spec{.name = "d", .at = {3, 1}, .task = task, .keys = {}};
  spec.keys.push_back({"task", {4, 1}, Value{task, {4, 8}}});
  int line = 5;
  for (auto& [key, value] : keys) {
    value.at = {line, 20};
    spec.keys.push_back({key, {line++, 1}, std::move(value)});
  }
  return spec;
}
inline Value number(int64_t value) { return Value{value, {}}; }
inline Value text(const std::string& value) { return Value{value, {}}; }

inline models::ModelFiles addition_model() {
  models::ModelFiles files;
  files.directory = "addition-model";
  files.config.family = "llada";
  files.config.vocab_size = 16;
  files.config.mask_id = 15;
  files.config.max_positions = 64;
  return files;
}

/// what() of the Error `action` throws; "" where it throws none.
template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace headcount::datasets
