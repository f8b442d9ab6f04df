// `headcount-runner bench ...`: how fast gate gradients are computed, against the fastest matrix
// products this process can do; of a small random model, or of a checkpoint as large as the
// published ones, which `bench checkpoint` writes.
#pragma once

#include <string>
#include <vector>

namespace headcount {

/// Runs the measurement; `args` are the words after `bench head-importance`: --threads N (2),
/// --dtype float32|bfloat16|float64, --device cpu|cuda:N, --repeats N (5), --samples N (10 mask
/// variants in one micro-batch). Progress goes to stderr; the last line of stdout is one JSON
/// object. Returns the exit code: 0, or 2 after one sentence about a bad flag. Throws Error when
/// the device is not there.
int bench_head_importance(const std::vector<std::string>& args);

/// `bench checkpoint --shape llada-8b|dream-7b --output DIR [--layers N] [--seed N]`: random
/// bfloat16 weights in the published layout (names, config.json, six or four files and their
/// index), written as they are drawn.
int bench_checkpoint(const std::vector<std::string>& args);

/// `bench forward --model DIR [--tokens 512] [--supervised 128] [--dtype bfloat16] [--layers N]
/// [--checkpointing] [--micro-batch 1] [--repeats 1] [--threads 2] [--device cpu|cuda:N]`: seconds
/// to load and per forward + backward pass, peak memory, useful work a second and its share of the
/// best product rate (on an H100 or H200 of its roofline).
int bench_forward(const std::vector<std::string>& args);

}  // namespace headcount
