// headcount bench dispatch | soak | tokenize | coverage | head-importance: the measurements the
// issues name. The last line of stdout is one JSON object.
#include "cli/bench.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/command.h"
#include "cli/local.h"

namespace headcount::cli {
namespace {

int hand_to_runner(const CLI::App& app) {
  std::vector<std::string> arguments = {"bench", "head-importance"};
  for (const std::string& argument : app.remaining()) arguments.push_back(argument);
  become_runner(arguments);
}

}  // namespace

void add_bench_commands(CLI::App& app, Session& session) {
  CLI::App* family =
      app.add_subcommand("bench", "measure: dispatch, soak, tokenize, coverage, head-importance");
  family->require_subcommand(1);

  const auto shards = std::make_shared<DispatchBench>();
  CLI::App* dispatched =
      add_command(*family, session, "dispatch",
                  "durable no-op shards through a real coordinator and worker daemons on loopback",
                  "  headcount bench dispatch --shards 100000 --workers 2\n"
                  "  headcount bench dispatch --shards 100000 --workers 2 --peer dask\n"
                  "  headcount bench dispatch --sweeps 50\n"
                  "  headcount bench dispatch --connected 1000",
                  [&session, shards] { return bench_dispatch(session, *shards); });
  dispatched->add_option("--shards", shards->shards, "how many")
      ->check(CLI::Range(int64_t{1}, int64_t{100'000'000}))
      ->capture_default_str();
  dispatched->add_option("--workers", shards->workers, "worker daemons")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  dispatched
      ->add_option("--sweeps", shards->sweeps, "sweeps under way at once that share the shards")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  dispatched
      ->add_option("--connected", shards->connected,
                   "before that, with nothing to do: what so many connected workers without "
                   "a runner cost for 20 s")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  dispatched->add_option("--peer", shards->peer, "measure this system in the same run too")
      ->check(CLI::IsMember({"dask"}));
  add_output(*dispatched, session, {"json"});

  const auto soaked = std::make_shared<SoakBench>();
  CLI::App* soak = add_command(
      *family, session, "soak",
      "sweep after sweep of no-op shards at full rate, and what memory and disk grow by",
      "  headcount bench soak --seconds 3600",
      [&session, soaked] { return bench_soak(session, *soaked); });
  soak->add_option("--seconds", soaked->seconds, "for how long")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}))
      ->capture_default_str();
  soak->add_option("--settle", soaked->settle, "seconds after which memory may not grow any more")
      ->check(CLI::Range(int64_t{0}, int64_t{1'000'000}))
      ->capture_default_str();
  soak->add_option("--shards", soaked->shards, "of each sweep; two are under way at any time")
      ->check(CLI::Range(int64_t{1}, int64_t{100'000'000}))
      ->capture_default_str();
  add_output(*soak, session, {"json"});

  const auto texts = std::make_shared<TokenizeBench>();
  CLI::App* cut = add_command(
      *family, session, "tokenize", "MB/s of encoding and decoding a text, on one core",
      "  headcount bench tokenize wikitext.txt --tokenizer /models/gpt2 --tokenizer tok512.bin",
      [&session, texts] { return bench_tokenize(session, *texts); });
  cut->add_option("file", texts->file, "the text")->required();
  cut->add_option("--tokenizer", texts->tokenizers, "a tokenizer file or folder; repeatable")
      ->required()
      ->type_name("PATH");
  cut->add_option("--runs", texts->runs, "timed runs; the median counts")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}))
      ->capture_default_str();
  add_output(*cut, session, {"json"});

  const auto trials = std::make_shared<CoverageBench>();
  CLI::App* covered = add_command(*family, session, "coverage",
                                  "how often the intervals of tables hold the truth, simulated",
                                  "  headcount bench coverage",
                                  [&session, trials] { return bench_coverage(session, *trials); });
  covered->add_option("--trials", trials->trials, "samples of each population")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000'000}))
      ->capture_default_str();
  covered->add_option("--seed", trials->seed, "other samples")->capture_default_str();
  covered
      ->add_option("--orders", trials->orders,
                   "draw from the random orders of `headcount results --format json`, 100 or more")
      ->type_name("FILE");
  add_output(*covered, session, {"json"});

  CLI::App* computed = family->add_subcommand(
      "head-importance", "useful GFLOP/s of gate gradients, by headcount-runner");
  computed->footer(
      "Examples:\n  headcount bench head-importance --threads 2\n"
      "Flags are headcount-runner's: headcount-runner bench head-importance --help");
  computed->prefix_command();
  computed->set_help_flag();  // --help is the runner's
  computed->callback(
      [&session, computed] { session.command = [computed] { return hand_to_runner(*computed); }; });
}

}  // namespace headcount::cli
