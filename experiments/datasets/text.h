// The `text` task: a file, tokenized once as a whole, cut into windows of equal length.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/files/config.h"
#include "schemas/row.h"

namespace headcount::datasets {

struct TextOptions {
  bool masked = false;  // else next-token
  bool bos = true;      // a window begins with the model's bos_id, where it has one
  int64_t window = 0;   // tokens, bos included
  int64_t stride = 0;   // text tokens from window to window; 0: just no overlap
  int64_t prompt = 0;   // leading tokens that are context only
  int64_t n_rows = 0;
};

/// The first n_rows windows, without ids. Next-token: labels[i] = ids[i + 1] where position i + 1
/// is not prompt, the last label kIgnore. Masked: the span is everything after prompt and bos.
/// Throws Error naming the file for one that cannot be read, is empty or too short for n_rows
/// windows, and the model where it has no tokenizer, too few positions or the other objective.
std::vector<Row> read_text(const std::string& path, const TextOptions& options,
                           const models::ModelFiles& model);

}  // namespace headcount::datasets
