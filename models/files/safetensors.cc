// Reads the header of a safetensors file and holds it against the file; writes one.
#include "models/files/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the published reader
constexpr int kMaxDepth = 4;

[[noreturn]] void refuse(const std::string& file, const std::string& why) {
  throw Error(file + " is not a usable safetensors file: " + why);
}

/// The header's JSON; refuses depth and names given twice while reading.
json parse_header(const std::string& file, const std::string& text) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kMaxDepth) refuse(file, "its header is nested too deeply");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      const std::string name = value.get<std::string>();
      if (!keys.back().insert(name).second)
        refuse(file, "\"" + name + "\" stands twice in its header");
    }
    return true;
  };
  try {
    json header = json::parse(text, watch);
    if (!header.is_object()) refuse(file, "its header is not a JSON object");
    return header;
  } catch (const json::exception&) {
    refuse(file, "its header is not valid JSON; the file may be truncated or of another format");
  }
}

bool is_count(const json& value) {
  return value.is_number_integer() && (value.is_number_unsigned() || value.get<int64_t>() >= 0);
}

/// begin and end still count from the end of the header: `offset` is begin.
TensorPlace place_of(const std::string& file, const std::string& name, const json& entry) {
  const std::string at = "tensor \"" + name + "\" ";
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
      !entry.contains("shape") || !entry["shape"].is_array() || !entry.contains("data_offsets") ||
      !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2) {
    refuse(file, at + "lacks a dtype, a shape or two data_offsets");
  }
  TensorPlace place{.name = name, .file = file, .dtype = entry["dtype"], .shape = {}};
  uint64_t size = dtype_size(place.dtype);
  if (size == 0) refuse(file, at + "has the unknown dtype " + place.dtype);
  for (const json& extent : entry["shape"]) {
    if (!is_count(extent) || extent.get<uint64_t>() > INT64_MAX ||
        __builtin_mul_overflow(size, extent.get<uint64_t>(), &size)) {
      refuse(file, at + "has an impossible shape");
    }
    place.shape.push_back(extent.get<int64_t>());
  }
  const json& offsets = entry["data_offsets"];
  if (!is_count(offsets[0]) || !is_count(offsets[1])) refuse(file, at + "has impossible offsets");
  place.offset = offsets[0].get<uint64_t>();
  place.size_bytes = size;
  const uint64_t end = offsets[1].get<uint64_t>();
  if (end < place.offset || end - place.offset != size) {
    refuse(file, at + "has a shape that does not fill its bytes");
  }
  return place;
}

}  // namespace

uint64_t dtype_size(const std::string& dtype) {
  static const std::pair<const char*, uint64_t> kSizes[] = {
      {"F64", 8}, {"I64", 8}, {"U64", 8},     {"F32", 4},     {"I32", 4},
      {"U32", 4}, {"F16", 2}, {"BF16", 2},    {"I16", 2},     {"U16", 2},
      {"I8", 1},  {"U8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"BOOL", 1}};
  for (const auto& [name, size] : kSizes) {
    if (dtype == name) return size;
  }
  return 0;
}

std::string safetensors_header(const std::vector<TensorForm>& tensors,
                               const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t begin = 0;
  for (const TensorForm& tensor : tensors) {
    uint64_t end = dtype_size(tensor.dtype);
    HC_CHECK(end > 0);
    for (const int64_t extent : tensor.shape) end *= static_cast<uint64_t>(extent);
    end += begin;
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string size(8, '\0');
  for (size_t i = 0; i < 8; ++i) size[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  return size + text;
}

std::vector<TensorPlace> read_safetensors(const std::string& file) {
  const uint64_t total = file_size(file);
  if (total < 8) refuse(file, "it has only " + std::to_string(total) + " bytes");
  uint64_t header_size = 0;
  std::memcpy(&header_size, read_range(file, 0, 8).data(), 8);
  if (header_size > kMaxHeaderBytes) refuse(file, "its header claims more than 100 MB");
  if (header_size > total - 8)
    refuse(file, "its header claims more bytes than the file has; it may be truncated");
  const json header = parse_header(file, read_range(file, 8, header_size));

  std::vector<TensorPlace> places;
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") places.push_back(place_of(file, name, entry));
  }
  std::sort(places.begin(), places.end(), [](const TensorPlace& a, const TensorPlace& b) {
    return std::tie(a.offset, a.size_bytes, a.name) < std::tie(b.offset, b.size_bytes, b.name);
  });
  const uint64_t data_size = total - 8 - header_size;
  uint64_t end = 0;
  for (TensorPlace& place : places) {
    if (place.offset < end) refuse(file, "tensor \"" + place.name + "\" overlaps another");
    if (place.offset > end) refuse(file, "there is a hole before tensor \"" + place.name + "\"");
    if (place.size_bytes > data_size - end) {
      refuse(file,
             "tensor \"" + place.name + "\" ends beyond the file; it is truncated, fetch it again");
    }
    end += place.size_bytes;
    place.offset += 8 + header_size;
  }
  if (end != data_size)
    refuse(file,
           std::to_string(data_size - end) + " bytes after the last tensor belong to nothing");
  return places;
}

}  // namespace headcount::models
