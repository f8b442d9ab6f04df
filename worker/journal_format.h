// The bytes of a worker's journal. Pure.
//
// File: the line kJournalHeader, then records of
//   mark "\xffhcR" (a result) or "\xffhcA" (an acknowledgement), u32 little-endian size of the
//   payload, the first 4 bytes of the SHA-256 of these 8, payload, the first 8 bytes of the
//   payload's SHA-256.
// So a record's head vouches for its size, its end for its payload, and behind damage the next
// whole record is found by its head. 'R' payload: CBOR of the ShardDone's members, in an order that
// is this format's and not the wire's: a journal outlives a change of the protocol. 'A' payload:
// the 32 bytes of the shard's key. A file without a header is of the first format: u8 type, u32
// size, payload, sum; 'R' payload: u32 size, header and frame of a message of protocol version 2.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/messages.h"

namespace headcount::worker {

inline constexpr std::string_view kJournalHeader = "headcount journal 1\n";

/// Where a payload lies.
struct PayloadPlace {
  size_t offset = 0, size = 0;
};
/// Append to `out`; a result's payload then lies where it says.
PayloadPlace put_result(std::string& out, const ShardDone& result);
void put_acknowledgement(std::string& out, const ShardKey& key);

/// Which of the formats above a file is of.
enum class JournalFormat { kCurrent, kFirst, kUnknown };

/// What a journal file holds.
struct JournalContent {
  /// A result without acknowledgement, in the order added; the last one of each key.
  struct Kept {
    ShardKey key;
    PayloadPlace place;
  };
  struct Range {
    size_t begin = 0, end = 0;
  };
  JournalFormat format = JournalFormat::kCurrent;
  std::vector<Kept> kept;
  std::vector<Range> unreadable;  // neither a whole record nor a torn one
  size_t torn_at = 0;  // where the record begins that a crash cut short; else the size of the file
};
/// Never throws: what cannot be read is `unreadable` (all of a file of an unknown format). An empty
/// file is of the current format.
JournalContent read_journal(std::string_view bytes);

/// The result of one of its payloads. Throws Error.
ShardDone result_of(std::string_view payload, JournalFormat format);

}  // namespace headcount::worker
