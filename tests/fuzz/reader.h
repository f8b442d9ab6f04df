// What every fuzzer here does with an input: puts it into files, hands them to a reader of the
// project, and calls it a failure when the reader does anything but succeed or throw Error, or when
// it holds more memory at once than the input's size accounts for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace headcount::fuzz {

/// A reader may hold this many bytes per byte of input, and this many besides (libraries' tables,
/// regular expressions, the shape of the largest model a config may describe).
constexpr size_t kBytesPerByte = 512;
constexpr size_t kBytesBesides = 64u << 20;

/// A folder in memory, this process's own, removed when it ends.
const std::string& folder();
/// Writes folder()/name.
void put(const std::string& name, std::string_view bytes);

/// Runs `read`. Ends the process (libFuzzer then keeps the input) as said above.
void expect_error_or_success(size_t input_size, const std::function<void()>& read);

inline std::string_view text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace headcount::fuzz
