// Reading goldens: every value is checked against the others' sizes before it is used.
#include "models/golden.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr uint64_t kMaxBytes = 256u << 20;
constexpr int kMaxDepth = 16;

/// A value of the file and the way to it, for messages.
class Node {
 public:
  Node(const std::string& file, const json& value, std::string path = {})
      : file_(file), value_(value), path_(std::move(path)) {}

  [[noreturn]] void wrong(const std::string& what) const {
    throw Error(file_ + ": " + (path_.empty() ? "it" : path_) + " " + what +
                "; is this a golden.json as shared/data/README.md describes it?");
  }
  bool has(const char* key) const {
    return value_.is_object() && value_.contains(key) && !value_[key].is_null();
  }
  Node operator[](const char* key) const {
    if (!has(key)) wrong("has no \"" + std::string(key) + "\"");
    return {file_, value_[key], path_.empty() ? key : path_ + "." + key};
  }
  std::vector<Node> items() const {
    if (!value_.is_array()) wrong("is not a list");
    std::vector<Node> all;
    for (size_t i = 0; i < value_.size(); ++i)
      all.emplace_back(file_, value_[i], path_ + "[" + std::to_string(i) + "]");
    return all;
  }
  std::string text() const {
    if (!value_.is_string()) wrong("is not a string");
    return value_.get<std::string>();
  }
  double number() const {
    if (!value_.is_number()) wrong("is not a number");
    return value_.get<double>();
  }
  int64_t whole() const {
    if (!value_.is_number_integer() || value_.get<int64_t>() < 0) wrong("is not a whole number");
    return value_.get<int64_t>();
  }
  /// A whole number below `end`.
  int64_t index(int64_t end) const {
    const int64_t value = whole();
    if (value >= end)
      wrong("is " + std::to_string(value) + " where " + std::to_string(end) + " is too many");
    return value;
  }
  std::vector<int64_t> indices(int64_t end) const {
    std::vector<int64_t> all;
    for (const Node& item : items()) all.push_back(item.index(end));
    return all;
  }
  std::vector<double> numbers(size_t n) const {
    std::vector<double> all;
    for (const Node& item : items()) all.push_back(item.number());
    if (all.size() != n)
      wrong("has " + std::to_string(all.size()) + " values, not " + std::to_string(n));
    return all;
  }
  /// [rows][columns], row-major.
  std::vector<double> matrix(size_t rows, size_t columns) const {
    std::vector<double> all;
    const std::vector<Node> lines = items();
    if (lines.size() != rows)
      wrong("has " + std::to_string(lines.size()) + " rows, not " + std::to_string(rows));
    for (const Node& line : lines) {
      const std::vector<double> row = line.numbers(columns);
      all.insert(all.end(), row.begin(), row.end());
    }
    return all;
  }

 private:
  const std::string& file_;
  const json& value_;
  std::string path_;
};

json parse(const std::string& file) {
  const uint64_t size = file_size(file);
  if (size > kMaxBytes) throw Error(file + " is larger than any golden (256 MiB)");
  const auto shallow = [&](int depth, json::parse_event_t, const json&) {
    if (depth > kMaxDepth) throw Error(file + " is nested too deeply for a golden");
    return true;
  };
  try {
    return json::parse(read_range(file, 0, size), shallow);
  } catch (const json::exception&) {
    throw Error(file + " is not valid JSON; it may be truncated");
  }
}

constexpr int64_t kAnyToken = int64_t{1} << 31;

std::vector<std::pair<int64_t, int64_t>> read_supervised(const Node& node, int64_t n_rows,
                                                         int64_t width) {
  std::vector<std::pair<int64_t, int64_t>> all;
  for (const Node& pair : node.items()) {
    const std::vector<Node> both = pair.items();
    if (both.size() != 2) pair.wrong("is not a pair of row and token");
    all.emplace_back(both[0].index(n_rows), both[1].index(width));
  }
  if (all.empty()) node.wrong("is empty");
  return all;
}

GoldenSequence read_sequence(const Node& node, int64_t width) {
  GoldenSequence s;
  s.name = node["name"].text();
  s.ids = node["input_ids"].indices(kAnyToken);
  if (s.ids.empty()) node["input_ids"].wrong("is empty");
  const auto n = static_cast<int64_t>(s.ids.size());
  s.supervised = read_supervised(node["supervised_row_token"], n, width);
  s.mean_nll = node["mean_nll"].number();
  GoldenLogits sample{node["sample_positions"].indices(n), node["sample_vocab"].indices(width), {}};
  sample.values = node["sample_logits"].matrix(sample.rows.size(), sample.columns.size());
  s.logits.push_back(std::move(sample));
  s.logits.push_back({{n - 1}, {}, node["last_logits"].numbers(static_cast<size_t>(width))});
  s.argmax = node["argmax"].indices(width);
  if (s.argmax.size() != s.ids.size()) node["argmax"].wrong("does not name one token a row");
  const auto n_logits = static_cast<double>(n * width);
  s.mean = node["sum_logits"].number() / n_logits;
  s.mean_square = node["sum_sq_logits"].number() / n_logits;
  return s;
}

/// What the published code gave in float32 of the same sequence, or nothing.
void read_float32(const Node& node, const GoldenSequence& exact, Golden& golden) {
  if (!node.has("last_logits_float32") || !node.has("mean_nll_float32")) return;
  GoldenSequence s;
  s.name = exact.name + " (float32)";
  s.is_float32 = true;
  s.ids = exact.ids;
  s.supervised = exact.supervised;
  s.mean_nll = node["mean_nll_float32"].number();
  const size_t width = exact.logits.back().values.size();
  s.logits.push_back({exact.logits.back().rows, {}, node["last_logits_float32"].numbers(width)});
  golden.sequences.push_back(std::move(s));
}

/// The last logits of sequences that were run side by side, padded on the left: those of each
/// alone.
void read_padded(const Node& node, int64_t width, Golden& golden) {
  const std::vector<Node> ids = node["input_ids"].items(), masks = node["attention_mask"].items(),
                          logits = node["last_logits_float32"].items();
  if (masks.size() != ids.size() || logits.size() != ids.size())
    node.wrong("has lists of different lengths");
  for (size_t row = 0; row < ids.size(); ++row) {
    GoldenSequence s;
    s.name = "padded row " + std::to_string(row);
    s.is_float32 = true;
    const std::vector<int64_t> padded = ids[row].indices(kAnyToken), mask = masks[row].indices(2);
    if (mask.empty() || mask.size() != padded.size() || !std::is_sorted(mask.begin(), mask.end()) ||
        mask.back() == 0)
      masks[row].wrong("does not say where its row begins");
    const auto n_padding = std::count(mask.begin(), mask.end(), 0);
    s.ids.assign(padded.begin() + n_padding, padded.end());
    s.logits.push_back({{static_cast<int64_t>(s.ids.size()) - 1},
                        {},
                        logits[row].numbers(static_cast<size_t>(width))});
    golden.sequences.push_back(std::move(s));
  }
}

void read_gates(const Node& node, Golden& golden) {
  const std::vector<Node> shape = node["shape"].items();
  if (shape.size() != 2) node["shape"].wrong("is not [layers, heads]");
  golden.n_layers = shape[0].index(kAnyToken);
  golden.n_heads = shape[1].index(kAnyToken);
  const auto layers = static_cast<size_t>(golden.n_layers),
             heads = static_cast<size_t>(golden.n_heads);
  for (const Node& point : node["points"].items()) {
    const std::string name = point["sequence"].text();
    const auto found = std::find_if(golden.sequences.begin(), golden.sequences.end(),
                                    [&](const GoldenSequence& s) { return s.name == name; });
    if (found == golden.sequences.end()) point["sequence"].wrong("names none of the sequences");
    const auto sequence = static_cast<size_t>(found - golden.sequences.begin());
    for (const auto& [setting, value] :
         {std::pair{"ones", 1.0}, {"half", 0.5}, {"nonuniform", 0.0}}) {
      const Node at = point[setting];
      GoldenGates gates;
      gates.name = setting;
      gates.sequence = sequence;
      gates.gradient = at["grad"].matrix(layers, heads);
      gates.gates = value > 0 ? std::vector<double>(gates.gradient.size(), value)
                              : at["gates"].matrix(layers, heads);
      gates.score = at["J"].number();
      golden.gates.push_back(std::move(gates));
    }
    if (!point.has("diagonal_path")) continue;
    const Node path = point["diagonal_path"];
    golden.paths.push_back({.sequence = sequence,
                            .gauss_legendre = path["gauss_legendre_64"].matrix(layers, heads),
                            .composite = path["composite_64x8"].matrix(layers, heads),
                            .score_zero = path["J_at_0"].number(),
                            .score_one = path["J_at_1"].number(),
                            .sum = path["sum"].number()});
  }
}

/// The nearest lm_text/tinyshakespeare.txt above the golden.
std::string text_near(const std::string& file) {
  const fs::path relative = "lm_text/tinyshakespeare.txt";
  std::error_code ignored;
  fs::path folder = fs::absolute(file, ignored).parent_path();
  for (; folder != folder.root_path(); folder = folder.parent_path()) {
    if (fs::exists(folder / relative, ignored)) return (folder / relative).string();
  }
  throw Error(file + " needs the text its ids are cut from, " + relative.string() +
              ", which no folder above it has: name it with --text");
}

constexpr int64_t kCharacters = 128;  // of tinydiff; 0 is the mask
constexpr int64_t kNeverMasked = 16;

/// One row of tinydiff's file. Position i is masked when its 32-bit hash is below the share p.
GoldenSequence read_masked(const Node& node, const std::string& text) {
  GoldenSequence s;
  const double share = node["p"].number();
  s.name = "p = " + std::to_string(share).substr(0, 4);
  s.time = node["t"].whole();
  for (size_t i = 0; i < text.size(); ++i) {
    const int64_t id = std::min<int64_t>(static_cast<unsigned char>(text[i]), kCharacters - 1);
    const double hash = static_cast<uint32_t>(i * 2654435761u) / 4294967296.0;
    const bool masked = static_cast<int64_t>(i) >= kNeverMasked && hash < share;
    s.ids.push_back(masked ? 0 : id);
    if (masked) s.supervised.emplace_back(i, id);
  }
  if (static_cast<int64_t>(s.supervised.size()) != node["n_masked"].whole())
    node["n_masked"].wrong("is not what p gives");
  if (s.supervised.empty()) node["p"].wrong("masks nothing");
  s.mean_nll = node["mean_ce"].number();
  s.logits.push_back({{node["first_masked"].index(static_cast<int64_t>(text.size()))},
                      {},
                      node["logits_first_masked"].numbers(kCharacters)});
  return s;
}

Golden read_masked_ce(const Node& root, const std::string& file, const std::string& given) {
  const std::string text_file = given.empty() ? text_near(file) : given;
  const uint64_t size = file_size(text_file);
  const auto offset = static_cast<uint64_t>(root["offset"].index(kAnyToken)),
             length = static_cast<uint64_t>(root["T"].index(1 << 20));
  if (length == 0 || offset + length > size)
    root["offset"].wrong("and \"T\" lie outside " + text_file);
  const std::string text = read_range(text_file, offset, length);
  Golden golden;
  golden.file = file;
  golden.coarsest = 1e-4;
  for (const Node& row : root["rows"].items()) golden.sequences.push_back(read_masked(row, text));
  return golden;
}

}  // namespace

Golden read_golden(const std::string& file, const std::string& text) {
  const json value = parse(file);
  const Node root(file, value);
  if (root.has("rows") && root.has("offset")) return read_masked_ce(root, file, text);
  Golden golden;
  golden.file = file;
  const int64_t width = root["logit_width"].index(kAnyToken);
  for (const Node& s : root["sequences"].items())
    golden.sequences.push_back(read_sequence(s, width));
  if (golden.sequences.empty()) root["sequences"].wrong("is empty");
  if (root.has("head_gates")) read_gates(root["head_gates"], golden);
  const std::vector<Node> sequences = root["sequences"].items();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const GoldenSequence exact = golden.sequences[i];
    read_float32(sequences[i], exact, golden);
  }
  if (root.has("left_padded_batch")) read_padded(root["left_padded_batch"], width, golden);
  return golden;
}

std::vector<std::string> Golden::lacks() const {
  std::vector<std::string> what;
  if (gates.empty()) what.push_back("gate gradients");
  if (paths.empty()) what.push_back("path integrals");
  return what;
}

}  // namespace headcount::models
