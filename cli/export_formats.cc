#include "cli/export_formats.h"

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "schemas/error.h"

namespace headcount::cli {
namespace {

static_assert(std::endian::native == std::endian::little,
              "exports copy numbers as they lie in memory");

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

// ---- pickle, protocol 2 (Python's pickletools documents every opcode)

void put_text(std::string& out, std::string_view text) {
  out += 'X';  // BINUNICODE
  put(out, static_cast<uint32_t>(text.size()));
  out += text;
}

void put_integer(std::string& out, int64_t value) {
  if (value == static_cast<int32_t>(value)) {
    out += 'J';  // BININT
    put(out, static_cast<int32_t>(value));
  } else {
    out += "\x8a\x08";  // LONG1 of eight bytes
    put(out, value);
  }
}

void put_number(std::string& out, double value) {
  out += 'G';  // BINFLOAT, big endian
  const auto bits = std::bit_cast<uint64_t>(value);
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(bits >> shift & 0xFF);
}

void put_value(std::string& out, bool value) { out += value ? '\x88' : '\x89'; }
void put_value(std::string& out, int64_t value) { put_integer(out, value); }
void put_value(std::string& out, double value) { put_number(out, value); }
void put_value(std::string& out, const std::string& value) { put_text(out, value); }
template <class T>
void put_value(std::string& out, const std::vector<T>& values) {
  out += "](";  // EMPTY_LIST, MARK
  for (const T& value : values) put_value(out, value);
  out += 'e';  // APPENDS
}

/// torch._utils._rebuild_tensor_v2(storage, 0, (n,), (1,), False, OrderedDict())
void put_tensor(std::string& out, const std::string& storage, size_t size) {
  out += "ctorch._utils\n_rebuild_tensor_v2\n(";  // GLOBAL, MARK
  out += '(';                                     // the persistent id of the storage
  put_text(out, "storage");
  out += "ctorch\nFloatStorage\n";
  put_text(out, storage);
  put_text(out, "cpu");
  put_integer(out, static_cast<int64_t>(size));
  out += "tQ";  // TUPLE, BINPERSID
  put_integer(out, 0);
  put_integer(out, static_cast<int64_t>(size));
  out += '\x85';  // TUPLE1: shape
  put_integer(out, 1);
  out += '\x85';                           // TUPLE1: stride
  out += '\x89';                           // NEWFALSE: requires_grad
  out += "ccollections\nOrderedDict\n)R";  // backward hooks
  out += "tR";                             // TUPLE, REDUCE
}

std::string pickle(const std::map<int64_t, std::vector<float>>& scores, const Fields& metadata) {
  std::string out = "\x80\x02}(";  // PROTO 2, EMPTY_DICT, MARK
  put_text(out, "importance_scores");
  out += "}(";
  size_t storage = 0;
  for (const auto& [layer, values] : scores) {
    put_integer(out, layer);
    put_tensor(out, std::to_string(storage++), values.size());
  }
  out += 'u';  // SETITEMS
  put_text(out, "metadata");
  out += "}(";
  for (const auto& [name, field] : metadata) {
    put_text(out, name);
    std::visit([&](const auto& value) { put_value(out, value); }, field);
  }
  return out + "uu.";  // SETITEMS of both, STOP
}

// ---- zip

/// The fields local header and central directory share.
void put_entry(std::string& out, std::string_view bytes, size_t name_size, size_t extra_size) {
  put<uint16_t>(out, 20);      // version needed
  put<uint16_t>(out, 0);       // flags
  put<uint16_t>(out, 0);       // stored
  put<uint16_t>(out, 0);       // time: none, so that equal contents have equal bytes
  put<uint16_t>(out, 0x0021);  // date: 1980-01-01
  put(out, crc32(bytes));
  put(out, static_cast<uint32_t>(bytes.size()));
  put(out, static_cast<uint32_t>(bytes.size()));
  put(out, static_cast<uint16_t>(name_size));
  put(out, static_cast<uint16_t>(extra_size));
}

}  // namespace

uint32_t crc32(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1)));
  }
  return ~crc;
}

std::string stored_zip(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string out, directory;
  for (const auto& [name, bytes] : files) {
    constexpr size_t kHeader = 30, kExtraHeader = 4, kAlign = 64;
    const size_t offset = out.size();
    const size_t unaligned = offset + kHeader + name.size() + kExtraHeader;
    const size_t gap = (kAlign - unaligned % kAlign) % kAlign;
    put<uint32_t>(out, 0x04034b50);
    put_entry(out, bytes, name.size(), kExtraHeader + gap);
    out += name + "FB";
    put(out, static_cast<uint16_t>(gap));
    out += std::string(gap, 'Z') + bytes;

    put<uint32_t>(directory, 0x02014b50);
    put<uint16_t>(directory, 20);  // made by
    put_entry(directory, bytes, name.size(), 0);
    put<uint16_t>(directory, 0);  // comment size
    put<uint16_t>(directory, 0);  // disk
    put<uint16_t>(directory, 0);  // internal attributes
    put<uint32_t>(directory, 0);  // external attributes
    put(directory, static_cast<uint32_t>(offset));
    directory += name;
  }
  HC_CHECK(out.size() < UINT32_MAX && files.size() < UINT16_MAX);
  const auto directory_at = static_cast<uint32_t>(out.size());
  const auto n = static_cast<uint16_t>(files.size());
  out += directory;
  put<uint32_t>(out, 0x06054b50);
  put<uint16_t>(out, 0);
  put<uint16_t>(out, 0);
  put(out, n);
  put(out, n);
  put(out, static_cast<uint32_t>(directory.size()));
  put(out, directory_at);
  put<uint16_t>(out, 0);
  return out;
}

std::string torch_file(const std::map<int64_t, std::vector<float>>& scores,
                       const Fields& metadata) {
  std::vector<std::pair<std::string, std::string>> files = {
      {"archive/data.pkl", pickle(scores, metadata)}, {"archive/byteorder", "little"}};
  size_t storage = 0;
  for (const auto& [layer, values] : scores) {
    files.emplace_back("archive/data/" + std::to_string(storage++),
                       little_endian(std::span(values)));
  }
  files.emplace_back("archive/version", "3\n");
  return stored_zip(files);
}

std::string npy_file(std::span<const double> values, const std::vector<int64_t>& shape) {
  std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (";
  for (const int64_t size : shape) header += std::to_string(size) + ", ";
  header += "), }";
  constexpr size_t kBefore = 10;
  header += std::string(64 - (kBefore + header.size() + 1) % 64, ' ') + "\n";
  std::string out("\x93NUMPY\x01\x00", 8);
  put(out, static_cast<uint16_t>(header.size()));
  return out + header + little_endian(values);
}

template <class T>
std::string little_endian(std::span<const T> values) {
  std::string out;
  for (const T value : values) put(out, value);
  return out;
}
template std::string little_endian(std::span<const float>);
template std::string little_endian(std::span<const double>);
template std::string little_endian(std::span<const int64_t>);

}  // namespace headcount::cli
