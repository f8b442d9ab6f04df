// Which format a path names, and what all formats share.
#include "models/tokenizers/tokenizer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "models/tokenizers/tokenizer_model.h"
#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormats =
    "tokenizer.json, vocab.json + merges.txt, tokenizer.model, *.tiktoken, vocab.txt, tok*.bin";

#ifndef HEADCOUNT_UNICODE
[[noreturn]] void refuse_without_unicode(const std::string& path) {
  throw Error(path +
              ": this build has no Unicode library (PCRE2 10.40 and utf8proc) for this tokenizer; "
              "install both and build again, or use llama2.c's tok*.bin");
}
TokenizerModelPtr open_tokenizer_json(const std::string& path) { refuse_without_unicode(path); }
TokenizerModelPtr open_vocab_merges(const std::string& path) { refuse_without_unicode(path); }
TokenizerModelPtr open_tiktoken(const std::string& path, bool) { refuse_without_unicode(path); }
TokenizerModelPtr open_vocab_txt(const std::string& path) { refuse_without_unicode(path); }
#endif

/// Lines of "base64 number" instead of SentencePiece's protocol buffer.
bool is_tiktoken(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char c = 0;
  size_t n = 0;
  while (file.get(c) && c != ' ') {
    const bool base64 = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '+' || c == '/' || c == '=';
    if (!base64 || ++n > 4096) return false;
  }
  return c == ' ' && n > 0 && file.get(c) && c >= '0' && c <= '9';
}

TokenizerModelPtr open_file(const fs::path& path) {
  const std::string file = path.string(), name = path.filename().string();
  std::error_code ignored;
  if (!fs::exists(path, ignored)) throw Error(file + " does not exist");
  if (name == "vocab.json" || name == "merges.txt")
    return open_vocab_merges(path.has_parent_path() ? path.parent_path().string() : ".");
  if (name.ends_with(".json")) return open_tokenizer_json(file);
  if (name.ends_with(".tiktoken")) return open_tiktoken(file, false);
  if (name.ends_with(".txt")) return open_vocab_txt(file);
  if (name.ends_with(".bin")) return open_llama2c(file);
  if (name.ends_with(".model"))
    return is_tiktoken(file) ? open_tiktoken(file, true) : open_sentencepiece(file);
  throw Error(file + " is not named as any tokenizer file: " + std::string(kFormats));
}

TokenizerModelPtr open_folder(const fs::path& folder) {
  const auto has = [&](const char* name) {
    std::error_code ignored;
    return fs::is_regular_file(folder / name, ignored);
  };
  if (has("tokenizer.json")) return open_file(folder / "tokenizer.json");
  if (has("vocab.json") && has("merges.txt")) return open_vocab_merges(folder.string());
  if (has("tokenizer.model")) return open_file(folder / "tokenizer.model");
  std::vector<fs::path> tiktoken, llama2c;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".tiktoken")) tiktoken.push_back(entry.path());
    if (name.starts_with("tok") && name.ends_with(".bin")) llama2c.push_back(entry.path());
  }
  for (const auto* several : {&tiktoken, &llama2c}) {
    if (several->size() > 1)
      throw Error(folder.string() + " has several tokenizers, " +
                  several->front().filename().string() + " and " +
                  several->back().filename().string() + ": name the file");
  }
  if (!tiktoken.empty()) return open_file(tiktoken.front());
  if (has("vocab.txt")) return open_file(folder / "vocab.txt");
  if (!llama2c.empty()) return open_file(llama2c.front());
  throw Error(folder.string() + " has no tokenizer: none of " + std::string(kFormats));
}

}  // namespace

std::string read_tokenizer_file(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) throw Error("cannot open " + path + ": no such file");
  const auto size = fs::file_size(path, error);
  if (error) throw Error("cannot open " + path + ": " + error.message());
  if (size > kMaxTokenizerBytes) throw Error(path + " is larger than any tokenizer file (64 MiB)");
  std::string bytes(static_cast<size_t>(size), '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error("cannot open " + path + ": " + std::strerror(errno));
  if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
    throw Error(path + " ends too early");
  return bytes;
}

Tokenizer::Tokenizer(std::shared_ptr<const TokenizerModel> model) : model_(std::move(model)) {}

Tokenizer Tokenizer::open(const std::string& path) {
  std::error_code error;
  try {
    return Tokenizer(fs::is_directory(path, error) ? open_folder(path) : open_file(path));
  } catch (const fs::filesystem_error& failure) {
    throw Error("cannot open " + path + ": " + failure.code().message());
  }
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  if (utf8::is_valid(text)) return model_->encode(text, add_special_tokens);
  return model_->encode(utf8::to_valid(text), add_special_tokens);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  const auto stream = model_->stream(skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) text += stream->push(id);
  return text + stream->finish();
}

int64_t Tokenizer::size() const { return model_->size(); }

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  return model_->id_of(token);
}

std::string Tokenizer::description() const { return model_->description(); }

StreamDecoder::StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), stream_(tokenizer_.model_->stream(skip_special_tokens)) {}
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

std::string StreamDecoder::push(int32_t id) { return stream_->push(id); }
std::string StreamDecoder::finish() { return stream_->finish(); }

}  // namespace headcount::models
