// From a [datasets.NAME] to rows, by its task; and what holds of the rows of all tasks.
#include "experiments/datasets/dataset.h"

#include <functional>
#include <unordered_map>

#include "experiments/datasets/task.h"
#include "schemas/error.h"
#include "schemas/sha256.h"
#include "schemas/shard.h"

namespace headcount::datasets {

namespace {

constexpr std::string_view kElsewhere[] = {"task"};  // checked with the spec's outer shape

void append_little_endian(std::string& out, uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

/// The values of the dataset's keys; with problems, what is wrong with them.
Fields values_of(const DatasetSpec& spec, const Task& task, const std::string& file,
                 std::vector<Problem>& problems) {
  return read_params(spec.keys, task.params, kElsewhere, "datasets." + spec.name, file, spec.at,
                     problems)
      .front()
      .values;
}

}  // namespace

void check(const DatasetSpec& spec, size_t, const std::string& file,
           std::vector<Problem>& problems) {
  const Task* task = find_task(spec.task);
  HC_CHECK(task != nullptr);
  const size_t n_before = problems.size();
  const Fields values = values_of(spec, *task, file, problems);
  if (problems.size() != n_before) return;
  task->check(values, [&](const char* name, const std::string& message) {
    const Value::Member* member = find_member(spec.keys, name);
    problems.push_back({.file = file,
                        .at = member ? member->at : spec.at,
                        .key = "datasets." + spec.name + "." + name,
                        .message = message});
  });
}

Dataset load(const DatasetSpec& spec, uint64_t seed, const models::ModelFiles& model,
             const std::string& root) {
  const Task* task = find_task(spec.task);
  if (task == nullptr)
    throw Error("dataset \"" + spec.name + "\": no reader for task \"" + spec.task + "\"");
  std::vector<Problem> problems;
  check(spec, 0, "", problems);
  if (!problems.empty()) throw Error(to_string(problems.front()));
  const Fields values = values_of(spec, *task, "", problems);
  Dataset dataset;
  dataset.name = spec.name;
  dataset.task = spec.task;
  task->load(dataset, {.values = values, .seed = seed, .model = model, .root = root});
  dataset.rows_digest = key_of_rows(dataset.rows);
  return dataset;
}

std::string too_large(int64_t n_rows, int64_t n_tokens) {
  if (n_rows > kMaxRows)
    return std::to_string(n_rows) + " rows are more than a dataset may have, " +
           std::to_string(kMaxRows) + ": ask for fewer";
  if (n_tokens > kMaxTokens / n_rows)
    return std::to_string(n_rows) + " rows of " + std::to_string(n_tokens) +
           " tokens are more than a dataset may have, " + std::to_string(kMaxTokens) +
           " tokens: ask for fewer";
  return "";
}

void assign_ids(std::vector<Row>& rows) {
  const auto hash = [](const Row* row) { return content_hash(*row); };
  const auto equal = [](const Row* a, const Row* b) { return a->ids == b->ids; };
  std::unordered_map<const Row*, uint64_t, decltype(hash), decltype(equal)> seen;
  for (Row& row : rows) {
    std::string content;
    append_little_endian(content, row.ids.size(), 8);
    for (const int32_t id : row.ids) append_little_endian(content, static_cast<uint32_t>(id), 4);
    append_little_endian(content, seen[&row]++, 8);
    const Digest digest = sha256(content);
    row.id = 0;
    for (size_t i = 8; i-- > 0;) row.id = row.id << 8 | digest.bytes[i];
  }
}

uint64_t content_hash(const Row& row) {
  const auto* bytes = reinterpret_cast<const char*>(row.ids.data());
  return std::hash<std::string_view>{}({bytes, row.ids.size() * sizeof(int32_t)});
}

}  // namespace headcount::datasets
