// The arrows of ARCHITECTURE.md against the real includes: which folder may include which, and
// which third party is seen where.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// Folders from the most specific path to the least; run.cc of a kind belongs to the run side.
std::string folder_of(const std::string& path) {
  static const std::regex run_side("experiments/(run/.*|kinds/[^/]+/run(_test)?\\.cc)");
  if (std::regex_match(path, run_side)) return "experiments/run";
  for (const char* folder :
       {"cluster/transport", "cluster/process", "models/files", "models/tokenizers",
        "experiments/metrics", "experiments/datasets", "worker/runner", "schemas", "store",
        "experiments", "models", "coordinator", "worker", "cli", "tests", "bench"}) {
    if (path.rfind(std::string(folder) + "/", 0) == 0) return folder;
  }
  return "";
}

const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"schemas", {}},
    {"store", {"schemas"}},
    {"cluster/transport", {"schemas"}},
    {"cluster/process", {"schemas"}},
    {"models/files", {"schemas"}},
    {"models/tokenizers", {"schemas"}},
    {"experiments/metrics", {"schemas"}},
    {"experiments/datasets", {"schemas", "models/files", "models/tokenizers"}},
    {"experiments", {"schemas", "experiments/metrics", "experiments/datasets", "models/files"}},
    {"models", {"schemas", "models/files"}},
    {"experiments/run",
     {"schemas", "experiments", "experiments/metrics", "experiments/datasets", "models"}},
    {"coordinator",
     {"schemas", "store", "experiments", "experiments/datasets", "models/files",
      "cluster/transport"}},
    {"worker", {"schemas", "cluster/transport", "cluster/process"}},
    {"worker/runner",
     {"schemas", "cluster/process", "experiments/run", "experiments", "experiments/datasets",
      "models", "models/files", "models/tokenizers"}},
    {"cli",
     {"schemas", "store", "experiments", "experiments/datasets", "experiments/metrics",
      "models/files", "models/tokenizers", "coordinator", "worker", "cluster/process",
      "cluster/transport"}},
};

struct Include {
  std::string file, folder, target;
  bool ours = false;
};

std::vector<Include> includes() {
  static const std::regex line_form("\\s*#\\s*include\\s*([<\"])([^>\"]+)[>\"].*");
  std::vector<Include> found;
  const fs::path root = HEADCOUNT_SOURCE_DIR;
  for (const char* top :
       {"schemas", "store", "cluster", "models", "experiments", "coordinator", "worker", "cli"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const auto extension = entry.path().extension();
      if (extension != ".cc" && extension != ".h") continue;
      const std::string file = fs::relative(entry.path(), root).string();
      std::ifstream in(entry.path());
      std::smatch match;
      for (std::string line; std::getline(in, line);) {
        if (std::regex_match(line, match, line_form)) {
          found.push_back({file, folder_of(file), match[2], match[1] == "\""});
        }
      }
    }
  }
  return found;
}

bool is_test(const std::string& file) { return file.find("_test.cc") != std::string::npos; }

TEST(Tidy, FoldersIncludeOnlyWhatTheirLevelAllows) {
  size_t seen = 0;
  for (const auto& include : includes()) {
    if (!include.ours) continue;
    ++seen;
    const std::string to = folder_of(include.target);
    EXPECT_FALSE(to.empty()) << include.file << " includes \"" << include.target
                             << "\": write our headers from the root, others in <>";
    if (to.empty() || to == include.folder || is_test(include.file)) continue;
    EXPECT_TRUE(kMayInclude.at(include.folder).count(to))
        << include.file << " (" << include.folder << ") must not include " << include.target;
  }
  EXPECT_GT(seen, 100u);
}

TEST(Tidy, ThirdPartiesStayInTheirFolder) {
  const std::vector<std::pair<std::regex, std::set<std::string>>> rules = {
      {std::regex("sqlite3\\.h"), {"store"}},
      {std::regex("zmq.*"), {"cluster/transport"}},
      {std::regex("toml\\+\\+.*"), {"schemas"}},
      {std::regex("(ATen|torch|c10)/.*"), {"models", "experiments/run", "worker/runner"}},
      {std::regex("boost/asio.*"), {"worker"}},
      {std::regex("spdlog/.*"), {"worker"}},
      {std::regex("CLI/.*"), {"cli", "worker/runner"}},
      {std::regex("(pcre2|utf8proc|sentencepiece).*"), {"models/tokenizers"}},
  };
  for (const auto& include : includes()) {
    if (include.ours || is_test(include.file)) continue;
    for (const auto& [form, allowed] : rules) {
      if (std::regex_match(include.target, form)) {
        EXPECT_TRUE(allowed.count(include.folder))
            << include.file << " must not see <" << include.target << ">";
      }
    }
    if (include.target.rfind("nlohmann/", 0) == 0) {
      EXPECT_TRUE(include.file.ends_with(".cc"))
          << include.file << ": nlohmann/json stands in .cc files only";
    }
  }
}

TEST(Tidy, OnlyOneFileSeesToml) {
  std::set<std::string> files;
  for (const auto& include : includes()) {
    if (include.target.find("toml++") != std::string::npos) files.insert(include.file);
  }
  EXPECT_EQ(files.size(), 1u);
}

TEST(Tidy, EverySourceSaysWhatItIsFor) {
  const fs::path root = HEADCOUNT_SOURCE_DIR;
  for (const auto& include : includes()) {
    if (is_test(include.file)) continue;
    std::ifstream in(root / include.file);
    std::string first;
    std::getline(in, first);
    const bool opens = first.rfind("//", 0) == 0 || first.rfind("#include", 0) == 0;
    EXPECT_TRUE(opens) << include.file << " opens with neither a purpose nor an include";
  }
}

}  // namespace
