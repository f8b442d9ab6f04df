// Loading whole datasets: ids, ranges, models that do not fit, and text under the real tokenizer of
// stories260K.
#include "experiments/datasets/dataset.h"

#include <set>

#include "experiments/datasets/addition.h"
#include "experiments/datasets/test_files.h"
#include "models/tokenizers/tokenizer.h"

namespace headcount::datasets {
namespace {

class Datasets : public Folder {};

std::string shared(const std::string& path) {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  return (given ? std::string(given) : HEADCOUNT_SOURCE_DIR "/../shared") + "/" + path;
}

Dataset addition_rows(const std::string& split, int64_t n_rows, int64_t offset, uint64_t seed) {
  return load(
      spec_of("addition",
              {{"split", text(split)}, {"rows", number(n_rows)}, {"offset", number(offset)}}),
      seed, addition_model(), "");
}

std::vector<uint64_t> ids_of(const Dataset& dataset) {
  std::vector<uint64_t> ids;
  for (const Row& row : dataset.rows) ids.push_back(row.id);
  return ids;
}

TEST_F(Datasets, AdditionIsSeededAndGrowsFromTheFront) {
  const Dataset few = addition_rows("train", 10, 0, 1), more = addition_rows("train", 30, 0, 1);
  EXPECT_EQ(few.objective, Objective::kMasked);
  EXPECT_TRUE(few.has_choices);
  EXPECT_TRUE(std::equal(few.rows.begin(), few.rows.end(), more.rows.begin()));
  const Dataset later = addition_rows("train", 10, 20, 1);
  EXPECT_TRUE(std::equal(later.rows.begin(), later.rows.end(), more.rows.begin() + 20));
  EXPECT_NE(addition_rows("train", 10, 0, 2).rows, few.rows);
}

TEST_F(Datasets, AdditionSeedKeyOverridesTheSpecs) {
  DatasetSpec spec =
      spec_of("addition", {{"split", text("test")}, {"rows", number(5)}, {"seed", number(9)}});
  EXPECT_EQ(load(spec, 1, addition_model(), "").rows, addition_rows("test", 5, 0, 9).rows);
}

TEST_F(Datasets, AdditionRefusesAModelOfAnotherVocabulary) {
  models::ModelFiles model = addition_model();
  model.directory = "stories";
  model.config.vocab_size = 512;
  model.config.mask_id = -1;
  const DatasetSpec spec = spec_of("addition", {{"split", text("test")}, {"rows", number(5)}});
  EXPECT_EQ(error_of([&] { load(spec, 1, model, ""); }),
            "task addition needs a masked-diffusion model with the addition vocabulary (16 tokens, "
            "mask 15) such as builtin:addition; stories has 512 tokens and no mask token");
}

TEST_F(Datasets, ATaskWithoutAReaderIsRefused) {
  EXPECT_EQ(error_of([&] { load(spec_of("poetry", {}), 1, addition_model(), ""); }),
            "dataset \"d\": no reader for task \"poetry\"");
}

TEST_F(Datasets, AdditionAsksForNoMoreThanTheSplitHolds) {
  std::vector<Problem> problems;
  check(spec_of("addition",
                {{"split", text("test")}, {"rows", number(9'999'999)}, {"offset", number(2)}}),
        0, "s.toml", problems);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(to_string(problems[0]),
            "s.toml:6:1: datasets.d.rows: split \"test\" has 10000000 problems; offset and rows "
            "ask for 10000001");
}

TEST_F(Datasets, IdsHoldTokensAndOccurrenceOnly) {
  std::vector<Row> rows(4);
  for (Row& row : rows) row.ids = {1, 2};
  rows[1].labels = {3, kIgnore};
  rows[3].ids = {1, 2, 0};
  assign_ids(rows);
  EXPECT_EQ(std::set<uint64_t>({rows[0].id, rows[1].id, rows[2].id, rows[3].id}).size(), 4u);
  // SHA-256 of u64 2, i32 1, i32 2, u64 0 by Python's hashlib.
  EXPECT_EQ(rows[0].id, 9398657479830774763uLL);
  EXPECT_EQ(rows[1].id, 5493424943982845911uLL);
  std::vector<Row> alone(1);
  alone[0].ids = {1, 2, 0};
  assign_ids(alone);
  EXPECT_EQ(alone[0].id, rows[3].id);
}

TEST_F(Datasets, ContentHashesHoldTokensOnly) {
  std::vector<Row> rows(3);
  for (Row& row : rows) row.ids = {1, 2};
  rows[2].ids = {1, 2, 0};
  assign_ids(rows);
  EXPECT_EQ(content_hash(rows[1]), content_hash(rows[0]));
  EXPECT_NE(content_hash(rows[2]), content_hash(rows[0]));
}

TEST_F(Datasets, RangesOfAFileKeepTheIdsOfTheWhole) {
  write("rows.jsonl",
        "{\"ids\": [1], \"labels\": [1]}\n{\"ids\": [1], \"labels\": [2]}\n"
        "{\"ids\": [1], \"labels\": [1]}\n{\"ids\": [2], \"labels\": [1]}\n");
  const DatasetSpec all = spec_of("tokens", {{"path", text("rows.jsonl")}});
  const DatasetSpec some =
      spec_of("tokens", {{"path", text("rows.jsonl")}, {"offset", number(1)}, {"rows", number(2)}});
  const Dataset whole = load(all, 1, addition_model(), root());
  const Dataset part = load(some, 1, addition_model(), root());
  EXPECT_EQ(whole.objective, Objective::kGivenLabels);
  ASSERT_EQ(whole.rows.size(), 4u);
  ASSERT_EQ(part.rows.size(), 2u);
  EXPECT_EQ(part.rows[0], whole.rows[1]);
  EXPECT_EQ(part.rows[1], whole.rows[2]);
  const DatasetSpec beyond =
      spec_of("tokens", {{"path", text("rows.jsonl")}, {"offset", number(2)}, {"rows", number(3)}});
  EXPECT_EQ(error_of([&] { load(beyond, 1, addition_model(), root()); }),
            root() + "/rows.jsonl has 4 rows; offset 2 and rows 3 ask for more");
}

TEST_F(Datasets, ChoiceRowsAreTheirOwnObjective) {
  write("rows.jsonl", "{\"ids\": [1], \"choices\": [[1], [2]], \"label\": 1}\n");
  const Dataset dataset =
      load(spec_of("tokens", {{"path", text("rows.jsonl")}}), 1, addition_model(), root());
  EXPECT_EQ(dataset.objective, Objective::kChoices);
  EXPECT_TRUE(dataset.has_choices);
}

TEST_F(Datasets, UnknownAndMissingKeysAreProblemsWithTheirPlace) {
  std::vector<Problem> problems;
  check(spec_of("tokens", {{"pth", text("x")}}), 0, "s.toml", problems);
  ASSERT_EQ(problems.size(), 2u);
  for (const Problem& problem : problems) EXPECT_TRUE(problem.key.starts_with("datasets.d"));
  EXPECT_NE((problems[0].message + problems[1].message).find("did you mean"), std::string::npos);
}

TEST_F(Datasets, EveryTaskHasItsTableAndNoKeyIsAnAxis) {
  for (const std::string& task : task_names()) {
    ASSERT_FALSE(task_params(task).empty());
    for (const ParamInfo& info : task_params(task)) {
      EXPECT_FALSE(info.axis) << info.name;
      EXPECT_FALSE(info.meaning.empty()) << info.name;
      EXPECT_TRUE(info.example.starts_with(info.name)) << info.name;
    }
  }
  EXPECT_TRUE(task_params("poetry").empty());
}

class Text : public Folder {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(story_)) GTEST_SKIP() << story_ << " is not on this machine";
    model_ = models::open_model(shared("data/weights/stories260K"));
  }
  Dataset load_text(std::vector<std::pair<std::string, Value>> keys) const {
    keys.insert(keys.begin(), {"path", text(story_)});
    return load(spec_of("text", std::move(keys)), 1, model_, "");
  }
  const std::string story_ = shared("data/lm_text/tinystories_sample.txt");
  models::ModelFiles model_;
};

TEST_F(Text, NextTokenLabelsAreTheTokensShiftedByOne) {
  const Dataset dataset = load_text({{"window", number(32)}, {"rows", number(4)}});
  EXPECT_EQ(dataset.objective, Objective::kNextToken);
  ASSERT_EQ(dataset.rows.size(), 4u);
  for (const Row& row : dataset.rows) {
    ASSERT_EQ(row.ids.size(), 32u);
    ASSERT_EQ(row.labels.size(), 32u);
    EXPECT_EQ(row.ids[0], 1);
    for (size_t i = 0; i + 1 < 32; ++i) EXPECT_EQ(row.labels[i], row.ids[i + 1]);
    EXPECT_EQ(row.labels[31], kIgnore);
  }
}

TEST_F(Text, WindowsWithoutOverlapGiveTheFileBack) {
  const Dataset dataset = load_text({{"window", number(32)}, {"rows", number(8)}});
  std::vector<int32_t> joined;
  for (const Row& row : dataset.rows)
    joined.insert(joined.end(), row.ids.begin() + 1, row.ids.end());
  const std::string back = models::Tokenizer::open(model_.tokenizer).decode(joined);
  std::ifstream file(story_, std::ios::binary);
  std::string original((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(back.find("a little boy named Ben. Ben loved to explore"), std::string::npos);
  const std::string begin = back.substr(back.find("Once"), 200);
  EXPECT_EQ(begin, original.substr(original.find("Once"), 200));
}

TEST_F(Text, OffsetKeepsRowsApartAndChangesNone) {
  const Dataset all = load_text({{"window", number(32)}, {"rows", number(8)}});
  const Dataset later =
      load_text({{"window", number(32)}, {"rows", number(4)}, {"offset", number(4)}});
  EXPECT_TRUE(std::equal(later.rows.begin(), later.rows.end(), all.rows.begin() + 4));
  std::set<uint64_t> ids;
  for (const uint64_t id : ids_of(all)) ids.insert(id);
  EXPECT_EQ(ids.size(), 8u);
}

TEST_F(Text, StridePromptAndBosDoAsTheySay) {
  const Dataset dataset = load_text({{"window", number(16)},
                                     {"rows", number(2)},
                                     {"stride", number(4)},
                                     {"prompt", number(6)},
                                     {"bos", Value{false, {}}}});
  const std::vector<int32_t>& a = dataset.rows[0].ids;
  const std::vector<int32_t>& b = dataset.rows[1].ids;
  EXPECT_TRUE(std::equal(a.begin() + 4, a.end(), b.begin()));
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(dataset.rows[0].labels[i], kIgnore);
  for (size_t i = 5; i < 15; ++i) EXPECT_EQ(dataset.rows[0].labels[i], a[i + 1]);
}

TEST_F(Text, MaskedSpanIsEverythingBehindPromptAndBos) {
  model_.config.causal = false;
  model_.config.mask_id = 2;
  const Dataset dataset =
      load_text({{"window", number(16)}, {"rows", number(1)}, {"objective", text("masked")}});
  EXPECT_EQ(dataset.objective, Objective::kMasked);
  EXPECT_EQ(dataset.rows[0].span_begin, 1);
  EXPECT_EQ(dataset.rows[0].span_end, 16);
  EXPECT_TRUE(dataset.rows[0].labels.empty());
}

TEST_F(Text, WhatCannotBeReadOrAskedIsSaidInOneSentence) {
  EXPECT_EQ(
      error_of([&] {
        load_text({{"window", number(16)}, {"rows", number(1)}, {"objective", text("masked")}});
      }),
      "objective \"masked\" needs a masked-diffusion model; " + model_.directory +
          " has no mask token: use objective \"next_token\"");
  EXPECT_EQ(error_of([&] {
              load_text({{"window", number(5000)}, {"rows", number(1)}});
            }),
            "window 5000 is longer than the 512 positions of " + model_.directory);
  const std::string few = error_of([&] {
    load_text({{"window", number(32)}, {"rows", number(100'000)}});
  });
  EXPECT_TRUE(few.starts_with(story_ + " has ")) << few;
  EXPECT_TRUE(few.ends_with("offset and rows ask for 100000")) << few;
  write("empty.txt", "");
  const DatasetSpec empty =
      spec_of("text", {{"path", text("empty.txt")}, {"window", number(4)}, {"rows", number(1)}});
  EXPECT_EQ(error_of([&] { load(empty, 1, model_, root()); }), root() + "/empty.txt is empty");
  EXPECT_EQ(error_of([&] { load(empty, 1, addition_model(), root()); }),
            "task text needs a model with a tokenizer; addition-model has none");
  std::vector<Problem> problems;
  check(
      spec_of(
          "text",
          {{"path", text("x")}, {"window", number(8)}, {"rows", number(1)}, {"prompt", number(8)}}),
      0, "s.toml", problems);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].message, "a prompt of 8 tokens leaves nothing to ask in a window of 8");
}

}  // namespace
}  // namespace headcount::datasets
