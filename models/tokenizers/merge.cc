// Short words by scanning for the lowest rank, long ones by a heap of candidates over a linked list
// of symbols; a candidate is stale when either of its symbols has changed since it was queued.
#include "models/tokenizers/merge.h"

#include <algorithm>
#include <limits>

#include "models/tokenizers/utf8.h"

namespace headcount::models {
namespace {

constexpr size_t kLongestToScan = 40;
constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();

const Merges::Value* find(const Merges& merges, int32_t left, int32_t right) {
  return merges.find(static_cast<uint32_t>(left), static_cast<uint32_t>(right));
}

void merge_by_scanning(const Merges& merges, std::vector<int32_t>& symbols,
                       std::vector<uint32_t>& ranks) {
  const auto rank_at = [&](size_t i) {
    if (i + 1 >= symbols.size()) return kNoRank;
    const auto* found = find(merges, symbols[i], symbols[i + 1]);
    return found == nullptr ? kNoRank : found->first;
  };
  ranks.resize(symbols.size());
  for (size_t i = 0; i < symbols.size(); ++i) ranks[i] = rank_at(i);
  while (symbols.size() > 1) {
    const auto best = std::min_element(ranks.begin(), ranks.end());
    if (*best == kNoRank) return;
    const auto i = static_cast<size_t>(best - ranks.begin());
    symbols[i] = static_cast<int32_t>(find(merges, symbols[i], symbols[i + 1])->second);
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    ranks.erase(ranks.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    ranks[i] = rank_at(i);
    if (i > 0) ranks[i - 1] = rank_at(i - 1);
  }
}

void merge_by_heap(const Merges& merges, std::vector<int32_t>& symbols, MergeWorkspace& work) {
  using Candidate = MergeWorkspace::Candidate;
  const size_t n = symbols.size();
  auto& next = work.next;
  auto& previous = work.previous;
  auto& queue = work.queue;
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  };
  next.resize(n);
  previous.resize(n);
  queue.clear();
  const auto candidate = [&](size_t left) -> bool {
    if (left >= n || next[left] >= n) return false;
    const auto* found = find(merges, symbols[left], symbols[next[left]]);
    if (found == nullptr) return false;
    queue.push_back({found->first, symbols[left], symbols[next[left]],
                     static_cast<int32_t>(found->second), left});
    return true;
  };
  for (size_t i = 0; i < n; ++i) {
    next[i] = i + 1;
    previous[i] = i == 0 ? n : i - 1;
  }
  for (size_t i = 0; i < n; ++i) candidate(i);
  std::make_heap(queue.begin(), queue.end(), later);
  const auto consider = [&](size_t left) {
    if (candidate(left)) std::push_heap(queue.begin(), queue.end(), later);
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), later);
    const Candidate top = queue.back();
    queue.pop_back();
    const size_t right = symbols[top.left] == top.left_id ? next[top.left] : n;
    if (right >= n || symbols[right] != top.right_id) continue;
    symbols[top.left] = top.merged;
    symbols[right] = -1;
    next[top.left] = next[right];
    if (next[right] < n) previous[next[right]] = top.left;
    consider(previous[top.left]);
    consider(top.left);
  }
  std::erase(symbols, -1);
}

}  // namespace

void merge(const Merges& merges, std::vector<int32_t>& symbols, MergeWorkspace& work) {
  if (symbols.size() <= kLongestToScan)
    merge_by_scanning(merges, symbols, work.ranks);
  else
    merge_by_heap(merges, symbols, work);
}

void Junctions::join(std::string_view left, std::string_view right) {
  size_t end = left.size(), begin = 0;
  const char32_t last = utf8::previous(left, end);
  join(last, utf8::next(right, begin));
}

}  // namespace headcount::models
