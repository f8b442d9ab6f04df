// A task as a value: the keys of its datasets, what they get wrong together, and how they become
// rows. What the files of tasks share stands below it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/datasets/dataset.h"

namespace headcount::datasets {

/// Takes what is wrong at one of a dataset's keys.
using Complain = std::function<void(const char* key, const std::string& message)>;

/// What rows are made from.
struct Source {
  const Fields& values;  // of the task's keys, checked
  uint64_t seed = 0;     // the spec's
  const models::ModelFiles& model;
  const std::string& root;  // where relative paths start
};

/// Functions are references: a task that leaves one out does not compile.
struct Task {
  std::string_view name;
  std::span<const ParamInfo> params;  // all keys but `task`

  /// What the values get wrong together; no file is read.
  void (&check)(const Fields& values, const Complain& complain);
  /// Fills rows with their ids, objective, has_choices and windows. Throws Error as load() does.
  void (&load)(Dataset& dataset, const Source& source);
};

/// The task of that name, or nullptr.
const Task* find_task(std::string_view name);

constexpr double kMostAsked = 100'000'000;  // rows

/// A key, none of which is an axis.
ParamInfo key(ParamInfo info);
/// Complains of `rows` where so many rows of so many tokens are too_large.
void check_size(int64_t n_rows, int64_t n_tokens, const Complain& complain);
/// The path, from `root` where it is relative.
std::string resolve(const std::string& path, const std::string& root);
/// Gives ids and leaves rows offset .. offset + n_rows - 1. Ids count equal rows from the first row
/// of the file on, so they are given before any is left out.
void keep_range(std::vector<Row>& rows, size_t offset, size_t n_rows);

}  // namespace headcount::datasets
