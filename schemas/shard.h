// The shard: the whole input of one deterministic computation over an aligned block of rows. It is
// the unit of leasing, storing and caching; its key names its content, never its place in a sweep.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/fields.h"
#include "schemas/row.h"
#include "schemas/sha256.h"

namespace headcount {

using ShardKey = Digest;

/// Everything that affects the numbers of one computation, and nothing else.
struct Shard {
  std::string kind;              // of the computation: head_importance | evaluate | noop
  int64_t numerics_version = 1;  // of that kind: raised when its numbers change on purpose
  std::string model;             // fingerprint (hex SHA-256 of config and weights); empty for noop
  std::string dtype;             // float64 | float32 | bfloat16; empty for noop
  Fields params;                 // the parameters actually used, named as in docs/spec.md
  uint64_t seed = 0;
  int64_t micro_batch = 0;  // forward samples computed together: it changes last bits
  std::vector<Row> rows;
  bool operator==(const Shard&) const = default;
};

/// Deterministic CBOR of all members; what the wire, the runner's pipe and `plan --shards` carry.
std::string encode(const Shard& shard);
/// Throws Error on anything malformed: depth, sizes and types are checked while reading, before
/// memory is taken.
Shard decode_shard(std::string_view bytes);
/// SHA-256 of encode(shard).
ShardKey key(const Shard& shard);
/// The key of a shard of nothing but these rows, without a copy of them.
Digest key_of_rows(std::span<const Row> rows);

/// One file of shards (`plan --shards`, `headcount-runner run`): the models' paths, then the
/// shards.
struct ShardFile {
  std::map<std::string, std::string> model_paths;  // fingerprint -> path as the spec names it
  std::vector<Shard> shards;
};
void write_shard_file(const std::string& path, const ShardFile& file);
ShardFile read_shard_file(const std::string& path);

}  // namespace headcount
