// From TOML text to values with places; the canonical form. Whole bad specs with their messages:
// tests/specs/bad.
#include "schemas/spec.h"

#include <gtest/gtest.h>

#include <random>

namespace headcount {
namespace {

constexpr const char* kGood = R"(# a comment
name = "heads"
seed = 7

[models.b]
path = "builtin:addition"

[models.a]
path = "dir"
dtype = "bfloat16"

[datasets.train]
task = "addition"
rows = 256

[[stage]]
name = "importance"
kind = "head_importance"
model = ["a", "b"]
baseline = 0.5

[[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance", ig_steps = 16 }
)";

std::string problems_of(const std::string& text) {
  return to_string(parse_spec(text, "x.toml").problems);
}

TEST(Spec, ReadsEveryPartInTheOrderOfTheFileWithItsPlace) {
  const ParsedSpec parsed = parse_spec(kGood, "x.toml");
  ASSERT_EQ(to_string(parsed.problems), "");
  const Spec& spec = *parsed.spec;
  EXPECT_EQ(spec.name, "heads");
  EXPECT_EQ(spec.seed, 7u);
  ASSERT_EQ(spec.models.size(), 2u);
  EXPECT_EQ(spec.models[0].name, "b");
  EXPECT_EQ(spec.models[0].dtype, "float32");
  EXPECT_EQ(spec.models[1].dtype, "bfloat16");
  EXPECT_EQ(spec.models[1].at.line, 8);
  ASSERT_EQ(spec.datasets.size(), 1u);
  EXPECT_EQ(spec.datasets[0].task, "addition");
  EXPECT_EQ(std::get<int64_t>(find(spec.datasets[0].keys, "rows")->data), 256);
  ASSERT_EQ(spec.stages.size(), 2u);
  EXPECT_EQ(spec.stages[0].at.line, 16);
  const auto* model = find_member(spec.stages[0].keys, "model");
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->at.line, 19);
  EXPECT_EQ(model->at.column, 1);
  EXPECT_EQ(to_text(model->value), "[\"a\", \"b\"]");
  EXPECT_EQ(find(spec.stages[0].keys, "name"), nullptr);
  const auto& scores = std::get<Value::Table>(find(spec.stages[1].keys, "scores")->data);
  EXPECT_EQ(scores[1].key, "ig_steps");
  EXPECT_EQ(scores[1].at.line, 25);
  EXPECT_EQ(scores[1].at.column, 34);
}

TEST(Spec, ReportsEverythingWrongWithTheShapeAtOnce) {
  EXPECT_EQ(problems_of("nam = 1\nseed = -1\nmodels = 3\nstage = {}\n"),
            "x.toml:1:1: name: required key is missing\n"
            "x.toml:2:1: seed: expected an integer of at least 0, found -1\n"
            "x.toml:1:1: nam: unknown key; did you mean \"name\"?\n"
            "x.toml:3:1: models: expected tables [models.NAME], found 3\n"
            "x.toml:4:1: stage: expected a list of tables; write [[stage]] with two brackets\n");
}

TEST(Spec, ReportsASyntaxErrorAlone) {
  const ParsedSpec parsed = parse_spec("seed = -1\nname = \n", "x.toml");
  EXPECT_FALSE(parsed.spec);
  ASSERT_EQ(parsed.problems.size(), 1u);
  EXPECT_EQ(parsed.problems[0].at.line, 2);
  EXPECT_EQ(parsed.problems[0].key, "");
}

TEST(Spec, CanonicalFormForgetsLayoutAndOrderOfKeysOnly) {
  const Spec spec = *parse_spec(kGood, "x.toml").spec;
  std::string moved = "seed = 7 # first\nname = 'heads'\n";
  moved += "[datasets.train]\nrows=256\ntask='addition'\n";
  moved += "[models]\na = { dtype = 'bfloat16', path = 'dir' }\nb.path = 'builtin:addition'\n";
  moved +=
      "[[stage]]\nkind='head_importance'\nbaseline=5e-1\nname='importance'\nmodel=['a','b',]\n";
  moved += "[[stage]]\nname='pruning'\nkind='head_pruning'\n";
  moved += "scores.ig_steps=16\nscores.stage='importance'\n";
  const ParsedSpec other = parse_spec(moved, "y.toml");
  ASSERT_EQ(to_string(other.problems), "");
  EXPECT_EQ(canonical(spec), canonical(*other.spec));
  EXPECT_EQ(digest(spec), digest(*other.spec));

  std::string changed = kGood;
  changed.replace(changed.find("[\"a\", \"b\"]"), 10, "[\"b\", \"a\"]");
  EXPECT_NE(digest(spec), digest(*parse_spec(changed, "x.toml").spec));
}

TEST(Spec, RefusesNestingBeforeAParserCouldRecurse) {
  for (const char* unit : {"[", "{a=", "a."}) {
    std::string text = "x = ";
    if (unit[0] == 'a') text = "";
    for (int i = 0; i < 100'000; ++i) text += unit;
    const ParsedSpec parsed = parse_spec(text, "x.toml");
    EXPECT_FALSE(parsed.spec);
    EXPECT_EQ(parsed.problems[0].message, "nested deeper than 16 levels");
  }
  EXPECT_EQ(
      problems_of("name = \"" + std::string(40, '[') + std::string(40, '.') + "\"").find("nested"),
      std::string::npos);
}

TEST(Spec, SurvivesDamagedText) {
  std::mt19937 random(1);
  const std::string good = kGood;
  for (int round = 0; round < 3000; ++round) {
    std::string text = good.substr(0, round % 3 == 0 ? random() % good.size() : good.size());
    for (size_t i = random() % 4 + (round % 3 != 0); i > 0 && !text.empty(); --i) {
      constexpr std::string_view pieces =
          "\"'[]{}=.,#\n\\\xff"
          "1eE+-_u";
      text[random() % text.size()] = pieces[random() % pieces.size()];
    }
    const ParsedSpec parsed = parse_spec(text, "x.toml");
    EXPECT_TRUE(parsed.spec || parsed.problems.size() == 1) << text;
  }
}

TEST(Spec, TextOfValuesIsCutBetweenCharactersAndEscaped) {
  EXPECT_EQ(to_text({.data = std::string("a\x1b[2J"), .at = {}}), "\"a\\u001b[2J\"");
  std::string umlauts;
  for (int i = 0; i < 50; ++i) umlauts += "\xC3\xA4";
  const std::string shown = to_text({.data = umlauts, .at = {}});
  EXPECT_TRUE(shown.ends_with("\xC3\xA4..."));
  EXPECT_LT(shown.size(), 50u);
  EXPECT_EQ(key_text("a b"), "\"a b\"");
}

}  // namespace
}  // namespace headcount
