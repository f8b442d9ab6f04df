// What the commands open: models and devices by name. Failures here are the user's to mend:
// BadInput.
#pragma once

#include <string>
#include <utility>

#include "models/model.h"
#include "worker/runner/commands.h"
#include "worker/runner/device.h"

namespace headcount::runner {

/// The device, with LibTorch set up for it.
inline c10::Device open_device(const ComputeOptions& compute) {
  make_deterministic(compute.threads);
  return read_input([&] { return parse_device(compute.device); });
}

struct Opened {
  models::ModelFiles files;
  models::Model model;
};
inline Opened open(const std::string& path, const std::string& dtype,
                   const ComputeOptions& compute) {
  const c10::Device device = open_device(compute);
  return read_input([&] {
    models::ModelFiles files = models::open_model(path);
    models::Model model = models::load(files, parse_dtype(dtype), device);
    return Opened{std::move(files), std::move(model)};
  });
}

}  // namespace headcount::runner
