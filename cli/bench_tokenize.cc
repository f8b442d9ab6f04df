// Part of cli/bench.h.
// headcount bench tokenize: how fast a tokenizer encodes and decodes a text, on one core.
#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/bench.h"
#include "cli/command.h"
#include "models/tokenizers/tokenizer.h"

namespace headcount::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

/// Seconds of each of `n` calls, in order of size.
template <class Work>
std::vector<double> timed(int64_t n, Work work) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < n; ++i) {
    const auto start = Clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

double median(const std::vector<double>& sorted) {
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

}  // namespace

int bench_tokenize(const Session& session, const TokenizeBench& options) {
  const std::string text = read_file(options.file);
  if (text.empty()) throw BadInput(options.file + " is empty");
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  Json rows = Json::array();
  for (const std::string& path : options.tokenizers) {
    std::unique_ptr<models::Tokenizer> tokenizer;
    const auto load = timed(1, [&] {
      tokenizer = read_input(
          [&] { return std::make_unique<models::Tokenizer>(models::Tokenizer::open(path)); });
    });
    std::vector<int32_t> ids;
    std::string back;
    const auto first = timed(1, [&] { ids = tokenizer->encode(text); });
    const auto encode = timed(options.runs, [&] { ids = tokenizer->encode(text); });
    const auto decode = timed(options.runs, [&] { back = tokenizer->decode(ids); });
    rows.push_back({{"tokenizer", path},
                    {"description", tokenizer->description()},
                    {"load_s", load.front()},
                    {"tokens", ids.size()},
                    {"encode_first_mb_per_s", megabytes / first.front()},
                    {"encode_mb_per_s", megabytes / median(encode)},
                    {"encode_slowest_mb_per_s", megabytes / encode.back()},
                    {"decode_mb_per_s", megabytes / median(decode)},
                    {"decodes_to_the_text", back == text}});
  }
  emit(session.common,
       Json{{"file", options.file}, {"bytes", text.size()}, {"runs", options.runs}, {"rows", rows}}
           .dump());
  return kOk;
}

}  // namespace headcount::cli
