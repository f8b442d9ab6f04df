// Digests, counter-based randomness, fields, shards, results and tables against published vectors
// and hostile bytes.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>

#include "schemas/cbor.h"
#include "schemas/error.h"
#include "schemas/fields.h"
#include "schemas/philox.h"
#include "schemas/problem.h"
#include "schemas/result.h"
#include "schemas/sha256.h"
#include "schemas/shard.h"
#include "schemas/table.h"

namespace headcount {
namespace {

TEST(Sha256, MatchesThePublishedVectors) {  // FIPS 180-4 examples
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(std::string(1000000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotCareHowItsInputIsCut) {
  const std::string text(1000, 'x');
  for (const size_t cut : {1u, 55u, 63u, 64u, 65u, 500u, 999u}) {
    Sha256 hash;
    hash.update(text.substr(0, cut));
    hash.update(text.substr(cut));
    EXPECT_EQ(hash.finish(), sha256(text)) << cut;
  }
  EXPECT_EQ(digest_from_hex(to_hex(sha256("a"))), sha256("a"));
  EXPECT_THROW(digest_from_hex("12"), Error);
  EXPECT_THROW(digest_from_hex(std::string(64, 'g')), Error);
}

TEST(Philox, MatchesThePublishedVectors) {  // Random123, kat_vectors: philox4x32, 10 rounds
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformsAreUniformAndStreamsDiffer) {
  double sum = 0;
  std::set<double> seen;
  for (uint32_t i = 0; i < 10000; ++i) {
    const double u = random_uniform(7, Purpose::kMask, 99, 0, i);
    EXPECT_GE(u, 0);
    EXPECT_LT(u, 1);
    sum += u;
    seen.insert(u);
  }
  EXPECT_NEAR(sum / 10000, 0.5, 5 * std::sqrt(1 / 12.0 / 10000));
  EXPECT_EQ(seen.size(), 10000u);
  EXPECT_NE(random_bits(7, Purpose::kMask, 99, 0, 0),
            random_bits(7, Purpose::kThreshold, 99, 0, 0));
  EXPECT_NE(random_bits(7, Purpose::kMask, 99, 0, 0), random_bits(8, Purpose::kMask, 99, 0, 0));
}

Fields some_fields() {
  return {{"name", std::string("a \"quoted\" name\n")},
          {"on", true},
          {"steps", int64_t{16}},
          {"shift", int64_t{-3}},
          {"tol", 1e-3},
          {"probs", std::vector<double>{0.15, 0.5}},
          {"heads", std::vector<int64_t>{0, 300, 70000}},
          {"empty", std::vector<int64_t>{}},
          {"words", std::vector<std::string>{"x", ""}}};
}

TEST(Fields, ComeBackFromTheirBytes) {
  EXPECT_EQ(fields_from_cbor(to_cbor(some_fields())), some_fields());
  EXPECT_EQ(get<double>(some_fields(), "steps"), 16);
  EXPECT_EQ(get_or<int64_t>(some_fields(), "absent", 5), 5);
  EXPECT_THROW(get<int64_t>(some_fields(), "absent"), Error);
  EXPECT_THROW(get<int64_t>(some_fields(), "tol"), Error);
}

TEST(Fields, NumbersPrintAsTheShortestTextThatReadsBack) {
  EXPECT_EQ(shortest(0.1), "0.1");
  EXPECT_EQ(shortest(-3.0), "-3");
  EXPECT_EQ(shortest(1.0 / 3), "0.3333333333333333");
  EXPECT_THROW(shortest(std::nan("")), Error);
  EXPECT_EQ(to_json(Field(std::string("\"\x01"))), "\"\\\"\\u0001\"");
}

Shard some_shard() {
  Row row;
  row.id = ~uint64_t{0};
  row.ids = {1, 2, 3, 100000};
  row.labels = {kIgnore, 2, 3, kIgnore};
  row.span_begin = 1;
  row.span_end = 3;
  row.choices = {{5}, {6, 7}};
  row.choice_at = 4;
  row.label = 1;
  return {.kind = "evaluate",
          .model = "ab",
          .dtype = "float32",
          .params = some_fields(),
          .seed = 42,
          .micro_batch = 16,
          .rows = {row, row}};
}

TEST(Shard, ComesBackFromItsBytesAndItsKeyIsTheirHash) {
  const Shard shard = some_shard();
  EXPECT_EQ(decode_shard(encode(shard)), shard);
  EXPECT_EQ(key(shard), sha256(encode(shard)));
  Shard other = shard;
  other.rows[1].ids[0] = 9;
  EXPECT_NE(key(other), key(shard));
}

TEST(Shard, EveryTruncationAndForeignBytesAreRefused) {
  const std::string bytes = encode(some_shard());
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_THROW(decode_shard(bytes.substr(0, n)), Error) << n;
  EXPECT_THROW(decode_shard(bytes + "x"), Error);
  EXPECT_THROW(decode_shard(std::string(100000, '\x81')), Error);  // 100 KB of nested arrays
  EXPECT_THROW(decode_shard("\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), Error);
}

TEST(Shard, EveryFlippedByteIsRefusedOrMeansAnotherShard) {
  const std::string bytes = encode(some_shard());
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x55);
    try {
      EXPECT_NE(decode_shard(flipped), some_shard()) << i;
    } catch (const Error&) {
    }
  }
}

TEST(Shard, RowsThatDoNotHoldTogetherAreRefused) {
  const auto broken = [](auto change) {
    Shard shard = some_shard();
    change(shard.rows[0]);
    return encode(shard);
  };
  EXPECT_THROW(decode_shard(broken([](Row& row) { row.span_end = 9; })), Error);
  EXPECT_THROW(decode_shard(broken([](Row& row) { row.labels.pop_back(); })), Error);
  EXPECT_THROW(decode_shard(broken([](Row& row) { row.label = 2; })), Error);
  EXPECT_THROW(decode_shard(broken([](Row& row) { row.choice_at = -1; })), Error);
  EXPECT_THROW(decode_shard(broken([](Row& row) {
                 row.ids.clear();
                 row.labels.clear();
               })),
               Error);
}

TEST(ShardFile, ComesBackAndForeignFilesAreRefused) {
  const auto path = std::filesystem::temp_directory_path() / "headcount_shard_file_test";
  write_shard_file(path, {{{"ab", "builtin:addition"}}, {some_shard(), some_shard()}});
  const ShardFile file = read_shard_file(path);
  EXPECT_EQ(file.model_paths.at("ab"), "builtin:addition");
  EXPECT_EQ(file.shards.at(1), some_shard());
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_THROW(read_shard_file(path), Error);
  std::ofstream(path) << "something else";
  EXPECT_THROW(read_shard_file(path), Error);
  EXPECT_THROW(read_shard_file("/nonexistent"), Error);
  std::filesystem::remove(path);
}

Result some_result() {
  return {{{"ig", {2, 2}, {1, -2, 0.5, 1e-300}}, {"loss", {}, {3}}, {"none", {0, 4}, {}}}};
}

TEST(Result, ComesBackFromItsBytes) {
  EXPECT_EQ(decode_result(encode(some_result())), some_result());
  EXPECT_EQ(array(some_result(), "ig").data[1], -2);
  EXPECT_THROW(array(some_result(), "gi"), Error);
}

TEST(Result, EveryTruncationIsRefusedAndNoLengthIsBelieved) {
  const std::string bytes = encode(some_result());
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_THROW(decode_result(bytes.substr(0, n)), Error) << n;
  EXPECT_THROW(decode_result(bytes + "x"), Error);
  std::string huge = "HCR1";
  huge += std::string("\x01\0\0\0\x01\0a\x02", 8) + std::string(8, '\x7f') + std::string(8, '\x7f');
  EXPECT_THROW(decode_result(huge), Error);
}

TEST(Result, MustHaveThePlannedArraysAndOnlyFiniteNumbers) {
  const std::vector<ArrayPlan> planned = {{"ig", {2, 2}}, {"loss", {}}, {"none", {0, 4}}};
  EXPECT_EQ(mismatch(some_result(), planned), "");
  Result result = some_result();
  result.arrays[0].data[0] = std::numeric_limits<double>::infinity();
  EXPECT_EQ(mismatch(result, planned), "the array ig holds a number that is not finite");
  result = some_result();
  result.arrays[0].shape = {4};
  EXPECT_EQ(mismatch(result, planned), "the array ig has shape [4], expected [2, 2]");
  result.arrays.pop_back();
  EXPECT_EQ(mismatch(result, planned), "expected 3 arrays, found 2");
}

TEST(Table, JsonHoldsEveryCellInFixedOrder) {
  const Table table{.stage = "s",
                    .kind = "evaluate",
                    .columns = {"metric", "value", "se"},
                    .rows = {{std::string("loss"), 0.1, std::monostate{}}},
                    .diagnostic_columns = {"n_missing"},
                    .diagnostics = {{int64_t{0}}},
                    .warnings = {}};
  EXPECT_EQ(to_json(std::vector<Table>{table}),
            "{\"stages\": [\n  {\"name\": \"s\", \"kind\": \"evaluate\",\n    \"columns\": "
            "[\"metric\", \"value\", \"se\"],\n"
            "    \"rows\": [\n      {\"metric\": \"loss\", \"value\": 0.1, \"se\": null}],\n"
            "    \"diagnostics\": [\n      {\"n_missing\": 0}],\n    \"warnings\": []}]}\n");
  EXPECT_EQ(column(table.columns, "se"), 2u);
  EXPECT_THROW(column(table.columns, "n"), Error);
}

TEST(Table, JsonHasListsAsLists) {
  const Table table{.stage = "s",
                    .kind = "evaluate",
                    .columns = {"value", "pruned", "name"},
                    .rows = {{0.5, JsonList{"[0, 3]"}, std::string("[0]")}},
                    .diagnostic_columns = {},
                    .diagnostics = {},
                    .warnings = {}};
  EXPECT_NE(
      to_json(std::vector<Table>{table}).find(R"({"value": 0.5, "pruned": [0, 3], "name": "[0]"})"),
      std::string::npos);
}

TEST(Problem, SlipsAreRecognisedAndStrangersAreNot) {
  const std::vector<std::string> keys = {"ig_steps", "path_mode", "baseline"};
  EXPECT_EQ(closest("ig_stepz", keys), "ig_steps");
  EXPECT_EQ(closest("gi_steps", keys), "ig_steps");
  EXPECT_EQ(closest("colour", keys), "");
  EXPECT_EQ(closest(std::string(100000, 'x'), keys), "");
  EXPECT_EQ(to_string(Problem{"a.toml", {3, 7}, "stage[0].k", "expected an integer"}),
            "a.toml:3:7: stage[0].k: expected an integer");
}

}  // namespace
}  // namespace headcount
