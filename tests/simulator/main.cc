// headcount-simulate: runs seeds of the simulated cluster and says which break a law.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "schemas/error.h"
#include "tests/simulator/simulation.h"

namespace {

using namespace headcount;
using simulator::Fault;

void print(const simulator::Report& report) {
  std::printf("seed %llu: %s\n", static_cast<unsigned long long>(report.seed),
              report.violation.empty() ? "every law held" : report.violation.c_str());
  std::printf(
      "  %d workers, %lld shards, %lld results, %lld quarantined, %lld alarms, %lld "
      "coordinator crashes, ended at %lld ms, trace %016llx\n",
      report.n_workers, static_cast<long long>(report.n_shards),
      static_cast<long long>(report.n_recorded), static_cast<long long>(report.n_quarantined),
      static_cast<long long>(report.n_alarms), static_cast<long long>(report.n_coordinator_crashes),
      static_cast<long long>(report.ended_at), static_cast<unsigned long long>(report.trace_hash));
}

struct Totals {
  uint64_t seeds = 0, violations = 0, with_crash = 0, with_cancel = 0;
  int64_t least_shards = INT64_MAX;
  int least_workers = INT32_MAX;
  simulator::FaultCounts faults{};
  uint64_t trace_hash = 0;

  void add(const simulator::Report& report) {
    ++seeds;
    violations += !report.violation.empty();
    with_crash += report.n_coordinator_crashes > 0;
    with_cancel += report.n_cancelled > 0;
    least_shards = std::min(least_shards, report.n_shards);
    least_workers = std::min(least_workers, report.n_workers);
    for (size_t i = 0; i < faults.size(); ++i) faults[i] += report.faults[i];
    trace_hash = trace_hash * 0x100000001b3 ^ report.trace_hash;
  }
};

void print(const Totals& totals, double seconds) {
  std::printf("%llu seeds in %.1f s: %llu broke a law\n",
              static_cast<unsigned long long>(totals.seeds), seconds,
              static_cast<unsigned long long>(totals.violations));
  std::printf(
      "each with at least %d workers, %lld shards; a coordinator crash in %.1f %%, a "
      "cancel in %.1f %%\n",
      totals.least_workers, static_cast<long long>(totals.least_shards),
      100.0 * static_cast<double>(totals.with_crash) / static_cast<double>(totals.seeds),
      100.0 * static_cast<double>(totals.with_cancel) / static_cast<double>(totals.seeds));
  for (size_t i = 0; i < totals.faults.size(); ++i) {
    const std::string_view name = to_string(static_cast<Fault>(i));
    std::printf("%10lld  %.*s\n", static_cast<long long>(totals.faults[i]),
                static_cast<int>(name.size()), name.data());
  }
  std::printf("trace %016llx\n", static_cast<unsigned long long>(totals.trace_hash));
}

/// A broken invariant aborts: by then nobody else can say under which seed.
uint64_t seed_under_way = 0;
void name_the_seed(int) {
  std::printf("seed %llu: aborted\n", static_cast<unsigned long long>(seed_under_way));
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  std::signal(SIGABRT, name_the_seed);
  CLI::App app("Simulates scheduler, agents and store under faults; exit 1 when a law is broken.");
  uint64_t n_seeds = 100, first = 1, seed = 0;
  int64_t least_faults = 0;
  std::string bug_name = "none";
  bool trace = false, first_failure = false;
  app.add_option("--seeds", n_seeds, "how many seeds")->check(CLI::PositiveNumber);
  app.add_option("--first", first, "the first of them");
  app.add_option("--least-faults", least_faults,
                 "also exit 1 when a kind of fault struck less often than this in all");
  CLI::Option* one = app.add_option("--seed", seed, "this one only");
  app.add_flag("--first-failure", first_failure, "stop at the first seed that breaks a law");
  app.add_flag("--trace", trace, "print every event")->needs(one);
  app.add_option("--bug", bug_name,
                 "plant a bug: acknowledge_before_commit, grant_before_record, "
                 "late_result_overwrites, reordered_messages");
  CLI11_PARSE(app, argc, argv);
  const simulator::Bug bug = simulator::bug_from_string(bug_name);
  if (*one) {
    seed_under_way = seed;
    const simulator::Report report = simulator::simulate(seed, bug, trace);
    print(report);
    return report.violation.empty() ? 0 : 1;
  }
  const auto started = std::chrono::steady_clock::now();
  Totals totals;
  for (uint64_t i = 0; i < n_seeds; ++i) {
    seed_under_way = first + i;
    const simulator::Report report = simulator::simulate(first + i, bug);
    totals.add(report);
    if (report.violation.empty()) continue;
    print(report);
    if (first_failure) break;
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  print(totals, taken.count());
  const int64_t rarest = *std::min_element(totals.faults.begin(), totals.faults.end());
  if (rarest < least_faults) {
    std::printf("a kind of fault struck only %lld times\n", static_cast<long long>(rarest));
  }
  return totals.violations == 0 && rarest >= least_faults ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    std::fprintf(stderr, "headcount-simulate: %s\n", error.what());
    return 2;
  }
}
