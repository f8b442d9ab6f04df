// What the tests of the store share: a folder of its own, a planned stage, results and tables by
// number.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "schemas/error.h"
#include "store/store.h"

namespace headcount::store {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A folder of its own, gone afterwards.
class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    char name[] = "/tmp/headcount-store-XXXXXX";
    directory = mkdtemp(name);
  }
  ~StoreTest() override {
    chmod(directory.c_str(), 0700);
    fs::remove_all(directory);
  }
  std::string directory;
};

inline ShardKey key_of(int i) { return sha256("shard " + std::to_string(i)); }

inline std::string encoded(double value) {
  return encode(Result{{NamedArray{"value", {}, {value}}}});
}

inline ResultRow row_of(int i, const std::string& bytes, const std::string& worker = "W",
                        const std::string& tag = "T") {
  return {.key = key_of(i),
          .tag = tag,
          .hash = sha256(bytes),
          .worker = worker,
          .device = "cpu",
          .seconds = 0.5,
          .attempt = 1};
}

/// A sweep of one stage with n planned shards under tag "T".
inline StageId plan(Store& store, int n, const std::string& tag = "T",
                    const std::string& kind = "head_importance") {
  StageId stage = 0;
  store.transaction([&] {
    const SweepId sweep = store.add_sweep({.id = 0,
                                           .name = "s",
                                           .digest = sha256("spec"),
                                           .file = "s.toml",
                                           .root = "/",
                                           .text = "name = 's'",
                                           .state = "running",
                                           .created_at = {},
                                           .finished_at = {}},
                                          {{.id = 0,
                                            .sweep = 0,
                                            .number = 0,
                                            .name = "importance",
                                            .kind = kind,
                                            .state = "open",
                                            .n_shards = n,
                                            .reason = ""}});
    stage = store.stages(sweep).front().id;
    std::vector<ShardKey> keys;
    for (int i = 0; i < n; ++i) keys.push_back(key_of(i));
    store.add_shards(stage, 0, keys, tag);
  });
  return stage;
}

inline std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

/// A table of one row, with a list among its cells.
inline Table table_of(const std::string& stage, double value) {
  return {.stage = stage,
          .kind = "head_importance",
          .numerics_version = 3,
          .columns = {"layer", "head", "value", "n", "mask_probs"},
          .rows = {{int64_t{0}, int64_t{1}, value, int64_t{4}, JsonList{"[0.5, 0.9]"}}},
          .diagnostic_columns = {"n_missing"},
          .diagnostics = {{int64_t{0}}},
          .warnings = {}};
}

}  // namespace headcount::store
