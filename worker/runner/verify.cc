// Part of worker/runner/commands.h.
// `verify`: is a model directory sound, and does this program compute what the model's own code
// does.
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "experiments/run/quadrature.h"
#include "models/golden.h"
#include "schemas/fields.h"
#include "worker/runner/commands.h"
#include "worker/runner/inputs.h"

namespace headcount::runner {
namespace {

using nlohmann::ordered_json;

/// The golden to compare with; empty where there is none.
std::string golden_of(const VerifyOptions& options, const std::string& directory) {
  if (!options.golden.empty()) return options.golden;
  for (const char* name : {"golden.json", "golden_masked_ce.json"}) {
    const std::filesystem::path path = std::filesystem::path(directory) / name;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path.string();
  }
  return {};
}

models::PathRule rule(int64_t n) {
  const experiments::GaussLegendre found = experiments::gauss_legendre(n);
  return {found.x, found.weight};
}

struct Checked {
  const char* path;
  models::Difference difference;
};

std::vector<Checked> compare(const VerifyOptions& options, const models::Model& model,
                             const models::Golden& golden) {
  std::vector<Checked> all;
  const auto add = [&](const char* name, models::Path path) {
    for (const models::Difference& d :
         read_input([&] { return models::compare(model, golden, rule(64), rule(8), path); }))
      all.push_back({name, d});
  };
  add("fast", models::Path::kFast);
  if (options.witness) add("plain", models::Path::kPlain);
  return all;
}

void print_json(const VerifyOptions& options, const models::ModelFiles& files,
                const std::optional<models::Golden>& golden, const std::vector<Checked>& checked,
                bool agrees) {
  const models::Config& config = files.config;
  ordered_json out{{"model", options.model},         {"fingerprint", models::fingerprint(files)},
                   {"family", config.family},        {"n_layers", config.n_layers},
                   {"n_heads", config.n_heads},      {"n_kv_heads", config.n_kv_heads},
                   {"d_model", config.d_model},      {"vocab_size", config.vocab_size},
                   {"tensors", files.tensors.size()}};
  if (golden) {
    ordered_json rows = ordered_json::array();
    for (const Checked& c : checked)
      rows.push_back({{"path", c.path},
                      {"quantity", c.difference.quantity},
                      {"largest", c.difference.largest},
                      {"tolerance", c.difference.tolerance},
                      {"sequence", c.difference.where},
                      {"holds", c.difference.holds()}});
    out["golden"] = golden->file;
    out["dtype"] = options.dtype;
    out["agrees"] = agrees;
    out["differences"] = std::move(rows);
    out["not_compared"] = golden->lacks();
  }
  std::printf("%s\n", out.dump().c_str());
}

void print_text(const VerifyOptions& options, const models::ModelFiles& files,
                const std::optional<models::Golden>& golden, const std::vector<Checked>& checked,
                bool agrees) {
  std::printf(
      "%s is sound: %s, %lld layers of %lld heads, width %lld, %zu tensors, all finite\n%s\n",
      options.model.c_str(), files.config.family.c_str(),
      static_cast<long long>(files.config.n_layers), static_cast<long long>(files.config.n_heads),
      static_cast<long long>(files.config.d_model), files.tensors.size(),
      models::fingerprint(files).c_str());
  if (!golden) return;
  std::printf("\nagainst %s in %s\n%-36s %-5s  %10s  %10s  at\n", golden->file.c_str(),
              options.dtype.c_str(), "largest difference of", "path", "found", "tolerance");
  for (const Checked& c : checked) {
    const models::Difference& d = c.difference;
    std::printf("%-36s %-5s  %10.3g  %10.3g  %s%s\n", d.quantity.c_str(), c.path, d.largest,
                d.tolerance, d.where.c_str(), d.holds() ? "" : "  EXCEEDS");
  }
  for (const std::string& what : golden->lacks())
    std::printf("not compared: %s, which the golden does not have\n", what.c_str());
  std::printf("%s\n", agrees ? "all within tolerance" : "NOT within tolerance");
}

}  // namespace

int verify(const VerifyOptions& options) {
  const Opened opened = open(options.model, options.dtype, options.compute);
  const std::string file = golden_of(options, opened.files.directory);
  std::optional<models::Golden> golden;
  if (!file.empty()) golden = read_input([&] { return models::read_golden(file, options.text); });
  std::vector<Checked> checked;
  if (golden) checked = compare(options, opened.model, *golden);
  bool agrees = true;
  for (const Checked& c : checked) agrees = agrees && c.difference.holds();
  (options.format == "json" ? print_json : print_text)(options, opened.files, golden, checked,
                                                       agrees);
  return agrees ? 0 : 1;
}

}  // namespace headcount::runner
