// What a fingerprint covers, and where it is kept.
#include "models/files/fingerprint.h"

#include <sys/wait.h>

#include <array>
#include <nlohmann/json.hpp>

#include "models/files/test_directory.h"

namespace headcount::models {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

json published(const std::string& family) { return json::parse(published_text(family)); }

/// A folder for the models, one for the cache.
class Fingerprints : public TestDirectory {
 protected:
  Fingerprints() { ::setenv("HEADCOUNT_CACHE", cache().c_str(), 1); }
  ~Fingerprints() override { ::unsetenv("HEADCOUNT_CACHE"); }

  std::string cache() const { return directory_ + "/cache"; }

  /// A GPT-2 model of zeros, or with one byte of its file, counted from the end, set.
  std::string model(const std::string& name, const json& change = json::object(), size_t byte = 0) {
    fs::create_directories(directory_ + "/" + name);
    json config = published("gpt2");
    config.merge_patch(change);
    write(name + "/config.json", config.dump());
    std::string weights = safetensors(shapes());
    if (byte > 0) weights[weights.size() - byte] = 1;
    write(name + "/model.safetensors", weights);
    return directory_ + "/" + name;
  }

  static Shapes shapes() {
    const std::string layer = "h.0.";
    return {{"wte.weight", {32, 8}},
            {"wpe.weight", {16, 8}},
            {layer + "ln_1.weight", {8}},
            {layer + "ln_1.bias", {8}},
            {layer + "attn.c_proj.weight", {8, 8}},
            {layer + "attn.c_proj.bias", {8}},
            {layer + "ln_2.weight", {8}},
            {layer + "ln_2.bias", {8}},
            {layer + "mlp.c_fc.weight", {8, 32}},
            {layer + "mlp.c_fc.bias", {32}},
            {layer + "mlp.c_proj.weight", {32, 8}},
            {layer + "mlp.c_proj.bias", {8}},
            {"ln_f.weight", {8}},
            {"ln_f.bias", {8}},
            {layer + "attn.c_attn.bias", {24}},
            {layer + "attn.c_attn.weight", {8, 24}}};
  }

  static std::string print(const std::string& directory) {
    return fingerprint(open_model(directory));
  }
};

TEST_F(Fingerprints, AreOfConfigNamesAndEveryByteNotOfPlaceOrLayout) {
  const std::string one = print(model("one"));
  EXPECT_EQ(one.size(), 64u);
  EXPECT_EQ(print(model("copy")), one);
  EXPECT_NE(print(model("eps", {{"layer_norm_epsilon", 1e-6}})), one);
  EXPECT_NE(print(model("stop", {{"eos_token_id", 3}})), one);
  for (const size_t byte : {1, 300, 768, 769, 2000})
    EXPECT_NE(print(model("byte" + std::to_string(byte), json::object(), byte)), one)
        << "a byte " << byte << " before the end";

  fs::create_directory(directory_ + "/cut");
  fs::copy_file(directory_ + "/one/config.json", directory_ + "/cut/config.json");
  json map = json::object();
  const Shapes all = shapes();
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string file = "part" + std::to_string(i) + ".safetensors";
    write("cut/" + file, safetensors({all[i]}));
    map[all[i].first] = file;
  }
  write("cut/model.safetensors.index.json", json{{"weight_map", map}}.dump());
  EXPECT_EQ(print(directory_ + "/cut"), one) << "shards are one model";
}

TEST_F(Fingerprints, ChangeWithTheFileThoughKept) {
  const std::string one = print(model("one"));
  EXPECT_NE(print(model("one", json::object(), 9)), one);
}

TEST_F(Fingerprints, ChangeWithWeightsEditedInPlaceThoughTheTimeIsSetBack) {
  const std::string file = model("one") + "/model.safetensors", one = print(directory_ + "/one");
  const auto written_at = fs::last_write_time(file);
  model("one", json::object(), 9);
  fs::last_write_time(file, written_at);
  EXPECT_NE(print(directory_ + "/one"), one);
}

TEST_F(Fingerprints, OfAFileThatBecomesShorterMeanwhileAreAnError) {
  const ModelFiles files = open_model(model("one"));
  std::vector<uint64_t> done;
  const std::string error = error_of([&] {
    fingerprint(files, [&](uint64_t n_bytes_done, uint64_t) {
      done.push_back(n_bytes_done);
      if (done.size() == 3) fs::resize_file(directory_ + "/one/model.safetensors", 0);
    });
  });
  EXPECT_THAT(error, testing::HasSubstr("truncated"));
  EXPECT_EQ(done.size(), 3u);
  EXPECT_GT(done[2], done[1]);
}

TEST_F(Fingerprints, OfAFileThatChangesMeanwhileAreAnError) {
  const ModelFiles files = open_model(model("one"));
  const std::string error = error_of([&] {
    fingerprint(files, [&](uint64_t n_bytes_done, uint64_t) {
      if (n_bytes_done == 0) model("one", json::object(), 9);
    });
  });
  EXPECT_THAT(error, testing::HasSubstr("changed while"));
}

/// The fingerprint as a process of its own computes it: this one remembers what it has computed.
std::string asked_anew(const std::string& directory) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string print = fingerprint(open_model(directory));
    const bool written = ::write(ends[1], print.data(), print.size()) == 64;
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::string print(65, ' ');
  const ssize_t n = ::read(ends[0], print.data(), print.size());
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return print.substr(0, static_cast<size_t>(std::max<ssize_t>(n, 0)));
}

TEST_F(Fingerprints, AreKeptInOneSmallFileAndADamagedOneIsIgnored) {
  const std::string one = model("one"), right = asked_anew(one);
  ASSERT_EQ(right.size(), 64u);
  std::vector<fs::path> kept;
  for (const auto& entry : fs::recursive_directory_iterator(cache()))
    if (entry.is_regular_file()) kept.push_back(entry.path());
  ASSERT_EQ(kept.size(), 1u) << "no half-written file stays";
  EXPECT_LT(fs::file_size(kept[0]), 100u);

  const std::string invented(64, 'a');
  std::ofstream(kept[0]) << invented << "\n";
  EXPECT_EQ(asked_anew(one), invented) << "it is read from there";
  for (const std::string& damaged : {std::string(), std::string("abc"), std::string(64, 'x')}) {
    std::ofstream(kept[0]) << damaged << "\n";
    EXPECT_EQ(asked_anew(one), right) << damaged;
  }
  ::setenv("HEADCOUNT_CACHE", "/proc/nowhere", 1);
  EXPECT_EQ(asked_anew(one), right) << "a cache that cannot be written costs time only";
}

}  // namespace
}  // namespace headcount::models
