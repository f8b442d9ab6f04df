// The two directory layouts open_model knows, and what their readers share.
#pragma once

#include <string>

#include "models/files/config.h"

namespace headcount::models {

/// A Hugging Face directory: config.json of a known family (families.h), model.safetensors or
/// shards with an index.
ModelFiles open_huggingface(const std::string& directory);

/// One .safetensors file without a config.json: a tinydiff model, its sizes from its tensors'
/// shapes.
ModelFiles open_bare_tinydiff(const std::string& directory, const std::string& file);

/// A llama2.c version-0 file: 7 x int32 header, then float32 tensors in run.c's order; tok*.bin of
/// the same directory beside it.
ModelFiles open_llama2c(const std::string& directory, const std::string& file);

/// Throws Error naming `file` unless the shape describes a transformer this program can run (all
/// sizes positive and sane, heads divisible, an even d_head, special ids inside the vocabulary).
void check_shape(const Config& config, const std::string& file);

/// d_model / n_heads. Throws Error naming `file` unless it divides.
int64_t even_head(const Config& config, const std::string& file);

/// Something of that name is there, be it a link to nowhere: opening it says what is wrong with it.
bool is_there(const std::string& file);

/// Size of a file in bytes; throws Error when it is absent, unreadable or no regular file.
uint64_t file_size(const std::string& file);

/// The first `size` bytes at `offset`; throws Error naming the file when they are not there.
std::string read_range(const std::string& file, uint64_t offset, uint64_t size);

}  // namespace headcount::models
