// docs/spec.md against the tables the checks use: its generated blocks are what describe() makes,
// its examples are good. HEADCOUNT_REGENERATE=1 writes the blocks anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "experiments/sweep.h"
#include "experiments/test_files.h"

namespace headcount::experiments {
namespace {

const std::string kDoc = std::string(HEADCOUNT_SOURCE_DIR) + "/docs/spec.md";
constexpr const char* kBegin = "<!-- generated: ";
constexpr const char* kEnd = "<!-- end -->";

std::string read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// Every table a key can be looked up in, by the name of its block.
std::map<std::string, std::span<const ParamInfo>> tables() {
  std::map<std::string, std::span<const ParamInfo>> all = {
      {"top", top_params()}, {"models", model_params()}, {"stage", stage_params()}};
  for (const auto& task : datasets::task_names()) all["task " + task] = datasets::task_params(task);
  for (const auto& kind : kinds()) all["kind " + std::string(kind.name)] = kind.params;
  return all;
}

/// The document with every generated block made anew; the names of the blocks go to `found`.
std::string generated(const std::string& doc, std::vector<std::string>& found) {
  const auto all = tables();
  std::string out;
  size_t at = 0;
  for (size_t begin; (begin = doc.find(kBegin, at)) != std::string::npos;) {
    const size_t name_at = begin + std::string(kBegin).size();
    const size_t name_end = doc.find(" -->", name_at);
    const size_t end = doc.find(kEnd, name_end);
    const std::string name = doc.substr(name_at, name_end - name_at);
    EXPECT_TRUE(all.contains(name)) << "no table is named " << name;
    if (end == std::string::npos || !all.contains(name)) break;
    out += doc.substr(at, name_end - at) + " -->\n" + describe(all.at(name));
    found.push_back(name);
    at = end;
  }
  return out + doc.substr(at);
}

TEST(SpecDoc, HoldsEveryTableAsTheChecksHaveIt) {
  const std::string doc = read(kDoc);
  std::vector<std::string> found;
  const std::string anew = generated(doc, found);
  if (std::getenv("HEADCOUNT_REGENERATE") != nullptr) std::ofstream(kDoc) << anew;
  EXPECT_EQ(read(kDoc), anew) << "run with HEADCOUNT_REGENERATE=1";
  for (const auto& [name, infos] : tables()) {
    EXPECT_EQ(std::count(found.begin(), found.end(), name), 1) << name;
  }
}

TEST(SpecDoc, EveryKeySaysWhatItMeansAndItsExampleIsGood) {
  for (const auto& [name, infos] : tables()) {
    for (const auto& info : infos) {
      const std::string key(info.name);
      EXPECT_FALSE(info.meaning.empty()) << name << "." << key;
      const std::string line = info.example.starts_with(key + " = ")
                                   ? std::string(info.example)
                                   : key + " = " + std::string(info.example);
      std::string text = "name = \"x\"\n[[stage]]\n" + line + "\n";
      if (key != "name") text += "name = \"s\"\n";
      if (key != "kind") text += "kind = \"k\"\n";
      const ParsedSpec parsed = parse_spec(text, name);
      ASSERT_TRUE(parsed.spec) << to_string(parsed.problems);
      EXPECT_EQ(to_string(parsed.problems), "");
      std::vector<Problem> problems;
      ParamInfo alone = info;
      alone.required = false;
      read_params(parsed.spec->stages[0].keys, std::span(&alone, 1), {}, "", name, {}, problems);
      EXPECT_EQ(to_string(problems), "");
    }
  }
}

TEST(SpecDoc, WholeSpecsInItCheckClean) {
  const TestFiles files;
  const std::string doc = read(kDoc);
  int n_specs = 0;
  for (size_t at = 0; (at = doc.find("```toml\nname = ", at)) != std::string::npos;) {
    at += std::string("```toml\n").size();
    const std::string spec = doc.substr(at, doc.find("```", at) - at);
    EXPECT_EQ(to_string(prepare(spec, "docs/spec.md", files.root()).problems), "");
    ++n_specs;
  }
  EXPECT_GE(n_specs, 1);
}

}  // namespace
}  // namespace headcount::experiments
