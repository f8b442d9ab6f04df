// Exports against outside witnesses: known CRCs and headers, and Python reading the files (zipfile
// and pickle always, torch and numpy where they are installed).
#include "cli/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/export_formats.h"
#include "schemas/error.h"
#include "schemas/new_file.h"

namespace headcount::cli {
namespace {

using testing::HasSubstr;

/// Two layers (1 and 2) of three heads at two points; value = 10 layer + head + 0.5, plus 100 at
/// ig_steps = 16.
Table table_of_scores() {
  Table table;
  table.stage = "importance";
  table.kind = "head_importance";
  table.columns = {"layer", "head", "mask_prob", "value", "se", "n", "model", "ig_steps"};
  table.diagnostic_columns = {"model",           "ig_steps",    "residual_mean", "residual_p95",
                              "step_difference", "unconverged", "n_missing"};
  for (const int64_t steps : {8, 16}) {
    for (const Cell& prob : {Cell(), Cell(0.3)}) {
      for (int64_t layer = 1; layer <= 2; ++layer) {
        for (int64_t head = 0; head < 3; ++head) {
          const double value =
              static_cast<double>(10 * layer + head) + 0.5 + (steps == 16 ? 100 : 0);
          table.rows.push_back(
              {layer, head, prob, value, 0.25, int64_t{64}, std::string("mha"), steps});
        }
      }
    }
    table.diagnostics.push_back(
        {std::string("mha"), steps, 0.01, 0.02, 0.03, int64_t{0}, int64_t{0}});
  }
  return table;
}

const Fields kProvenance = {{"spec_digest", std::string("abc")},
                            {"sweep", std::string("demo \"heads\"")}};

std::string exported(ExportFormat format) {
  return export_table(table_of_scores(), {{"ig_steps", "16"}}, kProvenance, format);
}

class ExportFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("headcount_export_" +
               std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// Runs the script with the file's path as its argument: true where it exits 0 with no assertion
  /// broken.
  bool python(const std::string& script, const std::string& file) const {
    std::ofstream(path("script.py")) << script;
    return std::system((interpreter() + " " + path("script.py") + " " + file).c_str()) == 0;
  }
  /// The system's Python, which has the system's packages, before another first on the path.
  static std::string interpreter() {
    return std::filesystem::exists("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
  }
  static bool python_has(const std::string& module) {
    const std::string script =
        "import importlib.util as u, sys; sys.exit(u.find_spec(\\\"" + module + "\\\") is None)";
    return std::system((interpreter() + " -c \"" + script + "\"").c_str()) == 0;
  }

  std::filesystem::path folder_;
};

TEST(Export, CrcIsThePublishedOne) {
  EXPECT_EQ(crc32("123456789"), 0xCBF43926u);
  EXPECT_EQ(crc32(""), 0u);
}

TEST_F(ExportFile, PythonWithoutTorchReadsTheTorchFile) {
  if (!python_has("pickle")) GTEST_SKIP() << "python3 is not installed";
  write_file(path("head_importance.pt"), exported(ExportFormat::kPt));
  EXPECT_TRUE(python(R"(
import collections, pickle, struct, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
assert all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
assert archive.read('archive/version') == b'3\n'

class Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ('torch', 'FloatStorage'): return 'FloatStorage'
        if (module, name) == ('collections', 'OrderedDict'): return collections.OrderedDict
        assert (module, name) == ('torch._utils', '_rebuild_tensor_v2'), (module, name)
        def rebuild(values, offset, shape, stride, requires_grad, hooks):
            assert (offset, shape, stride, requires_grad, len(hooks)) == (0, (len(values),), (1,), False, 0)
            return values
        return rebuild
    def persistent_load(self, key):
        kind, storage, name, where, size = key
        assert (kind, storage, where) == ('storage', 'FloatStorage', 'cpu')
        return struct.unpack('<%df' % size, archive.read('archive/data/' + name))

loaded = Reader(archive.open('archive/data.pkl')).load()
assert list(loaded) == ['importance_scores', 'metadata']
assert loaded['importance_scores'] == {1: (110.5, 111.5, 112.5), 2: (120.5, 121.5, 122.5)}
metadata = loaded['metadata']
assert metadata['objective_sign'] == 1 and metadata['ig_steps'] == 16 and metadata['model'] == 'mha'
assert metadata['residual_mean'] == 0.01 and metadata['sweep'] == 'demo "heads"' and metadata['spec_digest'] == 'abc'
)",
                     path("head_importance.pt")));
}

TEST_F(ExportFile, TorchLoadsTheTorchFile) {
  if (!python_has("torch")) GTEST_SKIP() << "python3-torch is not installed";
  write_file(path("head_importance.pt"), exported(ExportFormat::kPt));
  EXPECT_TRUE(python(R"(
import sys, torch
loaded = torch.load(sys.argv[1])
scores = loaded['importance_scores']
assert sorted(scores) == [1, 2] and all(type(layer) is int for layer in scores)
assert all(t.dtype == torch.float32 and t.shape == (3,) for t in scores.values())
assert torch.equal(scores[2], torch.tensor([120.5, 121.5, 122.5]))
scores[2] += 1
if int(torch.__version__.split('.')[0]) >= 2:  # 1.13 reads no float of a pickle with weights_only
    assert torch.load(sys.argv[1], weights_only=True)['metadata'] == loaded['metadata']
assert loaded['metadata']['score_semantics'].startswith('integrated gradients of J = -loss')
)",
                     path("head_importance.pt")));
}

TEST_F(ExportFile, NumpyLoadsTheArray) {
  if (!python_has("numpy")) GTEST_SKIP() << "python3-numpy is not installed";
  write_file(path("scores.npy"), exported(ExportFormat::kNpy));
  EXPECT_TRUE(python(R"(
import sys, numpy
scores = numpy.load(sys.argv[1])
assert scores.dtype == numpy.float64 and scores.flags['C_CONTIGUOUS']
assert scores.tolist() == [[110.5, 111.5, 112.5], [120.5, 121.5, 122.5]]
)",
                     path("scores.npy")));
}

TEST_F(ExportFile, SafetensorsHoldValuesErrorsAndProbabilities) {
  if (!python_has("json")) GTEST_SKIP() << "python3 is not installed";
  write_file(path("scores.safetensors"), exported(ExportFormat::kSafetensors));
  EXPECT_TRUE(python(R"(
import json, struct, sys
data = open(sys.argv[1], 'rb').read()
size, = struct.unpack('<Q', data[:8])
assert size % 8 == 0
header = json.loads(data[8:8 + size])
metadata = header.pop('__metadata__')
assert all(type(text) is str for text in metadata.values()) and metadata['objective_sign'] == '1'
assert sorted(header) == ['layers', 'se', 'se.mask_prob.0.3', 'value', 'value.mask_prob.0.3']
def read(name, form):
    begin, end = header[name]['data_offsets']
    return struct.unpack('<%d%s' % ((end - begin) // 8, form), data[8 + size:][begin:end])
assert header['value'] == {'dtype': 'F64', 'shape': [2, 3], 'data_offsets': header['value']['data_offsets']}
assert read('value', 'd') == (110.5, 111.5, 112.5, 120.5, 121.5, 122.5)
assert read('se', 'd') == (0.25,) * 6 and read('layers', 'q') == (1, 2)
assert max(t['data_offsets'][1] for t in header.values()) == len(data) - 8 - size
)",
                     path("scores.safetensors")));
}

TEST(Export, AStageWithSeveralPointsAsksForOne) {
  try {
    export_table(table_of_scores(), {}, {}, ExportFormat::kPt);
    FAIL() << "exported two points as one";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "stage \"importance\" has several points: choose one by ig_steps (8, 16), as in "
                 "--where ig_steps=...");
  }
  EXPECT_THROW(export_table(table_of_scores(), {{"ig_steps", "32"}}, {}, ExportFormat::kPt), Error);
  EXPECT_THROW(export_table(table_of_scores(), {{"layer", "1"}}, {}, ExportFormat::kPt), Error);
  EXPECT_THAT(export_table(table_of_scores(), {}, {}, ExportFormat::kCsv),
              HasSubstr("importance,2,2,,122.5,0.25,64,mha,16\n"));
}

TEST(Export, OnlyHeadScoresBecomeTensors) {
  Table table = table_of_scores();
  table.kind = "evaluate";
  EXPECT_THROW(export_table(table, {{"ig_steps", "8"}}, {}, ExportFormat::kNpy), Error);
}

}  // namespace
}  // namespace headcount::cli
