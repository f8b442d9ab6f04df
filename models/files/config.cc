// Opening a model: which layout a directory holds, what every layout is checked for, and the
// fingerprint.
#include "models/files/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

namespace fs = std::filesystem;

/// An open file descriptor, closed with its scope. Opening does not wait for the other end of a
/// pipe.
class File {
 public:
  explicit File(const std::string& path)
      : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) throw Error("cannot open " + path + ": " + std::strerror(errno));
  }
  ~File() { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  struct stat stat() const {
    struct stat info {};
    if (::fstat(fd_, &info) != 0) throw Error("cannot read " + path_ + ": " + std::strerror(errno));
    if (!S_ISREG(info.st_mode)) throw Error(path_ + " is not a regular file");
    return info;
  }

  void read(uint64_t offset, uint64_t size, char* out) const {
    while (size > 0) {
      const ssize_t n =
          ::pread(fd_, out, std::min<uint64_t>(size, 1u << 30), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw Error("cannot read " + path_ + ": " + std::strerror(errno));
      if (n == 0) throw Error(path_ + " ends too early; it is truncated, fetch it again");
      out += n;
      offset += static_cast<uint64_t>(n);
      size -= static_cast<uint64_t>(n);
    }
  }

 private:
  std::string path_;
  int fd_;
};

/// The built-in models, as a user writes them: "builtin:addition, builtin:addition-gqa".
std::string builtin_names() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(builtin_directory(), ignored)) {
    if (fs::exists(entry.path() / "config.json", ignored))
      names.push_back("builtin:" + entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none in " + builtin_directory() : text;
}

}  // namespace

bool is_there(const std::string& file) {
  std::error_code error;
  return fs::symlink_status(file, error).type() != fs::file_type::not_found;
}

uint64_t file_size(const std::string& file) {
  return static_cast<uint64_t>(File(file).stat().st_size);
}

std::string read_range(const std::string& file, uint64_t offset, uint64_t size) {
  std::string bytes(size, '\0');
  File(file).read(offset, size, bytes.data());
  return bytes;
}

std::vector<WeightShape> weight_shapes(const Config& c) {
  const int64_t d = c.d_model, d_attn = c.n_heads * c.d_head, d_kv = c.n_kv_heads * c.d_head;
  std::vector<WeightShape> all;
  const auto add = [&](bool present, const std::string& name, const std::vector<int64_t>& shape) {
    if (present) all.push_back({name, shape});
  };
  const auto add_norm = [&](const std::string& name) {
    add(c.norm_weight, name, {d});
    add(c.norm_bias, name + "_bias", {d});
  };
  add(true, "embedding", {c.vocab_size, d});
  add(c.n_learned_positions > 0, "positions", {c.n_learned_positions, d});
  add(c.n_time_steps > 0, "times", {c.n_time_steps, d});
  for (int64_t i = 0; i < c.n_layers; ++i) {
    const std::string layer = "layers." + std::to_string(i) + ".";
    add_norm(layer + "attn_norm");
    add(true, layer + "q", {d_attn, d});
    add(true, layer + "k", {d_kv, d});
    add(true, layer + "v", {d_kv, d});
    add(c.qkv_bias, layer + "q_bias", {d_attn});
    add(c.qkv_bias, layer + "k_bias", {d_kv});
    add(c.qkv_bias, layer + "v_bias", {d_kv});
    add(c.qk_norm && c.qk_norm_weight, layer + "q_norm", {c.d_head});
    add(c.qk_norm && c.qk_norm_weight, layer + "k_norm", {c.d_head});
    add(true, layer + "o", {d, d_attn});
    add(c.o_bias, layer + "o_bias", {d});
    if (c.residual != Residual::kParallelOneNorm) add_norm(layer + "mlp_norm");
    add(c.gated_mlp, layer + "gate", {c.d_mlp, d});
    add(true, layer + "up", {c.d_mlp, d});
    add(c.gated_mlp && c.mlp_bias, layer + "gate_bias", {c.d_mlp});
    add(c.mlp_bias, layer + "up_bias", {c.d_mlp});
    add(true, layer + "down", {d, c.d_mlp});
    add(c.mlp_bias, layer + "down_bias", {d});
  }
  add_norm("final_norm");
  add(!c.tied_head, "head", {c.vocab_size, d});
  add(c.head_bias, "head_bias", {c.vocab_size});
  return all;
}

int64_t even_head(const Config& c, const std::string& file) {
  if (c.n_heads < 1) return 1;  // check_shape says what is wrong
  if (c.d_model % c.n_heads != 0) {
    throw Error(file +
                " describes no model this program can run: the width is not a multiple of "
                "the number of heads");
  }
  return c.d_model / c.n_heads;
}

void check_shape(const Config& c, const std::string& file) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) throw Error(file + " describes no model this program can run: " + what);
  };
  const std::pair<const char*, int64_t> sizes[] = {{"the number of layers", c.n_layers},
                                                   {"the number of heads", c.n_heads},
                                                   {"the number of key/value heads", c.n_kv_heads},
                                                   {"the width", c.d_model},
                                                   {"the width of a head", c.d_head},
                                                   {"the MLP width", c.d_mlp},
                                                   {"the vocabulary size", c.vocab_size},
                                                   {"the number of positions", c.max_positions}};
  for (const auto& [what, size] : sizes) {
    require(size >= 1 && size <= 16'777'216, std::string(what) + " is " + std::to_string(size));
  }
  require(c.n_layers <= 4096, "it has more than 4096 layers");
  require(c.n_heads % c.n_kv_heads == 0,
          "the number of heads is not a multiple of the number of key/value heads");
  require(c.n_turning() >= 0 && c.n_turning() <= c.d_head && c.n_turning() % 2 == 0,
          "the rotary width is odd or more than that of a head");
  require(c.norm_eps > 0 && c.norm_eps < 1, "the norm's epsilon is not between 0 and 1");
  require(c.rope_theta > 1 && c.rope_theta < 1e12, "the rotary base is not above 1");
  require(c.mask_id < c.vocab_size, "the mask token is outside the vocabulary");
  require(c.bos_id < c.vocab_size && c.eos_id < c.vocab_size && c.pad_id < c.vocab_size,
          "a special token is outside the vocabulary");
}

std::string builtin_directory() {
  if (const char* given = std::getenv("HEADCOUNT_BUILTIN"); given != nullptr && *given != '\0')
    return given;
  const std::string source = std::string(HEADCOUNT_SOURCE_DIR) + "/models/builtin";
  std::error_code ignored;
  if (fs::is_directory(source, ignored)) return source;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  return (program.parent_path().parent_path() / "share/headcount/builtin").string();
}

ModelFiles open_model(const std::string& path) {
  const std::string prefix = "builtin:";
  const bool builtin = path.rfind(prefix, 0) == 0;
  const std::string name = builtin ? path.substr(prefix.size()) : "";
  if (builtin && (name.empty() || name[0] == '.' || name.find('/') != std::string::npos)) {
    throw Error("\"" + path + "\" names no built-in model; write builtin:NAME");
  }
  const std::string directory = builtin ? builtin_directory() + "/" + name : path;
  std::error_code error;
  if (!fs::is_directory(directory, error)) {
    if (builtin)
      throw Error("there is no built-in model \"" + name + "\"; there are: " + builtin_names());
    throw Error(fs::exists(directory, error)
                    ? directory + " is a file; a model is a directory"
                    : "the model directory " + directory + " does not exist");
  }
  if (is_there((fs::path(directory) / "config.json").string())) return open_huggingface(directory);

  std::vector<std::string> bins, safetensors;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const std::string file = entry.path().filename().string();
    if (entry.path().extension() == ".bin" && file.rfind("tok", 0) != 0)
      bins.push_back(entry.path().string());
    if (entry.path().extension() == ".safetensors") safetensors.push_back(entry.path().string());
  }
  if (error) throw Error("cannot list the model directory " + directory + ": " + error.message());
  if (bins.empty() && safetensors.size() == 1) return open_bare_tinydiff(directory, safetensors[0]);
  if (bins.empty())
    throw Error(directory + " holds no model: neither config.json nor a llama2.c .bin file");
  if (bins.size() > 1)
    throw Error(directory + " holds several .bin files; leave one llama2.c model in it");
  return open_llama2c(directory, bins[0]);
}

}  // namespace headcount::models
