// From a checked [datasets.NAME] to rows: each task has its reader; what they share is here.
#include "experiments/datasets/dataset.h"

#include <filesystem>
#include <functional>
#include <unordered_map>

#include "experiments/datasets/addition.h"
#include "experiments/datasets/text.h"
#include "experiments/datasets/tokens.h"
#include "schemas/error.h"
#include "schemas/sha256.h"
#include "schemas/shard.h"

namespace headcount::datasets {

namespace {

constexpr int kAdditionRowSize = addition::kPromptSize + addition::kAnswerSize;
constexpr std::string_view kElsewhere[] = {"task"};  // checked with the spec's outer shape

void append_little_endian(std::string& out, uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::string resolve(const std::string& path, const std::string& root) {
  return path.starts_with('/') || root.empty() ? path : root + "/" + path;
}

addition::Split split_named(const std::string& name) {
  if (name == "train") return addition::Split::kTrain;
  return name == "validation" ? addition::Split::kValidation : addition::Split::kTest;
}

void require_addition_model(const models::ModelFiles& model) {
  const models::Config& config = model.config;
  if (config.vocab_size != addition::kVocabSize || config.mask_id != addition::kMask)
    throw Error("task addition needs a masked-diffusion model with the addition vocabulary (" +
                std::to_string(addition::kVocabSize) + " tokens, mask " +
                std::to_string(addition::kMask) + ") such as builtin:addition; " + model.directory +
                " has " + std::to_string(config.vocab_size) + " tokens and " +
                (config.masked() ? "mask " + std::to_string(config.mask_id) : "no mask token"));
  if (config.max_positions < kAdditionRowSize)
    throw Error("task addition needs " + std::to_string(kAdditionRowSize) + " positions; " +
                model.directory + " has " + std::to_string(config.max_positions));
}

void load_addition(Dataset& dataset, const Fields& values, uint64_t spec_seed,
                   const models::ModelFiles& model) {
  require_addition_model(model);
  const auto seed =
      values.contains("seed") ? static_cast<uint64_t>(get<int64_t>(values, "seed")) : spec_seed;
  const addition::Stream problems(split_named(get<std::string>(values, "split")), seed);
  const auto offset = static_cast<uint64_t>(get<int64_t>(values, "offset"));
  const auto n_rows = static_cast<uint64_t>(get<int64_t>(values, "rows"));
  dataset.rows.reserve(n_rows);
  for (uint64_t i = offset; i < offset + n_rows; ++i)
    dataset.rows.push_back(addition::row(problems(i), seed));
  assign_ids(dataset.rows);  // no problem comes twice: where they begin does not matter
  dataset.objective = Objective::kMasked;
  dataset.has_choices = true;
}

/// Ids count equal rows from the first row of the file on, so they are given before any is left
/// out.
void keep_range(std::vector<Row>& rows, size_t offset, size_t n_rows) {
  assign_ids(rows);
  rows.resize(offset + n_rows);
  rows.erase(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(offset));
}

void load_text(Dataset& dataset, const Fields& values, const models::ModelFiles& model,
               const std::string& root) {
  TextOptions options;
  options.masked = get<std::string>(values, "objective") == "masked";
  options.bos = get<bool>(values, "bos");
  options.window = get<int64_t>(values, "window");
  options.stride = get_or<int64_t>(values, "stride", 0);
  options.prompt = get<int64_t>(values, "prompt");
  const int64_t offset = get<int64_t>(values, "offset"), n_rows = get<int64_t>(values, "rows");
  options.n_rows = offset + n_rows;
  const std::string path = resolve(get<std::string>(values, "path"), root);
  dataset.rows = read_text(path, options, model);
  keep_range(dataset.rows, static_cast<size_t>(offset), static_cast<size_t>(n_rows));
  dataset.objective = options.masked ? Objective::kMasked : Objective::kNextToken;
  const int64_t n_text = options.window - (options.bos && model.config.bos_id >= 0 ? 1 : 0);
  dataset.windows = {
      .text = std::filesystem::weakly_canonical(path).string(), .first = {}, .length = n_text};
  for (int64_t i = offset; i < offset + n_rows; ++i)
    dataset.windows.first.push_back(i * (options.stride > 0 ? options.stride : n_text));
}

void load_tokens(Dataset& dataset, const Fields& values, const models::ModelFiles& model,
                 const std::string& root) {
  const std::string path = resolve(get<std::string>(values, "path"), root);
  dataset.rows = read_tokens(path, model.config);
  const auto n_read = static_cast<int64_t>(dataset.rows.size());
  const int64_t offset = get<int64_t>(values, "offset");
  const int64_t n_rows = get_or<int64_t>(values, "rows", n_read - offset);
  if (n_rows < 1 || n_rows > n_read - offset)
    throw Error(
        path + " has " + std::to_string(n_read) + " rows; offset " + std::to_string(offset) +
        (n_rows < 1 ? " leaves none" : " and rows " + std::to_string(n_rows) + " ask for more"));
  keep_range(dataset.rows, static_cast<size_t>(offset), static_cast<size_t>(n_rows));
  dataset.has_choices = !dataset.rows.front().choices.empty();
  dataset.objective = dataset.has_choices ? Objective::kChoices : Objective::kGivenLabels;
}

}  // namespace

Dataset load(const DatasetSpec& spec, uint64_t seed, const models::ModelFiles& model,
             const std::string& root) {
  std::vector<Problem> problems;
  check(spec, 0, "", problems);
  if (!problems.empty()) throw Error(to_string(problems.front()));
  const Fields values = read_params(spec.keys, task_params(spec.task), kElsewhere,
                                    "datasets." + spec.name, "", spec.at, problems)
                            .front()
                            .values;
  Dataset dataset;
  dataset.name = spec.name;
  dataset.task = spec.task;
  if (spec.task == "addition")
    load_addition(dataset, values, seed, model);
  else if (spec.task == "text")
    load_text(dataset, values, model, root);
  else if (spec.task == "tokens")
    load_tokens(dataset, values, model, root);
  else
    throw Error("dataset \"" + spec.name + "\": no reader for task \"" + spec.task + "\"");
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
