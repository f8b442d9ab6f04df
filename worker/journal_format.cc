#include "worker/journal_format.h"

#include <algorithm>
#include <map>
#include <optional>

#include "schemas/cbor.h"
#include "schemas/error.h"

namespace headcount::worker {
namespace {

constexpr std::string_view kMark = "\xffhc";  // and the type
constexpr size_t kHeadBytes = 12;             // mark, size and their sum
constexpr size_t kHeadSumBytes = 4;
constexpr size_t kSumBytes = 8;
constexpr int64_t kFirstProtocolVersion = 2;  // of results in files of the first format
constexpr uint64_t kFirstResultType = 2;
// Of whichever version; its number and the end of the line follow.
constexpr std::string_view kAnyHeader = "headcount journal ";

void put_u32(std::string& out, size_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<char>(value >> shift & 255));
  }
}

size_t u32_at(std::string_view bytes) {
  size_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value |= static_cast<size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

std::string checksum(std::string_view bytes, size_t n) {
  return std::string(as_bytes(sha256(bytes)).substr(0, n));
}

void put_record(std::string& out, char type, std::string_view payload) {
  const size_t head = out.size();
  out += kMark;
  out.push_back(type);
  put_u32(out, payload.size());
  out += checksum(std::string_view(out).substr(head), kHeadSumBytes);
  out += payload;
  out += checksum(payload, kSumBytes);
}

Digest digest_of(cbor::Reader& reader) {
  const std::string_view bytes = reader.bytes();
  if (bytes.size() != 32) reader.fail("a digest that is not 32 bytes");
  return digest_from_bytes(bytes);
}

/// The members both formats have, up to the result's bytes.
ShardDone members_of(cbor::Reader& reader) {
  reader.array_of(7);
  ShardDone done;
  done.key = digest_of(reader);
  done.attempt = reader.integer();
  done.tag = reader.text();
  done.device = reader.text();
  done.hash = digest_of(reader);
  done.seconds = reader.finite();
  return done;
}

ShardDone result_of_current(std::string_view payload) {
  cbor::Reader reader(payload, "a result in a journal");
  ShardDone done = members_of(reader);
  done.result = reader.bytes();
  reader.end();
  return done;
}

ShardDone result_of_first(std::string_view payload) {
  if (payload.size() < 4 || u32_at(payload) > payload.size() - 4) {
    throw Error("a record without a result");
  }
  const std::string_view header = payload.substr(4, u32_at(payload));
  cbor::Reader reader(header, "a result in a journal");
  reader.array_of(2);
  if (reader.integer() != kFirstProtocolVersion) reader.fail("another protocol version");
  reader.array_of(1);
  reader.array_of(2);
  if (reader.natural() != kFirstResultType) reader.fail("a message that is no result");
  ShardDone done = members_of(reader);
  const bool inside = reader.peek() == cbor::Type::kBytes;
  done.result = inside ? reader.bytes() : payload.substr(4 + header.size());
  if (!inside && !reader.boolean()) reader.fail("a result neither inside nor beside it");
  reader.end();
  return done;
}

struct Record {
  char type = 0;
  PayloadPlace payload;
  size_t end = 0;  // of the record
};

/// The whole record at `at`, or what is there instead.
struct Found {
  std::optional<Record> record;
  bool cut_short = false;  // it would go on behind the end of the file; said of the current format
};

Found record_at(std::string_view bytes, size_t at, JournalFormat format) {
  const bool current = format == JournalFormat::kCurrent;
  const size_t head_bytes = current ? kHeadBytes : 5;
  const std::string_view rest = bytes.substr(at);
  if (rest.size() < head_bytes) {
    const size_t n = std::min(rest.size(), kMark.size());
    return {.record = {}, .cut_short = current && rest.substr(0, n) == kMark.substr(0, n)};
  }
  const size_t before_sum = head_bytes - kHeadSumBytes;
  if (current && (rest.substr(0, kMark.size()) != kMark ||
                  rest.substr(before_sum, kHeadSumBytes) !=
                      checksum(rest.substr(0, before_sum), kHeadSumBytes))) {
    return {};
  }
  const char type = rest[current ? kMark.size() : 0];
  const size_t size = u32_at(rest.substr(current ? kMark.size() + 1 : 1));
  if (type != 'R' && type != 'A') return {};
  if (rest.size() < head_bytes + size + kSumBytes) return {.record = {}, .cut_short = current};
  const std::string_view payload = rest.substr(head_bytes, size);
  if (rest.substr(head_bytes + size, kSumBytes) != checksum(payload, kSumBytes)) return {};
  return {.record = Record{type, {at + head_bytes, size}, at + head_bytes + size + kSumBytes},
          .cut_short = false};
}

/// Where the next whole record begins at or behind `at`; else the size of the file. In the first
/// format nothing marks a record.
size_t next_record(std::string_view bytes, size_t at, JournalFormat format) {
  while (format == JournalFormat::kCurrent && at < bytes.size()) {
    at = std::min(bytes.find(kMark, at), bytes.size());
    if (at < bytes.size() && record_at(bytes, at, format).record) return at;
    if (at < bytes.size()) ++at;
  }
  return bytes.size();
}

JournalFormat format_of(std::string_view bytes) {
  const std::string_view start = bytes.substr(0, kJournalHeader.size());
  if (start == kJournalHeader.substr(0, start.size())) return JournalFormat::kCurrent;
  if (start.starts_with(kAnyHeader)) {
    const std::string_view version = bytes.substr(kAnyHeader.size());
    const size_t end = version.find_first_not_of("0123456789");
    if (end != 0 && end != version.npos && version[end] == '\n') return JournalFormat::kUnknown;
  }
  return start[0] == 'R' || start[0] == 'A' ? JournalFormat::kFirst : JournalFormat::kCurrent;
}

bool only_zeros(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

}  // namespace

PayloadPlace put_result(std::string& out, const ShardDone& result) {
  cbor::Writer payload;
  payload.array(7);
  payload.bytes(as_bytes(result.key));
  payload.integer(result.attempt);
  payload.text(result.tag);
  payload.text(result.device);
  payload.bytes(as_bytes(result.hash));
  payload.number(result.seconds);
  payload.bytes(result.result);
  put_record(out, 'R', payload.out);
  return {out.size() - kSumBytes - payload.out.size(), payload.out.size()};
}

void put_acknowledgement(std::string& out, const ShardKey& key) {
  put_record(out, 'A', as_bytes(key));
}

ShardDone result_of(std::string_view payload, JournalFormat format) {
  return format == JournalFormat::kFirst ? result_of_first(payload) : result_of_current(payload);
}

JournalContent read_journal(std::string_view bytes) {
  JournalContent content;
  content.format = format_of(bytes);
  content.torn_at = bytes.size();
  if (content.format == JournalFormat::kUnknown) {
    content.unreadable.push_back({0, bytes.size()});
    return content;
  }
  if (kJournalHeader.starts_with(bytes)) {  // torn itself, or empty
    content.torn_at = 0;
    return content;
  }
  std::map<ShardKey, size_t> numbers;
  std::vector<JournalContent::Kept> results;
  const auto take = [&](const Record& record) {  // false: whole, and yet none of ours
    const std::string_view payload = bytes.substr(record.payload.offset, record.payload.size);
    if (record.type == 'A') {
      if (payload.size() != sizeof(Digest)) return false;
      numbers.erase(digest_from_bytes(payload));
      return true;
    }
    try {
      const ShardKey key = result_of(payload, content.format).key;
      numbers[key] = results.size();
      results.push_back({key, record.payload});
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  size_t at = bytes.starts_with(kJournalHeader) ? kJournalHeader.size() : 0;
  while (at < bytes.size()) {
    const Found found = record_at(bytes, at, content.format);
    if (found.record && take(*found.record)) {
      at = found.record->end;
      continue;
    }
    const size_t next =
        found.record ? found.record->end : next_record(bytes, at + 1, content.format);
    const bool torn = found.cut_short || only_zeros(bytes.substr(at));
    if (next == bytes.size() && torn && !found.record) {
      content.torn_at = at;
    } else {
      content.unreadable.push_back({at, next});
    }
    at = next;
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const auto latest = numbers.find(results[i].key);
    if (latest != numbers.end() && latest->second == i) content.kept.push_back(results[i]);
  }
  return content;
}

}  // namespace headcount::worker
