// What travels between coordinator, workers and clients, and between a worker daemon and its runner. One message is a CBOR header
// (protocol version, type, typed members) and, where it has them, byte frames carried apart from it. Readers check depth (<= 16) and
// sizes before they build anything; every decode throws Error on anything else than encode's output.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "schemas/fields.h"
#include "schemas/shard.h"

namespace headcount {

constexpr int64_t kProtocolVersion = 1;
constexpr size_t kMaxHeaderBytes = 4 << 20;
constexpr size_t kMaxFrameBytes = 256u << 20;

/// Where a shard a worker holds stands.
enum class HeldState { kQueued, kRunning, kDone };
struct Held {
  ShardKey key;
  int64_t attempt = 0;
  HeldState state = HeldState::kQueued;
  double progress = 0;  // 0..1 of a running one; only its growth renews a lease
};

/// One runner of a worker, as it introduced itself.
struct RunnerInfo {
  std::string device;  // cpu | cuda:N
  std::string tag;     // numerics tag; empty until the runner has said it. noop shards need none
};

// worker -> coordinator
/// First message of a connection and after every Reintroduce. A higher incarnation replaces an older connection of the same key.
struct Hello {
  std::string version;      // of the program: must be equal on both sides
  uint64_t incarnation = 0; // grows with every start of the daemon
  std::string host;
  std::vector<RunnerInfo> runners;
  std::vector<Held> held;
};
/// Every heartbeat interval, and at once when runners or drain change: all work held, whatever its state.
struct Heartbeat {
  uint64_t incarnation = 0;
  std::vector<RunnerInfo> runners;
  std::vector<Held> held;
  bool draining = false;
};
/// A finished shard. Kept by the worker, on disk, until Ack. Frame: encode(Result).
struct ShardDone {
  ShardKey key;
  int64_t attempt = 0;
  std::string tag, device;
  Digest hash;
  double seconds = 0;
  std::string result;  // the frame
};
/// Why an attempt failed; only the shard being executed is charged.
enum class Cause { kException, kSignal, kCuda, kStall, kOutOfMemory, kKilled, kModelRefused };
struct ShardFailed {
  ShardKey key;
  int64_t attempt = 0;
  Cause cause = Cause::kException;
  std::string message;      // exit status or what(); then the stderr tail, memory, device as the user should see them
  std::string device;
};
/// The worker gives back shards it never started (drain, recall answered).
struct GiveBack {
  std::vector<std::pair<ShardKey, int64_t>> shards;
};

// coordinator -> worker
struct Welcome {
  std::string version;
  int64_t heartbeat_ms = 1000;
};
struct Refused {
  std::string reason;  // one sentence; the worker prints it and exits
};
/// The coordinator does not know this connection (restart, expiry): say Hello again.
struct Reintroduce {};
struct Grant {
  ShardKey key;
  int64_t attempt = 0;
  std::string model_path;  // as the spec names it; the worker may map it
  std::string shard;       // the frame: encode(Shard)
};
struct Ack {
  ShardKey key;
};
/// Stop it, running or not, and forget it.
struct Revoke {
  ShardKey key;
  int64_t attempt = 0;
};
/// Give it back unless it has started.
struct Recall {
  ShardKey key;
  int64_t attempt = 0;
};
struct DrainOrder {};

// client <-> coordinator
/// One request, one reply. `verb` is "sweep.submit", "sweep.status", ...; see coordinator/requests.h.
struct Request {
  uint64_t number = 0;
  std::string verb;
  Fields fields;
};
struct Reply {
  uint64_t number = 0;
  bool ok = true;
  std::string error;  // one sentence where not ok
  std::string json;   // the answer
};

/// A batch of messages travels as one datagram: header = CBOR array of messages, then the frames in their order.
using Message = std::variant<Hello, Heartbeat, ShardDone, ShardFailed, GiveBack, Welcome, Refused, Reintroduce, Grant, Ack, Revoke,
                             Recall, DrainOrder, Request, Reply>;

/// One header and the frames of all its messages, in order.
struct Packet {
  std::string header;
  std::vector<std::string> frames;
};
Packet encode(const std::vector<Message>& messages);
std::vector<Message> decode(std::string_view header, std::vector<std::string> frames);

// worker daemon <-> runner, over fd 3: u32 size (<= kMaxFrameBytes), then one byte type, then the body (encode/decode below).
struct RunnerReady {
  RunnerInfo info;
  std::string version;
};
struct RunShard {
  ShardKey key;
  std::string model_path;
  std::string shard;
};
struct RunnerProgress {
  ShardKey key;
  double progress = 0;
};
struct RunnerDone {
  ShardKey key;
  double seconds = 0;
  std::string result;
};
struct RunnerFailed {
  ShardKey key;
  Cause cause = Cause::kException;
  std::string message;
};
using RunnerMessage = std::variant<RunnerReady, RunShard, RunnerProgress, RunnerDone, RunnerFailed>;
/// The body after the size: type byte and members.
std::string encode(const RunnerMessage& message);
RunnerMessage decode_runner_message(std::string_view body);

}  // namespace headcount
