// The tensors of a Hugging Face directory and which of them are which weights.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/files/config.h"
#include "models/files/families.h"

namespace headcount::models {

/// The tensors of one checkpoint by the names they have there.
struct Checkpoint {
  std::map<std::string, TensorPlace> tensors = {};
  std::vector<std::string> unlisted = {};  // in a shard, but not in the index
  std::string listed_in = {};              // the file that says which there are
  const Family* family = nullptr;
  std::string prefix = {};  // the one of the family's this checkpoint uses

  /// The tensor of that published name, with or without the prefix; null where there is none.
  const TensorPlace* find(const std::string& name) const;
};

/// model.safetensors, or the shards model.safetensors.index.json names. Throws Error where there is
/// neither, where a shard is missing, or where the index and the shards contradict each other.
Checkpoint read_checkpoint(const std::string& directory, const Family& family);

/// A single file.
Checkpoint read_checkpoint_file(const std::string& file, const Family& family);

/// Fills files.tensors and files.extra for files.config. Throws Error naming `config_file`, the
/// stored name, what was found and what was expected.
void place_weights(const Checkpoint& checkpoint, const std::string& config_file, ModelFiles& files);

}  // namespace headcount::models
