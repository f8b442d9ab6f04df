#include "experiments/kinds/windows.h"

#include <algorithm>
#include <vector>

namespace headcount::experiments {

int64_t n_overlapping(const datasets::Windows& windows, const datasets::Windows& others) {
  if (windows.text != others.text) return 0;
  std::vector<int64_t> sorted = others.first;
  std::sort(sorted.begin(), sorted.end());
  return std::count_if(windows.first.begin(), windows.first.end(), [&](int64_t first) {
    // The others that end behind this one's beginning and begin before its end.
    auto other = std::upper_bound(sorted.begin(), sorted.end(), first - others.length);
    for (; other != sorted.end() && *other < first + windows.length; ++other) {
      if (*other != first || others.length != windows.length) return true;
    }
    return false;
  });
}

}  // namespace headcount::experiments
