#include "experiments/datasets/shared.h"

#include <string>

namespace headcount::datasets {
namespace {

/// Of every member.
Digest content(const Dataset& dataset) {
  const auto& first = dataset.windows.first;
  Sha256 sha;
  for (const std::string& text :
       {dataset.name, dataset.task, std::to_string(static_cast<int>(dataset.objective)),
        std::to_string(dataset.has_choices), dataset.windows.text,
        std::to_string(dataset.windows.length), to_hex(dataset.rows_digest)})
    sha.update(std::to_string(text.size()) + " " + text);
  sha.update({reinterpret_cast<const char*>(first.data()), first.size() * sizeof(int64_t)});
  return sha.finish();
}

}  // namespace

std::shared_ptr<const Dataset> SharedDatasets::share(Dataset dataset) {
  const Digest digest = content(dataset);
  const std::lock_guard lock(mutex_);
  std::erase_if(by_content_, [](const auto& entry) { return entry.second.expired(); });
  auto& kept = by_content_[digest];
  if (auto equal = kept.lock()) return equal;
  auto own = std::make_shared<const Dataset>(std::move(dataset));
  kept = own;
  return own;
}

}  // namespace headcount::datasets
