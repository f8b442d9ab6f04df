// Named plain values: the parameters of a shard, the columns of a point, the fields of a request.
// Always in key order, so that equal contents have equal bytes.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace headcount::cbor {
class Writer;
class Reader;
}  // namespace headcount::cbor

namespace headcount {

using Field = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                           std::vector<double>, std::vector<std::string>>;
using Fields = std::map<std::string, Field>;

/// The field `name` as a T; throws Error naming the field when it is absent or of another type.
/// get<double> also accepts an int64_t.
template <class T>
T get(const Fields& fields, const std::string& name);
template <class T>
T get_or(const Fields& fields, const std::string& name, T otherwise);

/// Deterministic CBOR (definite lengths, keys sorted, doubles always 8 bytes): equal fields, equal
/// bytes.
std::string to_cbor(const Fields& fields);
/// The reverse; throws Error on anything but the output of to_cbor (depth <= 2, size as given).
Fields fields_from_cbor(const std::string& bytes);

/// The same as one item of a larger CBOR text.
void write_fields(cbor::Writer& out, const Fields& fields);
Fields read_fields(cbor::Reader& in);

/// One field as JSON text; doubles as the shortest text that reads back the same.
std::string to_json(const Field& field);
std::string to_json(const Fields& fields);
/// Shortest round-trip text of a double ("0.1", "1e-05", "-3.0" is "-3"); NaN and infinities throw
/// Error.
std::string shortest(double value);

}  // namespace headcount
