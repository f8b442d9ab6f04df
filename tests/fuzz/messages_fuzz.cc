// What peers and runners say. The first byte picks the message: its members follow, as the envelope
// would hold them. Behind the last type: a whole header. A message that is read must come back the
// same from what it is written as.
#include <cstdlib>

#include "schemas/cbor.h"
#include "schemas/messages.h"
#include "schemas/result.h"
#include "tests/fuzz/reader.h"

namespace {

using namespace headcount;

constexpr size_t kTypes = std::variant_size_v<Message>;
constexpr size_t kRunnerTypes = std::variant_size_v<RunnerMessage>;

void read_wire(std::string_view header, std::vector<std::string> frames) {
  const std::vector<Message> messages = decode(header, std::move(frames));
  Packet again = encode(messages);
  if (decode(again.header, std::move(again.frames)) != messages) std::abort();
  for (const Message& message : messages) {
    if (const auto* grant = std::get_if<Grant>(&message)) decode_shard(grant->shard);
    if (const auto* done = std::get_if<ShardDone>(&message)) decode_result(done->result);
  }
}

std::string enveloped(size_t type, std::string_view members) {
  cbor::Writer header;
  header.array(2);
  header.integer(kProtocolVersion);
  header.array(1);
  header.array(2);
  header.natural(type);
  return header.out.append(members);
}

void read_from_runner(size_t type, std::string_view members) {
  cbor::Writer body;
  body.natural(type);
  const RunnerMessage message = decode_runner_message(body.out.append(members));
  if (decode_runner_message(encode(message)) != message) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t pick = data[0] % (kTypes + kRunnerTypes + 1);
  const std::string_view rest = fuzz::text(data + 1, size - 1);
  fuzz::expect_error_or_success(size, [&] {
    if (pick < kTypes) {
      // The second half of the byte's values: with a frame beside the header.
      std::vector<std::string> frames(data[0] >= 128 ? 1 : 0, std::string(rest));
      read_wire(enveloped(pick, rest), std::move(frames));
    } else if (pick < kTypes + kRunnerTypes) {
      read_from_runner(pick - kTypes, rest);
    } else {
      read_wire(rest, {});
    }
  });
  return 0;
}
