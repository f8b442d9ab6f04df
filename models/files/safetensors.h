// The safetensors format: u64 header size (little endian), a JSON object
// {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ..., "__metadata__": {...}}, then the
// bytes those offsets count from. Offsets leave no hole and no overlap, and end with the file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/files/config.h"

namespace headcount::models {

/// Every tensor of the file by the name it has there, in the order of their bytes. Nothing but the
/// header is read. Throws Error, naming the file, on anything the format forbids: a header beyond
/// the file or above 100 MB, text that is no such object, a name given twice, an unknown dtype,
/// sizes that contradict shapes, holes, overlaps, missing or left-over bytes.
std::vector<TensorPlace> read_safetensors(const std::string& file);

/// A tensor as a new file describes it; dtype as there ("BF16").
struct TensorForm {
  std::string name, dtype;
  std::vector<int64_t> shape;
};
/// All of a new file but the tensors' bytes, which follow in this order, little endian, without
/// gaps. The header is filled with blanks to a multiple of 8. No metadata: none is written.
std::string safetensors_header(const std::vector<TensorForm>& tensors,
                               const std::map<std::string, std::string>& metadata);

/// Bytes of one element ("F32": 4); 0 for a dtype this program does not know.
uint64_t dtype_size(const std::string& dtype);

}  // namespace headcount::models
