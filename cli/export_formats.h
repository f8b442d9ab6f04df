// The bytes of three published formats, written by hand: a stored zip, a protocol-2 pickle of what
// torch.save writes, .npy.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schemas/fields.h"

namespace headcount::cli {

/// CRC-32 of zip and PNG (reflected polynomial 0xEDB88320).
uint32_t crc32(std::string_view bytes);

/// A zip archive with every file stored as it is, each one's bytes at a multiple of 64 as
/// torch.save lays them (APPNOTE 4.3; the gap is an extra field). Names and sizes must fit a plain
/// zip (below 4 GiB).
std::string stored_zip(const std::vector<std::pair<std::string, std::string>>& files);

/// torch.save({"importance_scores": {layer: float32 tensor[n]}, "metadata": {...}}): also loads
/// with weights_only=True.
std::string torch_file(const std::map<int64_t, std::vector<float>>& scores, const Fields& metadata);

/// A float64 C-order array as .npy version 1.0.
std::string npy_file(std::span<const double> values, const std::vector<int64_t>& shape);

/// Numbers as little-endian bytes.
template <class T>
std::string little_endian(std::span<const T> values);

}  // namespace headcount::cli
