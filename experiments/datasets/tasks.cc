// Part of experiments/datasets/task.h.
// The registry: every task of tasks.def as a value; and what their files share.
#include <array>

#include "experiments/datasets/task.h"

namespace headcount::datasets {

#define TASK(name) const Task& name##_task();
#include "experiments/datasets/tasks.def"
#undef TASK

namespace {

std::span<const Task> tasks() {
  static const std::array all = {
#define TASK(name) name##_task(),
#include "experiments/datasets/tasks.def"
#undef TASK
  };
  return all;
}

}  // namespace

const Task* find_task(std::string_view name) {
  for (const Task& task : tasks()) {
    if (task.name == name) return &task;
  }
  return nullptr;
}

std::span<const ParamInfo> task_params(std::string_view name) {
  const Task* task = find_task(name);
  return task == nullptr ? std::span<const ParamInfo>() : task->params;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Task& task : tasks()) names.emplace_back(task.name);
  return names;
}

ParamInfo key(ParamInfo info) {
  info.axis = false;
  return info;
}

void check_size(int64_t n_rows, int64_t n_tokens, const Complain& complain) {
  const std::string why = too_large(n_rows, n_tokens);
  if (!why.empty()) complain("rows", why);
}

std::string resolve(const std::string& path, const std::string& root) {
  return path.starts_with('/') || root.empty() ? path : root + "/" + path;
}

void keep_range(std::vector<Row>& rows, size_t offset, size_t n_rows) {
  assign_ids(rows);
  rows.resize(offset + n_rows);
  rows.erase(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace headcount::datasets
