// llama2.c's tokenizer: reading its file, encoding by best-score merges, decoding.
#include "models/files/tokenizer.h"

#include <cstdio>
#include <cstring>
#include <queue>

#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr uint64_t kMaxFileBytes = 64u << 20;
constexpr int32_t kMaxPieceBytes = 4096;
constexpr int32_t kFirstByteId = 3;
constexpr int32_t kBos = 1;

/// Bytes of the code point starting with `lead`; at least one whatever it is.
size_t code_point_size(std::string_view text) {
  size_t n = 1;
  while (n < 4 && n < text.size() && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) ++n;
  return n;
}

/// A piece written "<0xAB>" stands for that byte.
bool is_byte_piece(const std::string& piece, char* byte) {
  unsigned value = 0;
  if (piece.size() != 6 || std::sscanf(piece.c_str(), "<0x%02X>", &value) != 1) return false;
  *byte = static_cast<char>(value);
  return true;
}

}  // namespace

Tokenizer Tokenizer::open(const std::string& path, int64_t vocab_size) {
  const uint64_t size = file_size(path);
  if (size > kMaxFileBytes) throw Error(path + " is larger than any tokenizer file (64 MiB)");
  const std::string bytes = read_range(path, 0, size);
  size_t at = 0;
  const auto take = [&](void* out, size_t n) {
    if (n > bytes.size() - at) {
      throw Error(path + " ends before its " + std::to_string(vocab_size) +
                  " tokens do; it is truncated or belongs to another vocabulary");
    }
    std::memcpy(out, bytes.data() + at, n);
    at += n;
  };
  Tokenizer tokenizer;
  uint32_t longest = 0;
  take(&longest, sizeof longest);
  for (int64_t id = 0; id < vocab_size; ++id) {
    float score = 0;
    int32_t length = 0;
    take(&score, sizeof score);
    take(&length, sizeof length);
    if (length < 0 || length > kMaxPieceBytes) {
      throw Error(path + " is no llama2.c tokenizer: token " + std::to_string(id) + " claims " +
                  std::to_string(length) + " bytes");
    }
    std::string piece(static_cast<size_t>(length), '\0');
    take(piece.data(), piece.size());
    tokenizer.ids_.emplace(piece, static_cast<int32_t>(id));
    tokenizer.pieces_.push_back(std::move(piece));
    tokenizer.scores_.push_back(score);
  }
  if (at != bytes.size()) {
    throw Error(path + " holds more than " + std::to_string(vocab_size) +
                " tokens; it belongs to another vocabulary");
  }
  return tokenizer;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool bos) const {
  std::vector<int32_t> ids;
  const auto add = [&](const std::string& piece) {
    if (const auto it = ids_.find(piece); it != ids_.end()) {
      ids.push_back(it->second);
      return;
    }
    for (const char byte : piece) ids.push_back(kFirstByteId + static_cast<unsigned char>(byte));
  };
  if (!text.empty()) add(" ");
  while (!text.empty()) {
    const size_t n = code_point_size(text);
    add(std::string(text.substr(0, n)));
    text.remove_prefix(n);
  }

  // A list of symbols by their first index; a queue of candidate merges, best score first, then
  // leftmost. A merge is stale when either side has changed since it was queued.
  const int64_t n = static_cast<int64_t>(ids.size());
  std::vector<int64_t> next(ids.size()), previous(ids.size());
  for (int64_t i = 0; i < n; ++i) {
    next[static_cast<size_t>(i)] = i + 1;
    previous[static_cast<size_t>(i)] = i - 1;
  }
  struct Merge {
    float score;
    int64_t left;
    int32_t left_id, right_id, merged;
    bool operator<(const Merge& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };
  std::priority_queue<Merge> queue;
  const auto consider = [&](int64_t left) {
    if (left < 0 || next[static_cast<size_t>(left)] >= n) return;
    const int32_t a = ids[static_cast<size_t>(left)];
    const int32_t b = ids[static_cast<size_t>(next[static_cast<size_t>(left)])];
    const size_t last = pieces_.size();
    if (static_cast<size_t>(a) >= last || static_cast<size_t>(b) >= last) return;
    const auto it = ids_.find(pieces_[static_cast<size_t>(a)] + pieces_[static_cast<size_t>(b)]);
    if (it != ids_.end())
      queue.push({scores_[static_cast<size_t>(it->second)], left, a, b, it->second});
  };
  for (int64_t i = 0; i + 1 < n; ++i) consider(i);
  while (!queue.empty()) {
    const Merge merge = queue.top();
    queue.pop();
    const auto left = static_cast<size_t>(merge.left);
    const int64_t right = ids[left] == merge.left_id ? next[left] : n;
    if (right >= n || ids[static_cast<size_t>(right)] != merge.right_id) continue;
    ids[left] = merge.merged;
    ids[static_cast<size_t>(right)] = -1;
    next[left] = next[static_cast<size_t>(right)];
    if (next[left] < n) previous[static_cast<size_t>(next[left])] = merge.left;
    consider(previous[left]);
    consider(merge.left);
  }
  std::vector<int32_t> out;
  if (bos) out.push_back(kBos);
  for (const int32_t id : ids) {
    if (id >= 0) out.push_back(id);
  }
  return out;
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == kBos) continue;
    if (ids[i] < 0 || static_cast<size_t>(ids[i]) >= pieces_.size()) {
      throw Error("token " + std::to_string(ids[i]) + " is outside the tokenizer's vocabulary");
    }
    const std::string& piece = pieces_[static_cast<size_t>(ids[i])];
    char byte = 0;
    if (is_byte_piece(piece, &byte)) {
      text += byte;
    } else {
      const bool first = i == 0 || ids[i - 1] == kBos;
      text += first && !piece.empty() && piece[0] == ' ' ? piece.substr(1) : piece;
    }
  }
  return text;
}

}  // namespace headcount::models
