// The file `headcount-runner run` writes: the results of shards computed without a worker, to be
// compared with others. Format: "HCRF", u32 version 1, u32 size and the numerics tag, u64 count,
// then per result 32 bytes of shard key, u64 size and encode(Result); little endian. No time, host
// or order of computation: equal numbers, equal bytes.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "schemas/result.h"
#include "schemas/shard.h"

namespace headcount::runner {

struct ResultsFile {
  std::string tag;
  std::vector<std::pair<ShardKey, Result>> results;  // in the order of the shard file
};
/// Written beside `path` and renamed. Both throw Error naming the file.
void write_results(const std::string& path, const ResultsFile& file);
ResultsFile read_results(const std::string& path);

/// How far two sets of results lie apart, over the shards both have.
struct ArrayDifference {
  std::string name;
  double max_absolute = 0;
  double max_relative = 0;  // |a - b| / max(|a|, |b|), of the worst element
  double relative_l2 = 0;   // ||a - b|| / ||b|| over all elements of all shards
  double mean_relative_l2 =
      0;  // the same of the means over rows and shards: for `ig`, of the importance vector
};
struct Comparison {
  int64_t shards = 0, only_first = 0, only_second = 0;
  bool equal_bytes = true;              // of every shard both have
  std::vector<ArrayDifference> arrays;  // in name order
};
/// Throws Error where a shard's two results have different arrays or shapes.
Comparison compare(const ResultsFile& first, const ResultsFile& second);
std::string to_json(const Comparison& comparison);

}  // namespace headcount::runner
