#include "schemas/fields.h"

#include <charconv>
#include <cmath>

#include "schemas/cbor.h"
#include "schemas/error.h"

namespace headcount {
namespace {

template <class T>
struct NameOf;
template <>
struct NameOf<bool> {
  static constexpr const char* kText = "a boolean";
};
template <>
struct NameOf<int64_t> {
  static constexpr const char* kText = "an integer";
};
template <>
struct NameOf<double> {
  static constexpr const char* kText = "a number";
};
template <>
struct NameOf<std::string> {
  static constexpr const char* kText = "text";
};
template <>
struct NameOf<std::vector<int64_t>> {
  static constexpr const char* kText = "a list of integers";
};
template <>
struct NameOf<std::vector<double>> {
  static constexpr const char* kText = "a list of numbers";
};
template <>
struct NameOf<std::vector<std::string>> {
  static constexpr const char* kText = "a list of texts";
};

void write(cbor::Writer& out, bool value) { out.boolean(value); }
void write(cbor::Writer& out, int64_t value) { out.integer(value); }
void write(cbor::Writer& out, double value) { out.number(value); }
void write(cbor::Writer& out, const std::string& value) { out.text(value); }
// A list says what it holds even when empty: [kind, items...].
template <class T>
void write_list(cbor::Writer& out, int64_t kind, const std::vector<T>& values) {
  out.array(values.size() + 1);
  out.integer(kind);
  for (const auto& value : values) write(out, value);
}
void write(cbor::Writer& out, const std::vector<int64_t>& values) { write_list(out, 0, values); }
void write(cbor::Writer& out, const std::vector<double>& values) { write_list(out, 1, values); }
void write(cbor::Writer& out, const std::vector<std::string>& values) {
  write_list(out, 2, values);
}

template <class T, class Read>
Field read_items(uint64_t n, Read read) {
  std::vector<T> values;
  for (uint64_t i = 0; i < n; ++i) values.push_back(read());
  return values;
}

Field read_list(cbor::Reader& in) {
  const uint64_t n = in.array();
  if (n == 0) in.fail("a list that does not say what it holds");
  switch (in.integer()) {
    case 0:
      return read_items<int64_t>(n - 1, [&] { return in.integer(); });
    case 1:
      return read_items<double>(n - 1, [&] { return in.number(); });
    case 2:
      return read_items<std::string>(n - 1, [&] { return std::string(in.text()); });
    default:
      in.fail("a list of unknown kind");
  }
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          constexpr std::string_view kDigits = "0123456789abcdef";
          out += "\\u00";
          out += kDigits[static_cast<size_t>(c) >> 4];
          out += kDigits[static_cast<size_t>(c) & 15];
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::string json_of(bool value) { return value ? "true" : "false"; }
std::string json_of(int64_t value) { return std::to_string(value); }
std::string json_of(double value) { return shortest(value); }
std::string json_of(const std::string& value) { return quoted(value); }
template <class T>
std::string json_of(const std::vector<T>& values) {
  std::string out = "[";
  for (const auto& value : values) out += (out.size() > 1 ? ", " : "") + json_of(value);
  return out + "]";
}

}  // namespace

template <class T>
T get(const Fields& fields, const std::string& name) {
  const auto found = fields.find(name);
  if (found == fields.end()) throw Error("the field \"" + name + "\" is missing");
  if (const T* value = std::get_if<T>(&found->second)) return *value;
  if constexpr (std::is_same_v<T, double>) {
    if (const auto* value = std::get_if<int64_t>(&found->second))
      return static_cast<double>(*value);
  }
  throw Error("the field \"" + name + "\" is not " + NameOf<T>::kText);
}

template <class T>
T get_or(const Fields& fields, const std::string& name, T otherwise) {
  return fields.count(name) ? get<T>(fields, name) : otherwise;
}

#define HC_FIELD_TYPE(T)                                       \
  template T get<T>(const Fields& fields, const std::string&); \
  template T get_or<T>(const Fields& fields, const std::string&, T);
HC_FIELD_TYPE(bool)
HC_FIELD_TYPE(int64_t)
HC_FIELD_TYPE(double)
HC_FIELD_TYPE(std::string)
HC_FIELD_TYPE(std::vector<int64_t>)
HC_FIELD_TYPE(std::vector<double>)
HC_FIELD_TYPE(std::vector<std::string>)
#undef HC_FIELD_TYPE

void write_fields(cbor::Writer& out, const Fields& fields) {
  out.map(fields.size());
  for (const auto& [name, field] : fields) {
    out.text(name);
    std::visit([&](const auto& value) { write(out, value); }, field);
  }
}

Fields read_fields(cbor::Reader& in) {
  Fields fields;
  for (uint64_t n = in.map(); n > 0; --n) {
    const std::string name(in.text());
    if (!fields.empty() && name <= fields.rbegin()->first) in.fail("field names out of order");
    Field& field = fields[name];
    switch (in.peek()) {
      case cbor::Type::kBoolean:
        field = in.boolean();
        break;
      case cbor::Type::kInteger:
        field = in.integer();
        break;
      case cbor::Type::kNumber:
        field = in.number();
        break;
      case cbor::Type::kText:
        field = std::string(in.text());
        break;
      case cbor::Type::kArray:
        field = read_list(in);
        break;
      default:
        in.fail("a field of unknown type");
    }
  }
  return fields;
}

std::string to_cbor(const Fields& fields) {
  cbor::Writer out;
  write_fields(out, fields);
  return std::move(out.out);
}

Fields fields_from_cbor(const std::string& bytes) {
  cbor::Reader in(bytes, "fields");
  Fields fields = read_fields(in);
  in.end();
  return fields;
}

std::string to_json(const Field& field) {
  return std::visit([](const auto& value) { return json_of(value); }, field);
}

std::string to_json(const Fields& fields) {
  std::string out = "{";
  for (const auto& [name, field] : fields) {
    out += (out.size() > 1 ? ", " : "") + quoted(name) + ": " + to_json(field);
  }
  return out + "}";
}

std::string shortest(double value) {
  if (!std::isfinite(value)) throw Error("a number that is not finite has no JSON text");
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return {buffer.data(), end};
}

}  // namespace headcount
