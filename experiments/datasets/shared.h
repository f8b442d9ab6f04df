// Datasets in memory once, however many sweeps ask the same of the same files: half a million rows
// take hundreds of megabytes.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "experiments/datasets/dataset.h"
#include "schemas/sha256.h"

namespace headcount::datasets {

/// The datasets in use. Any thread may use it; those it gave out may outlive it.
class SharedDatasets {
 public:
  /// The equal one somebody has, or this one.
  std::shared_ptr<const Dataset> share(Dataset dataset);

 private:
  std::mutex mutex_;
  std::map<Digest, std::weak_ptr<const Dataset>> by_content_;
};

}  // namespace headcount::datasets
