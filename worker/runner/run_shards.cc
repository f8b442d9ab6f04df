// Part of worker/runner/commands.h.
// `run` and `compare`: shards without coordinator or worker.
#include <cstdio>

#include "experiments/run/run.h"
#include "schemas/shard.h"
#include "worker/runner/commands.h"
#include "worker/runner/inputs.h"
#include "worker/runner/results_file.h"
#include "worker/runner/shard_models.h"
#include "worker/runner/tag.h"

namespace headcount::runner {
int run_shards(const RunOptions& options) {
  const ShardFile file = read_input([&] { return read_shard_file(options.shards); });
  const c10::Device device = open_device(options.compute);
  ShardModels models(file, options.model_paths, device);
  ResultsFile results{.tag = numerics_tag(device, options.compute.threads), .results = {}};
  Progress progress(file.shards.size());
  for (size_t i = 0; i < file.shards.size(); ++i) {
    const Shard& shard = file.shards[i];
    Result result = experiments::run(
        shard, models.get(shard), [&](double share) { progress.show(i, share); }, models.memory());
    results.results.emplace_back(key(shard), std::move(result));
  }
  progress.show(file.shards.size(), 0);
  write_results(options.out, results);
  std::printf("%zu results in %s, computed under %s\n", results.results.size(), options.out.c_str(),
              results.tag.c_str());
  return 0;
}

int compare_files(const CompareOptions& options) {
  const ResultsFile first = read_input([&] { return read_results(options.first); });
  const ResultsFile second = read_input([&] { return read_results(options.second); });
  const Comparison comparison = read_input([&] { return compare(first, second); });
  std::printf("%s\n", to_json(comparison).c_str());
  bool near = comparison.only_first == 0 && comparison.only_second == 0;
  for (const ArrayDifference& a : comparison.arrays)
    near = near && a.mean_relative_l2 <= options.tolerance;
  return near ? 0 : 1;
}

}  // namespace headcount::runner
