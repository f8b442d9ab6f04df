#include "tests/simulator/plan.h"

#include "schemas/error.h"

namespace headcount::simulator {

namespace {

uint64_t number_of(const ShardKey& key, size_t at) {
  uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i) number = number << 8 | key.bytes[at + i];
  return number;
}

/// `n` keys; a few repeat earlier ones of the stage or shards of `others`.
std::vector<ShardKey> make_keys(Random& random, int64_t n, const std::vector<ShardKey>& others) {
  std::vector<ShardKey> keys;
  for (int64_t i = 0; i < n; ++i) {
    if (!keys.empty() && random.chance(400)) {
      keys.push_back(keys[static_cast<size_t>(random.below(static_cast<int64_t>(keys.size())))]);
    } else if (!others.empty() && random.chance(1500)) {
      keys.push_back(
          others[static_cast<size_t>(random.below(static_cast<int64_t>(others.size())))]);
    } else {
      keys.push_back(sha256(std::to_string(random.next())));
    }
  }
  return keys;
}

/// One to three models, each bound to a tag that some worker has.
std::vector<coordinator::Range> make_ranges(Random& random, int64_t n,
                                            const std::vector<std::string>& tags) {
  std::vector<coordinator::Range> ranges;
  const int64_t n_models = random.between(1, 3);
  for (int64_t m = 0; m < n_models; ++m) {
    std::string tag = tags[static_cast<size_t>(random.below(static_cast<int64_t>(tags.size())))];
    if (random.chance(2000)) tag = std::string(kAnyTag);
    ranges.push_back({n * m / n_models, n * (m + 1) / n_models, std::move(tag)});
  }
  return ranges;
}

Result result_of(const ShardKey& key, const std::string& tag) {
  if (tag == kNoopTag) return {.arrays = {NamedArray{.name = "noop", .shape = {}, .data = {0.0}}}};
  const double value =
      static_cast<double>(number_of(sha256(to_hex(key) + tag), 0) >> 12) / 1048576.0;
  return {.arrays = {NamedArray{.name = "value", .shape = {}, .data = {value}}}};
}

}  // namespace

Plan make_plan(Random& random) {
  Plan plan;
  plan.n_workers = static_cast<int>(random.between(3, 5));
  std::vector<std::string> tags = {"cpu-a"};
  if (plan.n_workers >= 4) tags.push_back("cpu-b");
  for (int w = 0; w < plan.n_workers; ++w) {
    plan.worker_tags.push_back(plan.n_workers >= 4 && w % 2 == 1 ? "cpu-b" : "cpu-a");
    plan.n_runners.push_back(static_cast<int>(random.between(1, 2)));
  }
  const auto some_worker = [&] { return static_cast<int>(random.below(plan.n_workers)); };
  if (random.chance(2500)) plan.unsound_worker = some_worker();
  if (random.chance(5000)) plan.slow_worker = some_worker();
  // Another has the same tag.
  if (random.chance(5000)) plan.leaving_worker = some_worker();
  plan.long_outages = random.chance(3500);

  const int64_t n_first = random.between(30, 60);
  const int64_t n_second = random.between(30, 50);
  const int64_t n_cancelled = random.between(20, 40);
  const int64_t n_noop = random.between(5, 20);
  const std::vector<ShardKey> first = make_keys(random, n_first, {});
  plan.main = {
      "main",
      {{"first", first, make_ranges(random, n_first, tags)},
       {"second", make_keys(random, n_second, first), make_ranges(random, n_second, tags)}}};
  plan.cancelled = {
      "cancelled",
      {{"only", make_keys(random, n_cancelled, first), make_ranges(random, n_cancelled, tags)}}};
  plan.noop = {"noop",
               {{"only", make_keys(random, n_noop, {}), {{0, n_noop, std::string(kNoopTag)}}}}};
  return plan;
}

Nature nature(const ShardKey& key) {
  const uint64_t draw = number_of(key, 8) % 200;
  if (draw < 4) return Nature::kThrows;
  if (draw < 7) return Nature::kCrashes;
  if (draw < 9) return Nature::kHangs;
  if (draw < 10) return Nature::kKillsNode;
  if (draw < 18) return Nature::kFlaky;
  return Nature::kHealthy;
}

Millis duration_ms(const ShardKey& key) {
  const uint64_t draw = number_of(key, 16);
  // Most are short, one in eight takes seconds.
  return static_cast<Millis>(draw % 8 == 0 ? 1000 + draw / 8 % 5000 : 50 + draw / 8 % 900);
}

std::string right_result(const ShardKey& key, const std::string& tag) {
  return encode(result_of(key, tag));
}

std::string wrong_result(const ShardKey& key, const std::string& tag) {
  Result result = result_of(key, tag);
  result.arrays[0].data[0] += 1;
  return encode(result);
}

std::string defective_result(const ShardKey& key) { return "no result of " + to_hex(key); }

bool has_defect(const ShardDone& done) {
  try {
    decode_result(done.result);
    return sha256(done.result) != done.hash;
  } catch (const Error&) {
    return true;
  }
}

std::string short_name(const ShardKey& key) { return to_hex(key).substr(0, 8); }

}  // namespace headcount::simulator
