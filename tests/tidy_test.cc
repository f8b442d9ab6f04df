// The arrows of ARCHITECTURE.md against the real includes: which folder may include which, and
// which third party is seen where. One name, one type: the linker keeps one of two equally named
// inline functions, whichever type it was made for. And comments that can be followed: files they
// cite exist, a source without a header of its own says whose it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// Folders from the most specific path to the least; what a kind computes belongs to the run side.
std::string folder_of(const std::string& path) {
  static const std::regex run_side("experiments/(run/.*|kinds/[^/]+/run(_test)?\\.(cc|h))");
  if (std::regex_match(path, run_side)) return "experiments/run";
  for (const char* folder :
       {"cluster/transport", "cluster/process", "cluster/systemd", "models/files",
        "models/tokenizers", "experiments/metrics", "experiments/datasets", "worker/runner",
        "schemas", "store", "experiments", "models", "coordinator", "worker", "cli", "tests",
        "bench"}) {
    if (path.rfind(std::string(folder) + "/", 0) == 0) return folder;
  }
  return "";
}

const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"schemas", {}},
    {"store", {"schemas"}},
    {"cluster/transport", {"schemas"}},
    {"cluster/process", {"schemas"}},
    {"cluster/systemd", {"schemas"}},
    {"models/files", {"schemas"}},
    {"models/tokenizers", {"schemas"}},
    {"experiments/metrics", {"schemas"}},
    {"experiments/datasets", {"schemas", "models/files", "models/tokenizers"}},
    {"experiments", {"schemas", "experiments/metrics", "experiments/datasets", "models/files"}},
    {"models", {"schemas", "models/files"}},
    {"experiments/run",
     {"schemas", "experiments", "experiments/metrics", "experiments/datasets", "models"}},
    {"coordinator",
     {"schemas", "store", "experiments", "experiments/datasets", "models/files", "cluster/systemd",
      "cluster/transport"}},
    {"worker", {"schemas", "cluster/systemd", "cluster/transport", "cluster/process"}},
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

/// What the compiler sees of `text` but for literals and preprocessor lines: words, and single
/// characters of punctuation.
std::vector<std::string> tokens_of(std::string_view text) {
  std::vector<std::string> tokens;
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  };
  bool line_begins = true;
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    const auto skip_past = [&](std::string_view end, size_t from) {
      const size_t at = rest.find(end, from);
      i += at == std::string_view::npos ? rest.size() : at + end.size();
    };
    const char c = rest.front();
    if (c == '\n' || std::isspace(static_cast<unsigned char>(c))) {
      line_begins = line_begins || c == '\n';
      ++i;
    } else if (rest.starts_with("//") || (c == '#' && line_begins)) {
      do i = text.find('\n', i + 1);
      while (i < text.size() && text[i - 1] == '\\');  // goes on in the next line
    } else if (rest.starts_with("/*")) {
      skip_past("*/", 2);
    } else if (rest.starts_with("R\"")) {
      skip_past(")" + std::string(rest.substr(2, rest.find('(') - 2)) + "\"", 2);
    } else if (c == '"' || c == '\'') {
      for (++i; i < text.size() && text[i] != c; ++i) i += text[i] == '\\';
      ++i;
    } else if (is_word(c)) {
      const size_t begin = i;
      // 1'000: the mark inside a number is no literal.
      while (i < text.size() &&
             (is_word(text[i]) || (text[i] == '\'' && std::isdigit(static_cast<unsigned char>(c)))))
        ++i;
      tokens.emplace_back(text.substr(begin, i - begin));
      line_begins = false;
    } else {
      tokens.emplace_back(1, c);
      line_begins = false;
      ++i;
    }
  }
  return tokens;
}

/// Full names of the types `text` defines at namespace level; those of unnamed namespaces only
/// where the file is a header, as each source has its own.
std::vector<std::string> types_of(std::string_view text, bool is_header) {
  const std::vector<std::string> tokens = tokens_of(text);
  const auto at = [&](size_t i) { return i < tokens.size() ? tokens[i] : std::string(";"); };
  const auto name_at = [&](size_t& i) {  // NAME or A::B; "" where there is none
    std::string name;
    for (;; ++i) {
      const bool joins = at(i) == ":" && at(i + 1) == ":";
      if (joins) ++i;
      const bool is_word = std::isalpha(static_cast<unsigned char>(at(i)[0])) || at(i)[0] == '_';
      if (joins)
        name += "::";
      else if (is_word && at(i) != "final")
        name += at(i);
      else if (at(i) != "final")
        return name;
    }
  };
  std::vector<std::string> found;
  std::vector<std::string> spaces;  // the namespaces around the token, "" where unnamed
  std::vector<bool> is_space;       // of every open brace
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] == "}") {
      EXPECT_FALSE(is_space.empty());
      if (is_space.empty()) return found;
      if (is_space.back()) spaces.pop_back();
      is_space.pop_back();
    } else if (tokens[i] == "{") {
      is_space.push_back(false);
    } else if (tokens[i] == "namespace") {
      size_t next = i + 1;
      const std::string name = name_at(next);
      if (at(next) != "{") continue;  // another name for one, or using namespace
      spaces.push_back(name);
      is_space.push_back(true);
      i = next;
    } else if (is_space.size() == spaces.size() && (tokens[i] == "struct" || tokens[i] == "class" ||
                                                    tokens[i] == "union" || tokens[i] == "enum")) {
      size_t next = i + 1;
      if (at(next) == "struct" || at(next) == "class") ++next;  // enum class
      const std::string name = name_at(next);
      const bool defined = at(next) == "{" || at(next) == ":";
      const bool own = std::count(spaces.begin(), spaces.end(), "") > 0 && !is_header;
      if (name.empty() || !defined || own) continue;
      std::string full;
      for (const auto& space : spaces) full += space + "::";
      found.push_back(full + name);
      i = next - 1;
    }
  }
  EXPECT_TRUE(is_space.empty());
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

/// Every .h and .cc of ours, from the root.
std::vector<std::string> sources() {
  const fs::path root = HEADCOUNT_SOURCE_DIR;
  std::vector<std::string> files;
  for (const char* top : {"schemas", "store", "cluster", "models", "experiments", "coordinator",
                          "worker", "cli", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const auto extension = entry.path().extension();
      if (extension == ".cc" || extension == ".h")
        files.push_back(fs::relative(entry.path(), root).string());
    }
  }
  return files;
}

/// Whether that file is there, named from the root, from the folder of the source that names it, or
/// by its end somewhere below that folder.
bool is_cited_rightly(const std::string& source, const std::string& cited) {
  const fs::path root = HEADCOUNT_SOURCE_DIR, folder = (root / source).parent_path();
  if (fs::exists(root / cited) || fs::exists(folder / cited)) return true;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().string().ends_with("/" + cited)) return true;
  }
  return false;
}

TEST(Tidy, FilesThatCommentsCiteExist) {
  // Not <sysexits.h>, which is another's.
  static const std::regex citation(
      "(^|[^<A-Za-z0-9_./*-])([A-Za-z0-9_][A-Za-z0-9_./-]*\\.(md|h|def))\\b");
  size_t seen = 0;
  for (const auto& file : sources()) {
    std::ifstream in(fs::path(HEADCOUNT_SOURCE_DIR) / file);
    for (std::string line; std::getline(in, line);) {
      const size_t at = line.find("// ");
      if (at == std::string::npos) continue;
      const std::string code = line.substr(0, at);
      if (std::count(code.begin(), code.end(), '"') % 2 == 1) continue;  // text, not a comment
      const std::string comment = line.substr(at);
      for (std::sregex_iterator it(comment.begin(), comment.end(), citation), end; it != end;
           ++it) {
        ++seen;
        EXPECT_TRUE(is_cited_rightly(file, (*it)[2]))
            << file << " cites " << (*it)[2] << ": " << line;
      }
    }
  }
  EXPECT_GT(seen, 100u);
}

TEST(Tidy, NoSourceOutsideTheFoldersOfKindsNamesOne) {
  // Whatever depends on the kind is a value of it: see experiments/kind.h.
  const fs::path root = HEADCOUNT_SOURCE_DIR;
  const std::string kinds = "experiments/kinds/";
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root / kinds)) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  EXPECT_GT(names.size(), 3u);
  std::set<std::string> files;
  for (const auto& include : includes()) files.insert(include.file);
  size_t seen = 0;
  for (const auto& file : files) {
    const bool of_tests = is_test(file) || file.find("fixture.h") != std::string::npos;
    // schemas/messages.h: the tag of shards that no runner computes is spelled as their kind is.
    if (of_tests || file.rfind(kinds, 0) == 0 || file == "schemas/messages.h") continue;
    ++seen;
    std::ifstream in(root / file);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    for (const auto& name : names) {
      EXPECT_FALSE(std::regex_search(text, std::regex("\"" + name + "\\\\?\"")))
          << file << " names the kind " << name << ": give struct Kind or Computation a member";
    }
  }
  EXPECT_GT(seen, 100u);
}

TEST(Tidy, ASourceHasItsHeaderOrSaysWhoseItIs) {
  const fs::path root = HEADCOUNT_SOURCE_DIR;
  static const std::regex part_of("// Part of ([^ ]+\\.h)\\.");
  for (const auto& file : sources()) {
    const fs::path path = root / file;
    const bool is_own_program = path.filename() == "main.cc" || file.rfind("tests/", 0) == 0;
    if (path.extension() != ".cc" || is_test(file) || is_own_program) continue;
    const fs::path folder = path.parent_path();
    const fs::path own = fs::path(path).replace_extension(".h");
    const fs::path of_folder = folder / (folder.filename().string() + ".h");  // a kind's
    if (fs::exists(own) || fs::exists(of_folder)) continue;
    std::ifstream in(path);
    std::string first;
    std::getline(in, first);
    std::smatch match;
    EXPECT_TRUE(std::regex_match(first, match, part_of) && fs::exists(root / match[1].str()))
        << file << " has no header: begin it with '// Part of FOLDER/HEADER.h.'";
  }
}

TEST(Tidy, ReadsWhichTypesASourceDefines) {
  const std::string source = R"code(
    #include <struct>  // struct Comment {};
    struct Free { struct Nested { int x = 1'000; }; };
    namespace a::b {
    class Declared;
    template <class T> class Made final : public Free {};
    enum class Colour : char { kRed = '{' };
    const char* text = "struct Text {";
    void act() { struct Local {}; }
    struct Made::Part {};
    namespace {
    struct Hidden {};
    }
    }
  )code";
  using testing::ElementsAre;
  EXPECT_THAT(types_of(source, false),
              ElementsAre("Free", "a::b::Made", "a::b::Colour", "a::b::Made::Part"));
  EXPECT_THAT(types_of(source, true), testing::Contains("a::b::::Hidden"));
}

TEST(Tidy, NoTwoTypesHaveOneNameInOneNamespace) {
  const fs::path root = HEADCOUNT_SOURCE_DIR;
  std::map<std::string, std::string> defined_in;
  for (const auto& file : sources()) {
    SCOPED_TRACE(file);
    std::ifstream in(root / file);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    for (const auto& type : types_of(text, file.ends_with(".h"))) {
      const auto [there, is_new] = defined_in.emplace(type, file);
      EXPECT_TRUE(is_new) << type << " is defined in " << there->second << " and in " << file
                          << ": one name, one type";
    }
  }
  EXPECT_GT(defined_in.size(), 200u);
}

}  // namespace
