// What a spec may name and what is opened in its place.
#include "experiments/allowed_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "schemas/error.h"

namespace headcount::experiments {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class AllowedPathsTest : public testing::Test {
 protected:
  AllowedPathsTest() {
    char name[] = "/tmp/headcount-allowed-XXXXXX";
    base = fs::canonical(mkdtemp(name));
    for (const char* folder : {"root/model", "state/keys", "elsewhere"})
      fs::create_directories(base / folder);
    for (const char* file : {"root/rows", "state/keys/coordinator", "elsewhere/rows"})
      std::ofstream(base / file) << "x";
    client = {.state = (base / "state").string(),
              .within = std::vector<std::string>{(base / "root").string()}};
    admin = {.state = (base / "state").string()};
  }
  ~AllowedPathsTest() override { fs::remove_all(base); }
  std::string path(const std::string& name) const { return (base / name).string(); }
  static std::string refusal(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  /// What it says, with the name left out.
  std::string said(const AllowedPaths& allowed, const std::string& name) const {
    const std::string text = refusal([&] { allowed_file(allowed, path(name)); });
    return text.empty() ? "" : text.substr(path(name).size());
  }

  fs::path base;
  AllowedPaths client, admin;
};

TEST_F(AllowedPathsTest, AClientReadsItsDirectoriesAndNothingElse) {
  EXPECT_EQ(allowed_file(client, path("root/model/../rows")), path("root/rows"));
  EXPECT_EQ(said(client, "root/nowhere"), "");
  EXPECT_THAT(said(client, "elsewhere/rows"), HasSubstr("does not lie where this key may read"));
  EXPECT_NE(said(client, "root/../elsewhere/rows"), "");
  EXPECT_NE(said(client, "root/nowhere/../../elsewhere/rows"), "");
  EXPECT_NE(said(client, "rootless"), "");
  client.within->push_back(path("elsewhere"));
  EXPECT_EQ(said(client, "elsewhere/rows"), "");
}

TEST_F(AllowedPathsTest, WhetherSomethingIsThereOutsideIsNotSaid) {
  fs::create_symlink(base / "elsewhere/rows", base / "root/there");
  fs::create_symlink(base / "elsewhere/nothing", base / "root/absent");
  EXPECT_NE(said(client, "root/there"), "");
  EXPECT_EQ(said(client, "root/there"), said(client, "root/absent"));
  EXPECT_EQ(said(client, "elsewhere/rows"), said(client, "elsewhere/nothing"));
  EXPECT_EQ(said(client, "state/keys/coordinator"), said(client, "elsewhere/nothing"));
}

TEST_F(AllowedPathsTest, TheStateDirectoryIsReadByNobody) {
  fs::create_directory_symlink(base / "state", base / "root/link");
  client.within->push_back(base.string());
  for (const auto& who : {client, admin}) {
    EXPECT_THAT(said(who, "state/keys/coordinator"), HasSubstr("state directory"));
    EXPECT_THAT(said(who, "root/link/keys/coordinator"), HasSubstr("state directory"));
    EXPECT_THAT(said(who, "root/../state/keys/../keys/coordinator"), HasSubstr("state directory"));
  }
  EXPECT_EQ(said(admin, "elsewhere/rows"), "");
}

TEST_F(AllowedPathsTest, AModelsDirectoryLeadsNowhereElseEither) {
  EXPECT_EQ(allowed_directory(client, path("root/model")), path("root/model"));
  fs::create_symlink(base / "root/rows", base / "root/model/config.json");
  EXPECT_EQ(allowed_directory(client, path("root/model")), path("root/model"));
  fs::create_symlink(base / "state/keys/coordinator", base / "root/model/tokenizer.json");
  for (const auto& who : {client, admin})
    EXPECT_NE(refusal([&] { allowed_directory(who, path("root/model")); }), "");
}

TEST_F(AllowedPathsTest, LinksInACircleEnd) {
  fs::create_symlink(base / "root/b", base / "root/a");
  fs::create_symlink(base / "root/a", base / "root/b");
  EXPECT_THAT(refusal([&] { allowed_file(client, path("root/a")); }), HasSubstr("too many links"));
}

}  // namespace
}  // namespace headcount::experiments
