#include "schemas/messages.h"

#include <array>
#include <utility>

#include "schemas/cbor.h"
#include "schemas/error.h"
#include "schemas/printable.h"

namespace headcount {
namespace {

using cbor::Reader;
using cbor::Writer;

constexpr size_t kInlineFrameBytes =
    4096;  // smaller frames ride in the header: a frame of its own costs a box of CURVE
constexpr size_t kInlineHeaderBytes = 2u << 20;  // ... while the header stays below this
constexpr uint64_t kMaxListed = 1u << 16;        // messages in a packet, shards in a list

// Frames on their way in or out.
struct Out {
  Writer header;
  std::vector<std::string> frames;
  void frame(const std::string& bytes) {
    if (bytes.size() <= kInlineFrameBytes && header.out.size() < kInlineHeaderBytes) {
      header.bytes(bytes);
    } else {
      header.boolean(true);
      frames.push_back(bytes);
    }
  }
};

struct In {
  Reader header;
  std::vector<std::string> frames;
  size_t used = 0;
  std::string frame() {
    if (header.peek() == cbor::Type::kBytes) return std::string(header.bytes());
    if (!header.boolean()) header.fail("a frame neither inside nor beside it");
    if (used == frames.size()) header.fail("a frame is missing");
    return std::move(frames[used++]);
  }
};

void put(Writer& w, const Digest& digest) { w.bytes(as_bytes(digest)); }
Digest get_digest(Reader& r) {
  const auto bytes = r.bytes();
  if (bytes.size() != 32) r.fail("a digest that is not 32 bytes");
  return digest_from_bytes(bytes);
}

template <class E>
void put_enum(Writer& w, E value) {
  w.natural(static_cast<uint64_t>(value));
}
template <class E>
E get_enum(Reader& r, E last) {
  const uint64_t value = r.natural();
  if (value > static_cast<uint64_t>(last)) r.fail("a value this version does not know");
  return static_cast<E>(value);
}

std::string text(Reader& r) { return std::string(r.text()); }

// A name: shown in lists and logs as it is.
std::string name(Reader& r, size_t max_bytes) {
  const std::string_view found = r.text();
  if (found.size() > max_bytes) r.fail("a name that is too long");
  if (printable(found, 4 * max_bytes) != found) r.fail("a name with control characters");
  return std::string(found);
}

uint64_t listed(Reader& r) {
  const uint64_t n = r.array();
  if (n > kMaxListed) r.fail("a list that is too long");
  return n;
}

void put(Writer& w, const RunnerInfo& runner) {
  w.array(3);
  w.text(runner.device);
  w.text(runner.tag);
  w.integer(runner.memory_bytes);
}
void put(Writer& w, const std::vector<RunnerInfo>& runners) {
  w.array(runners.size());
  for (const auto& runner : runners) put(w, runner);
}
RunnerInfo get_runner(Reader& r) {
  r.array_of(3);
  RunnerInfo runner;
  runner.device = name(r, kMaxDeviceBytes);
  runner.tag = name(r, kMaxTagBytes);
  runner.memory_bytes = r.integer();
  if (runner.memory_bytes < 0) r.fail("a runner with less than no memory");
  return runner;
}
std::vector<RunnerInfo> get_runners(Reader& r) {
  const uint64_t n = listed(r);
  if (n > kMaxRunners) r.fail("more runners than a worker has");
  std::vector<RunnerInfo> runners(n);
  for (auto& runner : runners) runner = get_runner(r);
  return runners;
}

void put(Writer& w, const std::vector<Held>& held) {
  w.array(held.size());
  for (const auto& one : held) {
    w.array(4);
    put(w, one.key);
    w.integer(one.attempt);
    put_enum(w, one.state);
    w.number(one.progress);
  }
}
std::vector<Held> get_held(Reader& r) {
  std::vector<Held> held(listed(r));
  for (auto& one : held) {
    r.array_of(4);
    one.key = get_digest(r);
    one.attempt = r.integer();
    one.state = get_enum(r, HeldState::kDone);
    one.progress = r.finite();
  }
  return held;
}

// One pair of functions a message: its members in the order of messages.h.

void put(Out& o, const Hello& m) {
  auto& w = o.header;
  w.array(5);
  w.text(m.version);
  w.natural(m.incarnation);
  w.text(m.host);
  put(w, m.runners);
  put(w, m.held);
}
void get(In& i, Hello& m) {
  auto& r = i.header;
  r.array_of(5);
  m.version = name(r, kMaxVersionBytes);
  m.incarnation = r.natural();
  m.host = name(r, kMaxHostBytes);
  m.runners = get_runners(r);
  m.held = get_held(r);
}

void put(Out& o, const Heartbeat& m) {
  auto& w = o.header;
  w.array(m.problem.empty() ? 4 : 5);
  w.natural(m.incarnation);
  put(w, m.runners);
  put(w, m.held);
  w.boolean(m.draining);
  if (!m.problem.empty()) w.text(m.problem);
}
void get(In& i, Heartbeat& m) {
  auto& r = i.header;
  const uint64_t n = r.array();
  if (n != 4 && n != 5) r.fail("a heartbeat of neither 4 nor 5 members");
  m.incarnation = r.natural();
  m.runners = get_runners(r);
  m.held = get_held(r);
  m.draining = r.boolean();
  if (n == 4) return;
  m.problem = name(r, kMaxProblemBytes);
  if (m.problem.empty()) r.fail("a problem that is none");
}

void put(Out& o, const ShardDone& m) {
  auto& w = o.header;
  w.array(7);
  put(w, m.key);
  w.integer(m.attempt);
  w.text(m.tag);
  w.text(m.device);
  put(w, m.hash);
  w.number(m.seconds);
  o.frame(m.result);
}
void get(In& i, ShardDone& m) {
  auto& r = i.header;
  r.array_of(7);
  m.key = get_digest(r);
  m.attempt = r.integer();
  m.tag = name(r, kMaxTagBytes);
  m.device = name(r, kMaxDeviceBytes);
  m.hash = get_digest(r);
  m.seconds = r.finite();
  m.result = i.frame();
}

void put(Out& o, const ShardFailed& m) {
  auto& w = o.header;
  w.array(5);
  put(w, m.key);
  w.integer(m.attempt);
  put_enum(w, m.cause);
  w.text(m.message);
  w.text(m.device);
}
void get(In& i, ShardFailed& m) {
  auto& r = i.header;
  r.array_of(5);
  m.key = get_digest(r);
  m.attempt = r.integer();
  m.cause = get_enum(r, Cause::kModelRefused);
  m.message = printable_lines(r.text(), kMaxFailureBytes);
  m.device = name(r, kMaxDeviceBytes);
}

void put(Out& o, const GiveBack& m) {
  auto& w = o.header;
  w.array(m.shards.size());
  for (const auto& [key, attempt] : m.shards) {
    w.array(2);
    put(w, key);
    w.integer(attempt);
  }
}
void get(In& i, GiveBack& m) {
  auto& r = i.header;
  m.shards.resize(listed(r));
  for (auto& [key, attempt] : m.shards) {
    r.array_of(2);
    key = get_digest(r);
    attempt = r.integer();
  }
}

void put(Out& o, const Welcome& m) {
  o.header.array(2);
  o.header.text(m.version);
  o.header.integer(m.heartbeat_ms);
}
void get(In& i, Welcome& m) {
  i.header.array_of(2);
  m.version = text(i.header);
  m.heartbeat_ms = i.header.integer();
}

void put(Out& o, const Refused& m) {
  o.header.array(m.revoked ? 2 : 1);  // of one member, as every version reads it, where it can be
  o.header.text(m.reason);
  if (m.revoked) o.header.boolean(true);
}
void get(In& i, Refused& m) {
  const uint64_t n = i.header.array();
  if (n != 1 && n != 2) i.header.fail("a refusal of neither one nor two members");
  m.reason = text(i.header);
  if (n == 2 && !(m.revoked = i.header.boolean())) i.header.fail("a member not worth saying");
}

void put(Out& o, const Reintroduce&) { o.header.array(0); }
void get(In& i, Reintroduce&) { i.header.array_of(0); }

void put(Out& o, const Grant& m) {
  o.header.array(6);
  put(o.header, m.key);
  o.header.integer(m.attempt);
  o.header.text(m.model_path);
  o.header.text(m.tag);
  o.header.integer(m.stall_ms);
  o.frame(m.shard);
}
void get(In& i, Grant& m) {
  i.header.array_of(6);
  m.key = get_digest(i.header);
  m.attempt = i.header.integer();
  m.model_path = text(i.header);
  m.tag = text(i.header);
  m.stall_ms = i.header.integer();
  m.shard = i.frame();
}

void put(Out& o, const Ack& m) {
  o.header.array(1);
  put(o.header, m.key);
}
void get(In& i, Ack& m) {
  i.header.array_of(1);
  m.key = get_digest(i.header);
}

template <class KeyAndAttempt>
void put_lease(Out& o, const KeyAndAttempt& m) {
  o.header.array(2);
  put(o.header, m.key);
  o.header.integer(m.attempt);
}
template <class KeyAndAttempt>
void get_lease(In& i, KeyAndAttempt& m) {
  i.header.array_of(2);
  m.key = get_digest(i.header);
  m.attempt = i.header.integer();
}
void put(Out& o, const Revoke& m) { put_lease(o, m); }
void get(In& i, Revoke& m) { get_lease(i, m); }
void put(Out& o, const Recall& m) { put_lease(o, m); }
void get(In& i, Recall& m) { get_lease(i, m); }

void put(Out& o, const DrainOrder&) { o.header.array(0); }
void get(In& i, DrainOrder&) { i.header.array_of(0); }

void put(Out& o, const Request& m) {
  o.header.array(3);
  o.header.natural(m.number);
  o.header.text(m.verb);
  o.frame(to_cbor(m.fields));
}
void get(In& i, Request& m) {
  i.header.array_of(3);
  m.number = i.header.natural();
  m.verb = text(i.header);
  m.fields = fields_from_cbor(i.frame());
}

void put(Out& o, const Reply& m) {
  o.header.array(4);
  o.header.natural(m.number);
  o.header.boolean(m.ok);
  o.header.text(m.error);
  o.frame(m.json);
}
void get(In& i, Reply& m) {
  i.header.array_of(4);
  m.number = i.header.natural();
  m.ok = i.header.boolean();
  m.error = text(i.header);
  m.json = i.frame();
}

// A message's type on the wire is its place in the variant: kProtocolVersion is raised when that
// changes.
template <size_t... I>
Message get_message(In& in, uint64_t type, std::index_sequence<I...>) {
  Message message;
  const bool known = ((type == I && (get(in, message.emplace<I>()), true)) || ...);
  if (!known) in.header.fail("a message of a type this version does not know");
  return message;
}

constexpr uint64_t kRefusedType = 6;
static_assert(std::is_same_v<std::variant_alternative_t<kRefusedType, Message>, Refused>,
              "every version reads every other's Refused: its number never changes");

}  // namespace

Packet encode(const std::vector<Message>& messages) {
  Out out;
  out.header.out.reserve(256 * messages.size());
  out.header.array(2);
  out.header.integer(kProtocolVersion);
  out.header.array(messages.size());
  for (const auto& message : messages) {
    out.header.array(2);
    out.header.natural(message.index());
    std::visit([&](const auto& m) { put(out, m); }, message);
  }
  return {std::move(out.header.out), std::move(out.frames)};
}

std::vector<Message> decode(std::string_view header, std::vector<std::string> frames) {
  if (header.size() > kMaxHeaderBytes) throw Error("a message is larger than its limit of 4 MiB");
  for (const auto& frame : frames) {
    if (frame.size() > kMaxFrameBytes) throw Error("a message carries a frame larger than 256 MiB");
  }
  In in{Reader(header, "a message"), std::move(frames)};
  in.header.array_of(2);
  const int64_t version = in.header.integer();
  const uint64_t n = listed(in.header);
  std::vector<Message> messages;
  for (uint64_t i = 0; i < n; ++i) {
    in.header.array_of(2);
    const uint64_t type = in.header.natural();
    if (version != kProtocolVersion && type != kRefusedType) {
      throw Error("the peer speaks protocol version " + std::to_string(version) +
                  ", this program speaks version " + std::to_string(kProtocolVersion) +
                  ": use the same headcount on both machines");
    }
    messages.push_back(
        get_message(in, type, std::make_index_sequence<std::variant_size_v<Message>>()));
  }
  in.header.end();
  if (in.used != in.frames.size()) in.header.fail("more frames than its messages take");
  return messages;
}

std::string encode(const RunnerMessage& message) {
  Writer w;
  w.natural(message.index());
  struct Put {
    Writer& w;
    void operator()(const RunnerReady& m) const {
      w.array(2);
      put(w, m.info);
      w.text(m.version);
    }
    void operator()(const RunShard& m) const {
      w.array(3);
      put(w, m.key);
      w.text(m.model_path);
      w.bytes(m.shard);
    }
    void operator()(const RunnerProgress& m) const {
      w.array(2);
      put(w, m.key);
      w.number(m.progress);
    }
    void operator()(const RunnerDone& m) const {
      w.array(3);
      put(w, m.key);
      w.number(m.seconds);
      w.bytes(m.result);
    }
    void operator()(const RunnerFailed& m) const {
      w.array(3);
      put(w, m.key);
      put_enum(w, m.cause);
      w.text(m.message);
    }
  };
  std::visit(Put{w}, message);
  return std::move(w.out);
}

RunnerMessage decode_runner_message(std::string_view body) {
  Reader r(body, "a message between worker and runner");
  RunnerMessage message;
  switch (r.natural()) {
    case 0: {
      r.array_of(2);
      RunnerReady m;
      m.info = get_runner(r);
      m.version = text(r);
      message = std::move(m);
      break;
    }
    case 1: {
      r.array_of(3);
      RunShard m;
      m.key = get_digest(r);
      m.model_path = text(r);
      m.shard = std::string(r.bytes());
      message = std::move(m);
      break;
    }
    case 2: {
      r.array_of(2);
      RunnerProgress m;
      m.key = get_digest(r);
      m.progress = r.finite();
      message = m;
      break;
    }
    case 3: {
      r.array_of(3);
      RunnerDone m;
      m.key = get_digest(r);
      m.seconds = r.finite();
      m.result = std::string(r.bytes());
      message = std::move(m);
      break;
    }
    case 4: {
      r.array_of(3);
      RunnerFailed m;
      m.key = get_digest(r);
      m.cause = get_enum(r, Cause::kModelRefused);
      m.message = text(r);
      message = std::move(m);
      break;
    }
    default:
      r.fail("a message of a type this version does not know");
  }
  r.end();
  return message;
}

}  // namespace headcount
