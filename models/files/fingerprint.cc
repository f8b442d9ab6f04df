// The fingerprint of a model: SHA-256 over its shape and every weight's numbers. Reading 16 GB
// takes ten seconds, so it is kept, in memory and in one small file per model, under what tells one
// state of the files from another without reading them: path, size, inode and times of change, of
// which the inode's own cannot be set back.
#include "models/files/fingerprint.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>

#include "models/files/formats.h"
#include "schemas/error.h"
#include "schemas/new_file.h"
#include "schemas/sha256.h"

namespace headcount::models {
namespace {

namespace fs = std::filesystem;

std::string exactly(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%a", value);
  return text;
}

/// Everything of the config that changes what the model computes.
std::string canonical(const Config& c) {
  std::string text = "headcount model 3\n" + c.family;
  const auto add = [&](int64_t value) { text += " " + std::to_string(value); };
  for (const int64_t value :
       {c.n_layers, c.n_heads, c.n_kv_heads, c.d_model, c.d_head, c.d_mlp, c.vocab_size,
        c.max_positions, c.n_learned_positions, c.position_offset, c.n_time_steps, c.n_turning(),
        c.window, c.first_window_layer, c.rope_scaling.original_positions, c.mask_id, c.bos_id,
        c.eos_id, c.pad_id})
    add(value);
  for (const double value : {c.norm_eps, c.rope_theta, c.rope_scaling.factor,
                             c.rope_scaling.low_freq_factor, c.rope_scaling.high_freq_factor})
    text += " " + exactly(value);
  for (const bool value : {c.norm_weight, c.norm_bias, c.embedding_norm, c.rotary_backwards,
                           c.qkv_bias, c.o_bias, c.qk_norm, c.qk_norm_weight, c.gated_mlp,
                           c.mlp_bias, c.causal, c.shifted, c.tied_head, c.head_bias})
    add(value ? 1 : 0);
  for (const int value : {static_cast<int>(c.norm), static_cast<int>(c.rotary),
                          static_cast<int>(c.residual), static_cast<int>(c.activation)})
    add(value);
  for (const int64_t value : c.stop_ids) add(value);
  return text + "\n";
}

/// The weights' files, each once, in the order of the weights.
std::vector<std::string> files_of(const ModelFiles& files) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const TensorPlace& place : files.tensors)
    if (seen.insert(place.file).second) names.push_back(place.file);
  return names;
}

/// What tells one state of the weights' files from another.
std::string stamp(const ModelFiles& files) {
  std::string text = canonical(files.config);
  for (const std::string& file : files_of(files)) {
    struct stat info {};
    if (::stat(file.c_str(), &info) != 0) throw Error("cannot read " + file);
    std::error_code error;
    const fs::path whole = fs::weakly_canonical(file, error);
    text += (error ? file : whole.string()) + "|" + std::to_string(info.st_size) + "|" +
            std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec) + "|" +
            std::to_string(info.st_ctim.tv_sec) + "." + std::to_string(info.st_ctim.tv_nsec) + "|" +
            std::to_string(info.st_ino) + "\n";
  }
  return text;
}

/// A stored tensor's bytes that are weights: those of all its parts where several are fused in it.
using Span = std::pair<uint64_t, uint64_t>;  // offset, end

std::map<std::pair<std::string, std::string>, Span> spans_of(const ModelFiles& files) {
  std::map<std::pair<std::string, std::string>, Span> spans;
  for (const TensorPlace& place : files.tensors) {
    const uint64_t end = place.offset + place.size_bytes;
    Span& span = spans.try_emplace({place.file, place.stored}, place.offset, end).first->second;
    span = {std::min(span.first, place.offset), std::max(span.second, end)};
  }
  return spans;
}

/// Every weight's description, and every stored tensor's bytes where its first weight stands.
/// Read, not mapped: a file that becomes shorter meanwhile is an error, not a signal.
std::string hash(const ModelFiles& files, const HashProgress& progress) {
  Sha256 sha;
  sha.update(canonical(files.config));
  auto spans = spans_of(files);
  uint64_t n_done = 0, n_bytes = 0;
  for (const auto& [place, span] : spans) n_bytes += span.second - span.first;
  for (const TensorPlace& place : files.tensors) {
    std::string line = place.name + " " + place.dtype;
    for (const int64_t extent : place.shape) line += " " + std::to_string(extent);
    for (const int64_t stride : place.strides) line += " s" + std::to_string(stride);
    sha.update(line + "\n");
    const auto span = spans.extract({place.file, place.stored});
    if (span.empty()) continue;
    const auto [offset, end] = span.mapped();
    constexpr uint64_t kAtOnce = 4 << 20;
    for (uint64_t at = offset; at < end; at += kAtOnce) {
      const uint64_t n = std::min(kAtOnce, end - at);
      if (progress) progress(n_done, n_bytes);
      sha.update(read_range(place.file, at, n));
      n_done += n;
    }
  }
  return to_hex(sha.finish());
}

/// Where fingerprints are kept between processes; empty: nowhere.
fs::path cache_directory() {
  const auto set = [](const char* name) -> std::string {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const std::string own = set("HEADCOUNT_CACHE"); !own.empty()) return own;
  if (const std::string xdg = set("XDG_CACHE_HOME"); !xdg.empty())
    return fs::path(xdg) / "headcount";
  if (const std::string home = set("HOME"); !home.empty())
    return fs::path(home) / ".cache" / "headcount";
  return {};
}

bool is_hash(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// The kept fingerprint; empty where there is none, or none that can be trusted.
std::string kept(const fs::path& file) {
  std::ifstream in(file);
  std::string text;
  std::getline(in, text);
  return is_hash(text) ? text : "";
}

/// Best effort: a cache that cannot be written costs time, nothing else.
void keep(const fs::path& file, const std::string& print) {
  std::error_code said_below;
  fs::create_directories(file.parent_path(), said_below);
  try {
    write_file(file, print + "\n");
  } catch (const Error&) {
  }
}

}  // namespace

std::string fingerprint(const ModelFiles& files, const HashProgress& progress) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;
  const std::string id = stamp(files);
  {
    const std::lock_guard lock(mutex);
    if (const auto it = known.find(id); it != known.end()) return it->second;
  }
  const fs::path directory = cache_directory();
  const fs::path file =
      directory.empty() ? fs::path() : directory / "fingerprints" / to_hex(sha256(id));
  std::string print = file.empty() ? "" : kept(file);
  if (print.empty()) {
    print = hash(files, progress);
    if (stamp(files) != id)
      throw Error("the weights of " + files.directory + " were changed while they were read");
    if (!file.empty()) keep(file, print);
  }
  const std::lock_guard lock(mutex);
  known[id] = print;
  return print;
}

std::string fingerprint(const ModelFiles& files) { return fingerprint(files, {}); }

}  // namespace headcount::models
