// What travels between coordinator, workers and clients, and between a worker daemon and its
// runner. One message is a CBOR header (protocol version, type, typed members) and, where it has
// them, byte frames carried apart from it. Readers check depth (<= 16) and sizes before they build
// anything; every decode throws Error on anything else than encode's output.
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

constexpr int64_t kProtocolVersion = 2;
/// Numerics tags that are none: whichever runner; the worker daemon itself, without a runner.
inline constexpr std::string_view kAnyTag = "any", kNoopTag = "noop";
constexpr size_t kMaxHeaderBytes = 4 << 20;
constexpr size_t kMaxFrameBytes = 256u << 20;
/// What a worker may say of itself, in bytes of text without control characters; and how many
/// runners it may have.
constexpr size_t kMaxHostBytes = 256, kMaxVersionBytes = 64, kMaxDeviceBytes = 64,
                 kMaxTagBytes = 512, kMaxRunners = 4096;
constexpr size_t kMaxFailureBytes = 64 << 10;  // of ShardFailed::message; more is cut
constexpr size_t kMaxProblemBytes = 500;       // of Heartbeat::problem

/// Where a shard a worker holds stands.
enum class HeldState { kQueued, kRunning, kDone };
struct Held {
  ShardKey key;
  int64_t attempt = 0;
  HeldState state = HeldState::kQueued;
  double progress = 0;  // 0..1 of a running one; only its growth renews a lease
  bool operator==(const Held&) const = default;
};

/// One runner of a worker, as it introduced itself.
struct RunnerInfo {
  std::string device;  // cpu | cuda:N
  std::string tag;     // numerics tag; empty until the runner has said it. noop shards need none
  int64_t memory_bytes = 0;  // nominal: the runner's share of its device's; 0: nobody says
  bool operator==(const RunnerInfo&) const = default;
};

// worker -> coordinator
/// First message of a connection and after every Reintroduce. A higher incarnation replaces an
/// older connection of the same key.
struct Hello {
  std::string version;       // of the program: must be equal on both sides
  uint64_t incarnation = 0;  // grows with every start of the daemon
  std::string host;
  std::vector<RunnerInfo> runners;
  std::vector<Held> held;
  bool operator==(const Hello&) const = default;
};
/// Every heartbeat interval, and at once when runners or drain change: all work held, whatever its
/// state.
struct Heartbeat {
  uint64_t incarnation = 0;
  std::vector<RunnerInfo> runners;
  std::vector<Held> held;
  bool draining = false;
  std::string problem;  // why it takes no shards for now (its disk is full), one line; empty: none
  bool operator==(const Heartbeat&) const = default;
};
/// A finished shard. Kept by the worker, on disk, until Ack. Frame: encode(Result).
struct ShardDone {
  ShardKey key;
  int64_t attempt = 0;
  std::string tag, device;
  Digest hash;
  double seconds = 0;
  std::string result;  // the frame
  bool operator==(const ShardDone&) const = default;
};
/// Why an attempt failed; only the shard being executed is charged.
enum class Cause { kException, kSignal, kCuda, kStall, kOutOfMemory, kKilled, kModelRefused };
struct ShardFailed {
  ShardKey key;
  int64_t attempt = 0;
  Cause cause = Cause::kException;
  std::string message;  // exit status or what(); then the stderr tail, memory, device as the user
                        // should see them
  std::string device;
  bool operator==(const ShardFailed&) const = default;
};
/// The worker gives back shards it never started (drain, recall answered).
struct GiveBack {
  std::vector<std::pair<ShardKey, int64_t>> shards;
  bool operator==(const GiveBack&) const = default;
};

// coordinator -> worker
struct Welcome {
  std::string version;
  int64_t heartbeat_ms = 1000;
  bool operator==(const Welcome&) const = default;
};
struct Refused {
  std::string reason;    // one sentence
  bool revoked = false;  // the key is no longer allowed: the one refusal that ends a worker at work
  bool operator==(const Refused&) const = default;
};
/// The coordinator does not know this connection (restart, expiry): say Hello again.
struct Reintroduce {
  bool operator==(const Reintroduce&) const = default;
};
struct Grant {
  ShardKey key;
  int64_t attempt = 0;
  std::string model_path;  // as the spec names it; the worker may map it
  std::string tag;  // of the runner that must compute it; kAnyTag: whichever; kNoopTag: the daemon
  int64_t stall_ms = 300'000;  // the runner is killed after so long without progress
  std::string shard;           // the frame: encode(Shard)
  bool operator==(const Grant&) const = default;
};
struct Ack {
  ShardKey key;
  bool operator==(const Ack&) const = default;
};
/// Stop it, running or not, and forget it.
struct Revoke {
  ShardKey key;
  int64_t attempt = 0;
  bool operator==(const Revoke&) const = default;
};
/// Give it back unless it has started.
struct Recall {
  ShardKey key;
  int64_t attempt = 0;
  bool operator==(const Recall&) const = default;
};
struct DrainOrder {
  bool operator==(const DrainOrder&) const = default;
};

// client <-> coordinator
/// One request, one reply. `verb` is "sweep.submit", "sweep.status", ...; see
/// coordinator/requests.h.
struct Request {
  uint64_t number = 0;
  std::string verb;
  Fields fields;
  bool operator==(const Request&) const = default;
};
struct Reply {
  uint64_t number = 0;
  bool ok = true;
  std::string error;  // one sentence where not ok
  std::string json;   // the answer
  bool operator==(const Reply&) const = default;
};

/// A batch of messages travels as one datagram: header = CBOR array of messages, then the frames in
/// their order.
using Message = std::variant<Hello, Heartbeat, ShardDone, ShardFailed, GiveBack, Welcome, Refused,
                             Reintroduce, Grant, Ack, Revoke, Recall, DrainOrder, Request, Reply>;

/// One header and the frames of its messages that were too large to ride in it (above 4 KiB), in
/// order.
struct Packet {
  std::string header;
  std::vector<std::string> frames;
};
/// At most 65,536 messages; a sender of many keeps a packet near 1 MiB (kMaxHeaderBytes is
/// refused).
Packet encode(const std::vector<Message>& messages);
/// Throws Error on anything encode does not write; of a peer of another protocol version only a
/// Refused is read.
std::vector<Message> decode(std::string_view header, std::vector<std::string> frames);

// worker daemon <-> runner, over fd 3: u32 size (<= kMaxFrameBytes), then one byte type, then the
// body (encode/decode below).
struct RunnerReady {
  RunnerInfo info;
  std::string version;
  bool operator==(const RunnerReady&) const = default;
};
struct RunShard {
  ShardKey key;
  std::string model_path;
  std::string shard;
  bool operator==(const RunShard&) const = default;
};
struct RunnerProgress {
  ShardKey key;
  double progress = 0;
  bool operator==(const RunnerProgress&) const = default;
};
struct RunnerDone {
  ShardKey key;
  double seconds = 0;
  std::string result;
  bool operator==(const RunnerDone&) const = default;
};
struct RunnerFailed {
  ShardKey key;
  Cause cause = Cause::kException;
  std::string message;
  bool operator==(const RunnerFailed&) const = default;
};
using RunnerMessage = std::variant<RunnerReady, RunShard, RunnerProgress, RunnerDone, RunnerFailed>;
/// The body after the size: type byte and members.
std::string encode(const RunnerMessage& message);
RunnerMessage decode_runner_message(std::string_view body);

}  // namespace headcount
