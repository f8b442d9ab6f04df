// `run` and `compare`: shards without coordinator or worker.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>

#include "experiments/run/run.h"
#include "schemas/shard.h"
#include "worker/runner/commands.h"
#include "worker/runner/inputs.h"
#include "worker/runner/model_cache.h"
#include "worker/runner/results_file.h"
#include "worker/runner/tag.h"

namespace headcount::runner {
namespace {

/// Where each model path of the shard file is on this machine.
std::map<std::string, std::string> moved_models(const std::vector<std::string>& given) {
  std::map<std::string, std::string> moved;
  for (const std::string& pair : given) {
    const size_t at = pair.find('=');
    if (at == std::string::npos || at == 0)
      throw BadInput("--model-path " + pair + ": write NAME=DIR");
    moved[pair.substr(0, at)] = pair.substr(at + 1);
  }
  return moved;
}

class Progress {
 public:
  explicit Progress(size_t n_shards) : n_shards_(n_shards), terminal_(isatty(2) != 0) {}
  void show(size_t shard, double share) {
    const auto now = std::chrono::steady_clock::now();
    const bool end = shard == n_shards_;
    if (!end && now - last_ < std::chrono::milliseconds(terminal_ ? 200 : 10000)) return;
    last_ = now;
    const std::chrono::duration<double> seconds = now - begin_;
    std::fprintf(stderr, "%s%zu of %zu shards, %.0f %%, %.1f s%s", terminal_ ? "\r" : "", shard,
                 n_shards_,
                 100 * (static_cast<double>(shard) + share) / static_cast<double>(n_shards_),
                 seconds.count(), terminal_ && !end ? " " : "\n");
  }

 private:
  size_t n_shards_;
  bool terminal_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), last_{};
};

}  // namespace

int run_shards(const RunOptions& options) {
  const std::map<std::string, std::string> moved = moved_models(options.model_paths);
  const ShardFile file = read_input([&] { return read_shard_file(options.shards); });
  if (file.shards.empty()) throw BadInput(options.shards + " holds no shards");
  const c10::Device device = open_device(options.compute);
  ResultsFile results{.tag = numerics_tag(device, options.compute.threads), .results = {}};
  const experiments::DeviceMemory memory{.bytes = nominal_memory(device), .gpu = !device.is_cpu()};
  ModelCache cache(device, memory);
  Progress progress(file.shards.size());
  for (size_t i = 0; i < file.shards.size(); ++i) {
    const Shard& shard = file.shards[i];
    const auto path = file.model_paths.find(shard.model);
    if (path == file.model_paths.end())
      throw BadInput(options.shards + " names no path for model " + shard.model.substr(0, 16));
    const auto elsewhere = moved.find(path->second);
    const models::Model& model = read_input([&]() -> const models::Model& {
      return cache.get(elsewhere == moved.end() ? path->second : elsewhere->second, shard);
    });
    Result result = experiments::run(
        shard, model, [&](double share) { progress.show(i, share); }, memory);
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
