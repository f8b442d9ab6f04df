// Every family against what its own published code computed.
#include "models/golden.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "schemas/error.h"

namespace headcount::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string data(const std::string& path) {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  return (given != nullptr ? std::string(given)
                           : std::string(HEADCOUNT_SOURCE_DIR) + "/../shared") +
         "/data/" + path;
}

/// Gauss-Legendre on [0, 1] from the eigenvectors of the Legendre recurrence (Golub and Welsch):
/// another way than experiments/run/quadrature.h.
PathRule gauss_legendre(int64_t n) {
  const at::Tensor jacobi = at::zeros({n, n}, at::kDouble);
  for (int64_t k = 1; k < n; ++k) {
    const auto order = static_cast<double>(k);
    jacobi[k][k - 1].fill_(order / std::sqrt(4 * order * order - 1));
  }
  const auto [values, vectors] = at::linalg_eigh(jacobi);
  PathRule rule;
  for (int64_t i = 0; i < n; ++i) {
    const double first = vectors[0][i].item<double>();
    rule.nodes.push_back((1 + values[i].item<double>()) / 2);
    rule.weights.push_back(first * first);
  }
  return rule;
}

void expect_agreement(const std::string& model, const std::string& golden_file,
                      at::ScalarType dtype, Path path) {
  const Model loaded = load(open_model(model), dtype, at::kCPU);
  Golden golden = read_golden(golden_file);
  // 512 passes a path: once is enough.
  if (dtype != at::kDouble || path == Path::kPlain) {
    for (GoldenPath& p : golden.paths) p.composite.clear();
  }
  const auto differences = compare(loaded, golden, gauss_legendre(64), gauss_legendre(8), path);
  EXPECT_GE(differences.size(), 2u);
  for (const Difference& d : differences) {
    EXPECT_TRUE(d.holds()) << d.quantity << ": " << d.largest << " at " << d.where << ", tolerance "
                           << d.tolerance;
  }
}

class Goldens : public testing::TestWithParam<std::string> {};

TEST_P(Goldens, LogitsLossesGateGradientsAndPathsAgreeWithThePublishedCode) {
  const std::string directory = data("goldens/" + GetParam());
  if (!fs::exists(directory)) GTEST_SKIP() << directory << " is not on this machine";
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
    SCOPED_TRACE(c10::toString(dtype));
    expect_agreement(directory, directory + "/golden.json", dtype, Path::kFast);
  }
  expect_agreement(directory, directory + "/golden.json", at::kDouble, Path::kPlain);
}

INSTANTIATE_TEST_SUITE_P(Families, Goldens,
                         testing::Values("llada", "dream", "llama", "llama3_rope_bf16", "mistral",
                                         "qwen2", "qwen3", "gpt2", "gpt2_prefixed", "gpt_neox",
                                         "opt", "gptj"),
                         [](const auto& given) { return given.param; });

TEST(Tinydiff, MaskedCrossEntropiesAgreeWithAnIndependentProgram) {
  const std::string directory = data("weights/no_licence/tinydiff_student_1M");
  if (!fs::exists(directory)) GTEST_SKIP() << directory << " is not on this machine";
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    for (const Path path : {Path::kFast, Path::kPlain})
      expect_agreement(directory, directory + "/golden_masked_ce.json", dtype, path);
  }
}

/// LLaDA's golden, to be changed and written again.
class GoldenFile : public testing::Test {
 protected:
  std::string directory_ = data("goldens/llada");
  const fs::path folder_ =
      fs::path(testing::TempDir()) / ("golden_test_" + std::to_string(getpid()));
  json value_;

  void SetUp() override {
    if (!fs::exists(directory_)) GTEST_SKIP() << directory_ << " is not on this machine";
    fs::create_directories(folder_);
    std::ifstream file(directory_ + "/golden.json");
    value_ = json::parse(file);
  }
  ~GoldenFile() override { fs::remove_all(folder_); }

  std::string write(const std::string& text) const {
    const std::string path = (folder_ / "golden.json").string();
    std::ofstream(path) << text;
    return path;
  }
  std::vector<Difference> differences(const json& golden) const {
    const Model model = load(open_model(directory_), at::kFloat, at::kCPU);
    return compare(model, read_golden(write(golden.dump())), gauss_legendre(64), gauss_legendre(8),
                   Path::kFast);
  }
  /// Reading and comparing `text` ends in one sentence that names the file and `what`.
  void expect_refused(const std::string& text, const std::string& what) const {
    const Model model = load(open_model(directory_), at::kFloat, at::kCPU);
    try {
      compare(model, read_golden(write(text)), gauss_legendre(64), gauss_legendre(8), Path::kFast);
      ADD_FAILURE() << "accepted a golden with " << what;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("golden.json"), std::string::npos) << message;
      EXPECT_NE(message.find(what), std::string::npos) << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    }
  }
  void expect_refused(const char* pointer, const json& change, const std::string& what) const {
    json changed = value_;
    changed[json::json_pointer(pointer)] = change;
    expect_refused(changed.dump(), what);
  }
};

TEST_F(GoldenFile, ThatIsOffByMoreThanItsToleranceIsFoundOutByQuantity) {
  for (const auto& [pointer, quantity] :
       {std::pair{"/sequences/1/mean_nll", "mean NLL"},
        {"/sequences/0/last_logits/3", "logits"},
        {"/sequences/2/sample_logits/7/15", "logits"},
        {"/sequences/2/last_logits_float32/7", "logits in float32"},
        {"/sequences/1/mean_nll_float32", "mean NLL in float32"},
        {"/head_gates/points/1/diagonal_path/J_at_0", "J, ends of the path"},
        {"/head_gates/points/0/diagonal_path/J_at_1", "J, ends of the path"},
        {"/head_gates/points/0/half/J", "J, gates half"},
        {"/head_gates/points/1/nonuniform/grad/2/3", "gate gradients, gates nonuniform"},
        {"/head_gates/points/0/diagonal_path/gauss_legendre_64/0/0", "path integral, 64 points"},
        {"/head_gates/points/1/diagonal_path/composite_64x8/1/1",
         "path integral, 64 x 8 points"}}) {
    json changed = value_;
    json& number = changed[json::json_pointer(pointer)];
    number = number.get<double>() + 3e-4;
    for (const Difference& d : differences(changed))
      EXPECT_EQ(d.holds(), d.quantity != quantity) << pointer << " " << d.quantity;
  }
  json changed = value_;
  changed["sequences"][2]["argmax"][39] = 5;
  for (const Difference& d : differences(changed))
    EXPECT_EQ(d.holds(), d.quantity != "shortfall of the golden argmax") << d.quantity;
}

TEST_F(GoldenFile, OfACausalModelHoldsRowsPaddedOnTheLeft) {
  directory_ = data("goldens/llama");
  std::ifstream file(directory_ + "/golden.json");
  value_ = json::parse(file);
  json& number = value_["left_padded_batch"]["last_logits_float32"][1][9];
  number = number.get<double>() + 3e-4;
  for (const Difference& d : differences(value_))
    EXPECT_EQ(d.holds(), d.quantity != "logits in float32") << d.quantity;
  expect_refused("/left_padded_batch/attention_mask/0/39", 0, "attention_mask[0]");
  json empty = value_;
  empty["left_padded_batch"]["input_ids"][0] = json::array();
  empty["left_padded_batch"]["attention_mask"][0] = json::array();
  expect_refused(empty.dump(), "attention_mask[0]");
}

TEST_F(GoldenFile, SaysWhatItLacks) {
  EXPECT_TRUE(read_golden(write(value_.dump())).lacks().empty());
  value_.erase("head_gates");
  EXPECT_EQ(read_golden(write(value_.dump())).lacks(),
            (std::vector<std::string>{"gate gradients", "path integrals"}));
}

TEST_F(GoldenFile, ThatIsNoGoldenIsRefusedInOneSentence) {
  const std::string text = value_.dump();
  expect_refused(text.substr(0, text.size() / 2), "truncated");
  expect_refused("", "truncated");
  expect_refused("[]", "logit_width");
  expect_refused("{}", "logit_width");
  expect_refused(std::string(100000, '['), "nested");
  expect_refused(R"({"rows": [], "offset": 3})", "lm_text/tinyshakespeare.txt");
  expect_refused("/sequences", json::array(), "sequences");
  expect_refused("/sequences/0/input_ids", json::array(), "sequences[0].input_ids");
  expect_refused("/sequences/0/input_ids/2", -1, "sequences[0].input_ids[2]");
  expect_refused("/sequences/0/input_ids/2", "7", "sequences[0].input_ids[2]");
  expect_refused("/sequences/0/supervised_row_token/1", json::array({4}), "pair");
  expect_refused("/sequences/0/supervised_row_token/1/0", 5, "supervised_row_token[1]");
  expect_refused("/sequences/0/sample_positions/0", 5, "sample_positions[0]");
  expect_refused("/sequences/0/last_logits", json::array({1.0}), "last_logits");
  expect_refused("/sequences/0/argmax", json::array({1}), "argmax");
  expect_refused("/sequences/0/mean_nll", nullptr, "mean_nll");
  expect_refused("/head_gates/shape", json::array({3, 4, 1}), "head_gates.shape");
  expect_refused("/head_gates/shape/0", int64_t{1} << 60, "head_gates.shape");
  expect_refused("/head_gates/points/0/sequence", "len18", "head_gates.points[0].sequence");
  expect_refused("/head_gates/points/0/half/grad/1", json::array({1}), "half.grad[1]");
}

TEST_F(GoldenFile, OfAnotherModelIsRefusedInOneSentence) {
  expect_refused("/sequences/0/input_ids/2", 128, "vocabulary of 128");
  json longer = value_;
  for (int i = 0; i < 200; ++i) {
    longer["sequences"][0]["input_ids"].push_back(1);
    longer["sequences"][0]["argmax"].push_back(1);
  }
  expect_refused(longer.dump(), "128 positions");
  json wider = value_;
  wider["logit_width"] = 129;
  for (json& s : wider["sequences"]) {
    s["last_logits"].push_back(0.5);
    s["last_logits_float32"].push_back(0.5);
  }
  expect_refused(wider.dump(), "129 logits a row");
  json deeper = value_;
  deeper["head_gates"] = {{"shape", {1, 1}},
                          {"points",
                           {{{"sequence", "len17"},
                             {"ones", {{"J", 0}, {"grad", {{0}}}}},
                             {"half", {{"J", 0}, {"grad", {{0}}}}},
                             {"nonuniform", {{"J", 0}, {"grad", {{0}}}, {"gates", {{0}}}}}}}}};
  expect_refused(deeper.dump(), "1 layers of 1 heads");
}

}  // namespace
}  // namespace headcount::models
