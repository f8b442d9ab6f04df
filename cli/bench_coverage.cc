// Part of cli/bench.h.
// headcount bench coverage: how often the intervals of tables hold the truth, over populations that
// are like what they are used on and whose truth is known. docs/coverage.md has its table.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <numeric>
#include <optional>
#include <random>

#include "cli/bench.h"
#include "cli/command.h"
#include "cli/render.h"
#include "experiments/kinds/head_pruning/head_pruning.h"
#include "experiments/metrics/classification.h"
#include "experiments/metrics/curves.h"
#include "experiments/metrics/intervals.h"

namespace headcount::cli {
namespace {

using Json = nlohmann::ordered_json;
using Numbers = std::vector<double>;
using metrics::ByOrder;
using metrics::Estimate;

/// The standard's engine and our own transformations: the same numbers on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : bits_(seed) {}
  double uniform() { return (static_cast<double>(bits_() >> 11) + 0.5) / 9007199254740992.0; }
  double normal() {  // Box and Muller 1958
    const double length = std::sqrt(-2 * std::log(uniform()));
    return length * std::cos(2 * std::numbers::pi * uniform());
  }
  bool hit(double share) { return uniform() < share; }
  /// 0 .. n - 1 in random order.
  std::vector<int> order(int n) {
    std::vector<int> places(static_cast<size_t>(n));
    std::iota(places.begin(), places.end(), 0);
    for (size_t i = places.size() - 1; i > 0; --i)
      std::swap(places[i], places[static_cast<size_t>(uniform() * static_cast<double>(i + 1))]);
    return places;
  }

 private:
  std::mt19937_64 bits_;
};

/// One sample's estimate and what its interval should hold.
struct Trial {
  Estimate estimate;
  double truth = 0;
  std::optional<double> mean = {};  // of the population, where that is not the truth
};

struct Population {
  std::string what, interval;
  int64_t n_rows = 0, n_orders = 0;  // 0: not drawn
  std::function<Trial(Random&)> trial;
};

size_t size(int64_t n) { return static_cast<size_t>(std::max<int64_t>(1, n)); }

/// [order][row] by `value(order's own draw, row's own draw)`.
template <class OfOrder, class Value>
ByOrder crossed(Random& random, int64_t n_orders, int64_t n_rows, OfOrder of_order, Value value) {
  Numbers rows(size(n_rows));
  for (double& row : rows) row = random.normal();
  ByOrder values(size(n_orders));
  for (auto& order : values) {
    const double level = of_order();
    for (const double row : rows) order.push_back(value(level, row));
  }
  return values;
}

// ---- means of what is like losses

Population normal(const std::string& what, int64_t n_orders, double of_orders, double of_rows,
                  double of_both) {
  return {what, "mean", 128, n_orders, [=](Random& random) {
            return Trial{metrics::mean_estimate(crossed(
                             random, n_orders, 128, [&] { return 3 + of_orders * random.normal(); },
                             [&](double level, double row) {
                               return level + of_rows * row + of_both * random.normal();
                             })),
                         3};
          }};
}

/// Orders whose mean losses are log-normal: the mean and spread that pruning builtin:addition
/// shows.
Population skewed_orders(const std::string& what, int64_t n_orders, double mean, double spread) {
  const double variance = std::log(1 + spread * spread / (mean * mean));
  const auto level = [=](Random& random) {
    return mean * std::exp(std::sqrt(variance) * random.normal() - variance / 2);
  };
  return {what, "mean", 128, n_orders, [=](Random& random) {
            return Trial{metrics::mean_estimate(crossed(
                             random, n_orders, 128, [&] { return level(random); },
                             [&](double of_order, double row) {
                               return of_order * (1 + 0.5 * row + 0.5 * random.normal());
                             })),
                         mean};
          }};
}

double log_normal(Random& random, double deviation) {
  return std::exp(deviation * random.normal() - deviation * deviation / 2);
}

Population skewed_rows(int64_t n_rows, double deviation) {
  return {"log-normal rows (deviation " + readable(deviation, 2) + " of the logarithm)", "mean",
          n_rows, 0, [=](Random& random) {
            Numbers rows(size(n_rows));
            for (double& row : rows) row = log_normal(random, deviation);
            return Trial{metrics::mean_estimate({rows}), 1};
          }};
}

// ---- a pruned model of 32 heads, one of which nearly decides

constexpr int kHeads = 32;
constexpr std::array<int, 6> kKs = {1, 2, 4, 8, 16, 24};
constexpr std::array<double, 12> kCosts = {3.8, 1.2, 0.6, 0.4, 0.3, 0.2,
                                           0.2, 0.1, 0.1, 0.1, 0.1, 0.1};

/// Loss without the first k heads of `order`: what they cost, and more the more are gone; nine nats
/// at most. Over random orders: k = 1 0.27 (median 0.01, largest 4.7), k = 4 1.2, k = 16 5.4.
double toy_loss(const std::vector<int>& order, int k) {
  double cost = 0;
  for (int i = 0; i < k; ++i) {
    const auto head = static_cast<size_t>(order[static_cast<size_t>(i)]);
    cost += head < kCosts.size() ? kCosts[head] : 1e-4;
  }
  const double share = static_cast<double>(k) / kHeads;
  return 9 * (1 - std::exp(-(cost + 10 * share * share + 0.2 * cost * cost) / 9));
}

double toy_area(const std::vector<int>& order) {
  Numbers x = {0}, y = {0};
  for (const int k : kKs) {
    x.push_back(static_cast<double>(k) / kHeads);
    y.push_back(toy_loss(order, k));
  }
  return metrics::trapezoid(x, y);
}

/// The mean over random orders, of so many that their error does not show.
double over_orders(const std::function<double(const std::vector<int>&)>& value) {
  constexpr int kMany = 100'000;
  Random random(0);
  Numbers values;
  for (int i = 0; i < kMany; ++i) values.push_back(value(random.order(kHeads)));
  return metrics::mean(values);
}

/// Rows multiply what an order costs.
ByOrder toy_rows(Random& random, int64_t n_orders,
                 const std::function<double(const std::vector<int>&)>& value) {
  return crossed(
      random, n_orders, 128, [&] { return value(random.order(kHeads)); },
      [&](double level, double row) { return level * (1 + 0.5 * row + 0.3 * random.normal()); });
}

Population toy_arm(int64_t n_orders, int k) {
  const auto loss = [k](const std::vector<int>& order) { return toy_loss(order, k); };
  const double truth = over_orders(loss);
  return {"pruned toy model, k = " + std::to_string(k), "mean", 128, n_orders, [=](Random& random) {
            return Trial{metrics::mean_estimate(toy_rows(random, n_orders, loss)), truth};
          }};
}

/// Random against most: the order of falling cost.
Population toy_gap(int64_t n_orders) {
  std::vector<int> most(kHeads);
  std::iota(most.begin(), most.end(), 0);
  const double of_most = toy_area(most), truth = of_most - over_orders(toy_area);
  return {"pruned toy model, area between most and random", "area", 128, n_orders,
          [=](Random& random) {
            auto areas = toy_rows(random, n_orders, toy_area);
            Numbers upper;
            for (size_t row = 0; row < 128; ++row)
              upper.push_back(of_most * (1 + 0.5 * random.normal()));
            return Trial{metrics::area_between({upper}, areas), truth};
          }};
}

/// Too few heads for a mean's interval: does the range hold what one more order gives?
Population toy_range(int64_t n_orders, int k) {
  const auto loss = [k](const std::vector<int>& order) { return toy_loss(order, k); };
  const double mean = over_orders(loss);
  return {"pruned toy model, k = " + std::to_string(k) + ": another order's mean", "range", 128,
          n_orders, [=](Random& random) {
            auto values = toy_rows(random, n_orders + 1, loss);
            const double next = metrics::mean(values.back());
            values.pop_back();
            return Trial{metrics::range_estimate(values), next, mean};
          }};
}

/// A population of orders that were really pruned: the loss of each, its mean over rows. Rows are
/// not drawn again.
Population measured_orders(const std::string& what, int64_t n_orders, const Numbers& losses) {
  const double truth = metrics::mean(losses);
  return {what, "mean", 0, n_orders, [=](Random& random) {
            ByOrder values;
            for (int64_t i = 0; i < n_orders; ++i) {
              const auto drawn = random.uniform() * static_cast<double>(losses.size());
              values.emplace_back(2, losses[static_cast<size_t>(drawn)]);
            }
            return Trial{metrics::mean_estimate(values), truth};
          }};
}

/// Those of every random arm of more than kLotteryK heads and a hundred orders or more in a file of
/// `headcount results --format json`. Throws BadInput where it is no such file.
std::vector<Population> measured_orders(const std::string& file) {
  std::map<std::pair<std::string, int64_t>, Numbers> arms;
  try {
    const Json tables = Json::parse(read_file(file));
    for (const Json& stage : tables.at("stages")) {
      for (const Json& row : stage.at("rows")) {
        if (row.value("metric", "") != "loss" || !row.contains("prune_seed")) continue;
        if (row.at("prune_seed").is_null() || row.at("value").is_null()) continue;
        const std::string what =
            stage.at("name").get<std::string>() + ", " + row.at("which").get<std::string>();
        arms[{what, row.at("k").get<int64_t>()}].push_back(row.at("value").get<double>());
      }
    }
  } catch (const Json::exception& error) {
    throw BadInput(file + " is not what `headcount results --format json` prints: " + error.what());
  }
  std::vector<Population> all;
  for (const int64_t n_orders : {20, 10}) {
    for (const auto& [arm, losses] : arms) {
      if (losses.size() < 100 || arm.second <= experiments::head_pruning::kLotteryK) continue;
      all.push_back(measured_orders(arm.first + " k = " + std::to_string(arm.second) + " of " +
                                        std::to_string(losses.size()) + " orders",
                                    n_orders, losses));
    }
  }
  return all;
}

// ---- shares

Population share_of_rows(int64_t n_rows, double share) {
  return {"right with probability " + readable(share, 2), "share", n_rows, 0, [=](Random& random) {
            Numbers rows(size(n_rows));
            for (double& row : rows) row = random.hit(share) ? 1 : 0;
            return Trial{metrics::share_estimate({rows}), share};
          }};
}

/// Orders leave the model whole (right with 0.95) or broken (0.05).
Population share_of_orders(int64_t n_orders, double whole) {
  return {readable(100 * whole, 2) + " % of orders leave the model whole", "share", 128, n_orders,
          [=](Random& random) {
            ByOrder values(size(n_orders), Numbers(128));
            for (auto& order : values) {
              const double share = random.hit(whole) ? 0.95 : 0.05;
              for (double& row : order) row = random.hit(share) ? 1 : 0;
            }
            return Trial{metrics::share_estimate(values), 0.05 + 0.9 * whole};
          }};
}

// ---- the bootstrap

Population f1_of_rows() {
  return {"macro F1 of three classes, 80 % right", "bootstrap", 128, 0, [](Random& random) {
            std::vector<int32_t> truth, predicted;
            for (int row = 0; row < 128; ++row) {
              truth.push_back(static_cast<int32_t>(3 * random.uniform()));
              const auto other = static_cast<int32_t>(1 + 2 * random.uniform());
              predicted.push_back(random.hit(0.8) ? truth.back() : (truth.back() + other) % 3);
            }
            return Trial{metrics::f1(truth, predicted, 3, metrics::F1::kMacro, -1,
                                     {.seed = 1, .n_resamples = 1000}),
                         0.8};
          }};
}

Population perplexity_of_rows() {
  return {"perplexity, rows of 47 tokens", "bootstrap", 128, 0, [](Random& random) {
            Numbers nll;
            for (int row = 0; row < 128; ++row) nll.push_back(47 * 2 * log_normal(random, 0.5));
            return Trial{
                metrics::perplexity(nll, Numbers(128, 47), {.seed = 1, .n_resamples = 1000}),
                std::exp(2.0)};
          }};
}

std::vector<Population> populations(const std::string& orders) {
  if (!orders.empty()) return measured_orders(orders);
  std::vector<Population> all;
  for (const int64_t n : {20, 10}) {
    all.push_back(normal("normal: rows 3, orders 1, both 1", n, 1, 3, 1));
    all.push_back(normal("normal: orders 1 alone", n, 1, 0.1, 0.1));
    all.push_back(normal("normal: rows 3 alone", n, 0.1, 3, 0.1));
    all.push_back(skewed_orders("log-normal orders as of k = 4: 1.3 ± 1.9 nats", n, 1.3, 1.9));
    all.push_back(skewed_orders("log-normal orders as of k = 8: 2.7 ± 1.4", n, 2.7, 1.4));
    all.push_back(skewed_orders("log-normal orders as of k = 16: 5.7 ± 1.9", n, 5.7, 1.9));
    for (const int k : {4, 8, 16}) all.push_back(toy_arm(n, k));
    all.push_back(toy_gap(n));
    all.push_back(toy_range(n, 1));
    all.push_back(toy_range(n, 2));
    for (const double whole : {0.5, 0.9}) all.push_back(share_of_orders(n, whole));
  }
  all.push_back(normal("normal rows", 0, 0, 3, 0));
  for (const int64_t n : {128, 12}) all.push_back(skewed_rows(n, 0.5));
  all.push_back(skewed_rows(128, 1.2));
  for (const double share : {0.02, 0.5, 0.98}) all.push_back(share_of_rows(128, share));
  all.push_back(f1_of_rows());
  all.push_back(perplexity_of_rows());
  return all;
}

std::string count_text(int64_t n) { return n > 0 ? std::to_string(n) : ""; }

/// Of `trials` samples: how many intervals held the truth, and how many
/// value ± 1.96 se held the mean.
Json measure(const Population& population, const CoverageBench& options) {
  Random random(options.seed);
  int64_t held = 0, by_se = 0;
  for (int64_t i = 0; i < options.trials; ++i) {
    const Trial trial = population.trial(random);
    const auto& [value, se, n, interval] = trial.estimate;
    if (interval && interval->low <= trial.truth && trial.truth <= interval->high) ++held;
    if (se && std::abs(value - trial.mean.value_or(trial.truth)) <= 1.96 * *se) ++by_se;
  }
  const auto share = [&](int64_t n) {
    return static_cast<double>(n) / static_cast<double>(options.trials);
  };
  return {{"population", population.what}, {"interval", population.interval},
          {"n", population.n_rows},        {"n_orders", population.n_orders},
          {"covers", share(held)},         {"covers_196_se", share(by_se)}};
}

}  // namespace

int bench_coverage(const Session& session, const CoverageBench& options) {
  std::string table =
      "| population | interval | n | n_orders | covers | ± 1.96 se covers |\n"
      "| --- | --- | --- | --- | --- | --- |\n";
  Json rows = Json::array();
  for (const Population& population : populations(options.orders)) {
    const Json row = measure(population, options);
    const auto percent = [&](const char* name) {
      return readable(100 * row.at(name).get<double>(), 3) + " %";
    };
    table += "| " + population.what + " | " + population.interval + " | " +
             count_text(population.n_rows) + " | " + count_text(population.n_orders) + " | " +
             percent("covers") + " | " + percent("covers_196_se") + " |\n";
    rows.push_back(row);
  }
  emit(session.common, table + "\n" +
                           Json{{"nominal", metrics::kConfidence},
                                {"trials", options.trials},
                                {"seed", options.seed},
                                {"rows", rows}}
                               .dump());
  return kOk;
}

}  // namespace headcount::cli
