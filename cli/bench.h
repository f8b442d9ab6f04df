// Measurements `headcount bench` makes that stand in files of their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/command.h"

namespace headcount::cli {

struct DispatchBench {
  int64_t shards = 100'000;
  int workers = 2;
  int sweeps = 1;     // that share the shards
  int connected = 0;  // workers without a runner, measured before
  std::string peer;
};

/// Durable no-op shards through a coordinator and worker daemons of this program; one JSON object.
int bench_dispatch(const Session& session, const DispatchBench& options);

struct SoakBench {
  int64_t seconds = 3600;
  int64_t settle = 600;  // memory grown by then is taken for what the work needs
  int64_t shards = 1'000'000;
};

/// Two sweeps of no-op shards under way at any time: one JSON object with the coordinator's memory
/// every ten seconds. Fails where memory after `settle` grew by more than five percent.
int bench_soak(const Session& session, const SoakBench& options);

struct TokenizeBench {
  std::vector<std::string> tokenizers;  // files or folders
  std::string file;                     // the text
  int64_t runs = 5;
};

/// MB/s of encoding and decoding the text whole by each tokenizer, one thread, the median of
/// `runs` after a first one of its own; one JSON object.
int bench_tokenize(const Session& session, const TokenizeBench& options);

struct CoverageBench {
  int64_t trials = 2000;
  uint64_t seed = 1;
  std::string orders;  // file of `headcount results --format json`; empty: our own populations
};

/// How often the intervals of tables hold the truth, in samples of populations whose truth is
/// known (with `orders`: of the random orders of a pruning stage that had a hundred or more): a
/// Markdown table (docs/coverage.md), then one JSON object on a line. The same seed, the same
/// bytes.
int bench_coverage(const Session& session, const CoverageBench& options);

}  // namespace headcount::cli
