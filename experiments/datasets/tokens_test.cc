// Rows made elsewhere: what is read, and the sentence every malformed line gets.
#include "experiments/datasets/tokens.h"

#include "experiments/datasets/test_files.h"

namespace headcount::datasets {
namespace {

models::Config config() {
  models::Config config;
  config.vocab_size = 32;
  config.max_positions = 8;
  return config;
}

class Tokens : public Folder {
 protected:
  std::vector<Row> read(const std::string& text) const {
    return read_tokens(write("rows.jsonl", text), config());
  }
  /// The refusal, without the folder.
  std::string refusal(const std::string& text) const {
    std::string message = error_of([&] { read(text); });
    if (message.starts_with(root() + "/")) message.erase(0, root().size() + 1);
    return message;
  }
};

TEST_F(Tokens, LabelsAreTakenAsTheyAre) {
  const std::vector<Row> rows =
      read("{\"ids\": [1, 2, 3], \"labels\": [-100, 31, 0]}\n\n{\"labels\":[4],\"ids\":[0]}\r\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].ids, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(rows[0].labels, (std::vector<int32_t>{kIgnore, 31, 0}));
  EXPECT_EQ(rows[0].span_begin, rows[0].span_end);
  EXPECT_TRUE(rows[0].choices.empty());
  EXPECT_EQ(rows[1].labels, std::vector<int32_t>{4});
}

TEST_F(Tokens, ChoicesContinueTheIds) {
  const std::vector<Row> rows =
      read("{\"ids\": [1, 2], \"choices\": [[3], [4, 5], [6]], \"label\": 1}");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].choices, (std::vector<std::vector<int32_t>>{{3}, {4, 5}, {6}}));
  EXPECT_EQ(rows[0].choice_at, 2);
  EXPECT_EQ(rows[0].label, 1);
  EXPECT_TRUE(rows[0].labels.empty());
}

struct Malformed {
  const char* text;
  const char* message;
};

const Malformed kMalformed[] = {
    {"", "rows.jsonl has no rows"},
    {"\n \n", "rows.jsonl has no rows"},
    {"{\"ids\": [1], \"labels\": [2]}\n{\"ids\": [1, 2",
     "rows.jsonl:2: not a JSON object: it ends in the middle of a value"},
    {"ids 1 2 3", "rows.jsonl:1: not a JSON object: it breaks at byte 1 of 9"},
    {"{\"ids\": [1], \"labels\": [2]} {}",
     "rows.jsonl:1: not a JSON object: it breaks at byte 29 of 30"},
    {"[1, 2]",
     "rows.jsonl:1: expected a JSON object such as {\"ids\": [...], \"labels\": [...]}, found "
     "array"},
    {"7",
     "rows.jsonl:1: expected a JSON object such as {\"ids\": [...], \"labels\": [...]}, found "
     "number"},
    {"{\"ids\": [[[[1]]]], \"labels\": [2]}", "rows.jsonl:1: nested deeper than a row is"},
    {"{\"labels\": [1]}", "rows.jsonl:1: the key \"ids\" is missing"},
    {"{\"ids\": [1]}", "rows.jsonl:1: the key \"labels\" is missing"},
    {"{\"ids\": [1], \"labels\": [1], \"mask\": 0}",
     "rows.jsonl:1: unknown key \"mask\"; a row has ids and labels, or ids, choices and label"},
    {"{\"ids\": 1, \"labels\": [1]}", "rows.jsonl:1: ids must be a list of integers, found number"},
    {"{\"ids\": [], \"labels\": []}", "rows.jsonl:1: ids is empty"},
    {"{\"ids\": [1, \"2\"], \"labels\": [1, 2]}",
     "rows.jsonl:1: ids[1] must be an integer, found string"},
    {"{\"ids\": [1.5], \"labels\": [1]}", "rows.jsonl:1: ids[0] must be an integer, found number"},
    {"{\"ids\": [null], \"labels\": [1]}", "rows.jsonl:1: ids[0] must be an integer, found null"},
    {"{\"ids\": [32], \"labels\": [1]}",
     "rows.jsonl:1: ids[0] is 32; the model's tokens are 0 to 31"},
    {"{\"ids\": [-100], \"labels\": [1]}",
     "rows.jsonl:1: ids[0] is -100; the model's tokens are 0 to 31"},
    {"{\"ids\": [18446744073709551615], \"labels\": [1]}",
     "rows.jsonl:1: ids[0] is 18446744073709551615; the model's tokens are 0 to 31"},
    {"{\"ids\": [1], \"labels\": [-1]}",
     "rows.jsonl:1: labels[0] is -1; the model's tokens are 0 to 31, and -100 for none"},
    {"{\"ids\": [1], \"labels\": [32]}",
     "rows.jsonl:1: labels[0] is 32; the model's tokens are 0 to 31, and -100 for none"},
    {"{\"ids\": [1, 2], \"labels\": [1]}", "rows.jsonl:1: 2 ids but 1 labels"},
    {"{\"ids\": [1, 2], \"labels\": [-100, -100]}",
     "rows.jsonl:1: nothing is supervised: every label is -100"},
    {"{\"ids\": [1,1,1,1,1,1,1,1,1], \"labels\": [1,1,1,1,1,1,1,1,1]}",
     "rows.jsonl:1: 9 tokens; the model has 8 positions"},
    {"{\"ids\": [1], \"labels\": [1], \"choices\": [[1], [2]], \"label\": 0}",
     "rows.jsonl:1: a row has either labels, or choices and label; found both"},
    {"{\"ids\": [1], \"label\": 0}", "rows.jsonl:1: the key \"choices\" is missing"},
    {"{\"ids\": [1], \"choices\": [[1], [2]]}", "rows.jsonl:1: the key \"label\" is missing"},
    {"{\"ids\": [1], \"choices\": 3, \"label\": 0}",
     "rows.jsonl:1: choices must be a list of lists, found number"},
    {"{\"ids\": [1], \"choices\": [[1]], \"label\": 0}",
     "rows.jsonl:1: choices must be at least two, found 1"},
    {"{\"ids\": [1], \"choices\": [[1], []], \"label\": 0}", "rows.jsonl:1: choices[1] is empty"},
    {"{\"ids\": [1], \"choices\": [[1], 2], \"label\": 0}",
     "rows.jsonl:1: choices[1] must be a list of integers, found number"},
    {"{\"ids\": [1], \"choices\": [[1], [99]], \"label\": 0}",
     "rows.jsonl:1: choices[1][0] is 99; the model's tokens are 0 to 31"},
    {"{\"ids\": [1], \"choices\": [[1], [2]], \"label\": 2}",
     "rows.jsonl:1: label is 2; it must be the index of a choice, 0 to 1"},
    {"{\"ids\": [1], \"choices\": [[1], [2]], \"label\": -1}",
     "rows.jsonl:1: label is -1; it must be the index of a choice, 0 to 1"},
    {"{\"ids\": [1], \"choices\": [[1], [2]], \"label\": \"0\"}",
     "rows.jsonl:1: label is \"0\"; it must be the index of a choice, 0 to 1"},
    {"{\"ids\": [1,1,1,1,1,1,1], \"choices\": [[1], [2, 2]], \"label\": 0}",
     "rows.jsonl:1: 9 tokens; the model has 8 positions"},
    {"{\"ids\": [1], \"labels\": [1]}\n{\"ids\": [1], \"choices\": [[1], [2]], \"label\": 0}",
     "rows.jsonl:2: rows with labels and rows with choices in one file; rows.jsonl:1 has labels"},
};

TEST_F(Tokens, EveryMalformedFileGetsItsSentence) {
  for (const Malformed& malformed : kMalformed) {
    std::string message = refusal(malformed.text);
    if (const size_t at = message.find(root() + "/"); at != std::string::npos)
      message.erase(at, root().size() + 1);
    EXPECT_EQ(message, malformed.message) << malformed.text;
  }
}

TEST_F(Tokens, GiganticLineIsRefusedBeforeItIsKept) {
  std::string line = "{\"ids\": [1";
  while (line.size() < (size_t{5} << 20)) line += ", 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1";
  EXPECT_EQ(refusal("{\"ids\": [1], \"labels\": [1]}\n" + line),
            "rows.jsonl:2: the line is longer than 4194304 bytes");
}

TEST_F(Tokens, DeepNestingIsRefusedWithoutRecursion) {
  EXPECT_EQ(refusal("{\"ids\": " + std::string(1'000'000, '[')),
            "rows.jsonl:1: nested deeper than a row is");
}

TEST_F(Tokens, FileMustBeThereAndRegular) {
  EXPECT_EQ(error_of([&] { read_tokens(root() + "/absent.jsonl", config()); }),
            root() + "/absent.jsonl does not exist");
  EXPECT_EQ(error_of([&] { read_tokens(root(), config()); }), root() + " is not a regular file");
}

}  // namespace
}  // namespace headcount::datasets
