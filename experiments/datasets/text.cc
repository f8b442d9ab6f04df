// Windows are taken from the tokens of the whole file: where one begins depends on stride alone,
// never on rows or offset.
#include "experiments/datasets/text.h"

#include <algorithm>

#include "experiments/datasets/files.h"
#include "models/tokenizers/tokenizer.h"
#include "schemas/error.h"

namespace headcount::datasets {

namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;

void require_model(const TextOptions& options, const models::ModelFiles& model) {
  const models::Config& config = model.config;
  if (model.tokenizer.empty())
    throw Error("task text needs a model with a tokenizer; " + model.directory + " has none");
  if (options.masked && !config.masked())
    throw Error("objective \"masked\" needs a masked-diffusion model; " + model.directory +
                " has no mask token: use objective \"next_token\"");
  if (!options.masked && !config.causal)
    throw Error("objective \"next_token\" needs a causal model; " + model.directory +
                " reads in both directions: use objective \"masked\"");
  if (options.window > config.max_positions)
    throw Error("window " + std::to_string(options.window) + " is longer than the " +
                std::to_string(config.max_positions) + " positions of " + model.directory);
}

Row window_at(const std::vector<int32_t>& tokens, size_t begin, size_t n_bos,
              const TextOptions& options, int32_t bos_id) {
  const auto n = static_cast<size_t>(options.window);
  Row row;
  row.ids.resize(n, bos_id);
  std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(begin), n - n_bos,
              row.ids.begin() + static_cast<std::ptrdiff_t>(n_bos));
  const size_t asked = std::max(static_cast<size_t>(options.prompt), n_bos);
  if (options.masked) {
    row.span_begin = static_cast<int32_t>(asked);
    row.span_end = static_cast<int32_t>(n);
    return row;
  }
  row.labels.assign(n, kIgnore);
  for (size_t i = 0; i + 1 < n; ++i)
    if (i + 1 >= asked) row.labels[i] = row.ids[i + 1];
  return row;
}

}  // namespace

std::vector<Row> read_text(const std::string& path, const TextOptions& options,
                           const models::ModelFiles& model) {
  require_model(options, model);
  const std::string text = read_file(path, kMaxFileBytes);
  if (text.empty()) throw Error(path + " is empty");
  const models::Config& config = model.config;
  const std::vector<int32_t> tokens = models::Tokenizer::open(model.tokenizer).encode(text);
  if (!tokens.empty() && *std::max_element(tokens.begin(), tokens.end()) >= config.vocab_size)
    throw Error(model.tokenizer + " belongs to another vocabulary: it makes tokens beyond the " +
                std::to_string(config.vocab_size) + " of " + model.directory);
  const size_t n_bos = options.bos && config.bos_id >= 0 ? 1 : 0;
  const size_t n_text = static_cast<size_t>(options.window) - n_bos;
  const size_t stride = options.stride > 0 ? static_cast<size_t>(options.stride) : n_text;
  const size_t n_windows = tokens.size() < n_text ? 0 : (tokens.size() - n_text) / stride + 1;
  if (n_windows < static_cast<size_t>(options.n_rows))
    throw Error(path + " has " + std::to_string(tokens.size()) + " tokens, which make " +
                std::to_string(n_windows) + " windows of " + std::to_string(options.window) +
                "; offset and rows ask for " + std::to_string(options.n_rows));
  std::vector<Row> rows;
  for (size_t i = 0; i < static_cast<size_t>(options.n_rows); ++i)
    rows.push_back(
        window_at(tokens, i * stride, n_bos, options, static_cast<int32_t>(config.bos_id)));
  return rows;
}

}  // namespace headcount::datasets
