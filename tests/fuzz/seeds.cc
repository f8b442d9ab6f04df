// Writes seeds for the readers of what our own programs write, from the repository's root:
// build/fuzz/fuzz_seeds tests/fuzz/corpus
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "cluster/transport/keys.h"
#include "schemas/cbor.h"
#include "schemas/messages.h"
#include "schemas/result.h"
#include "worker/journal_format.h"

namespace {

using namespace headcount;
namespace fs = std::filesystem;

fs::path corpus;

void put(const std::string& reader, const std::string& name, const std::string& bytes) {
  fs::create_directories(corpus / reader);
  std::ofstream(corpus / reader / name, std::ios::binary) << bytes;
}

Shard a_shard() {
  Shard shard;
  shard.kind = "head_importance";
  shard.model = to_hex(sha256("model"));
  shard.dtype = "float32";
  shard.params = {{"ig_steps", int64_t{4}}, {"path_mode", std::string("diagonal")}, {"tol", 0.1}};
  shard.seed = 7;
  shard.micro_batch = 16;
  shard.rows.resize(2);
  shard.rows[0] = {.id = 1,
                   .ids = {1, 2, 3},
                   .labels = {1, 2, 3},
                   .span_begin = 1,
                   .span_end = 3,
                   .choices = {}};
  shard.rows[1] = {.id = 2, .ids = {4, 5}, .labels = {}, .choices = {{6}, {7, 8}}, .choice_at = 2};
  return shard;
}

std::string a_result() {
  return encode(Result{{{.name = "value", .shape = {2}, .data = {0.5, -1}}}});
}

ShardDone done(const std::string& name) {
  return {.key = sha256(name),
          .attempt = 2,
          .tag = "tag",
          .device = "cpu",
          .hash = sha256(a_result()),
          .seconds = 0.5,
          .result = a_result()};
}

void messages() {
  const Digest key = sha256("a");
  const std::vector<RunnerInfo> runners = {{"cpu", "tag", 7}};
  const std::vector<Held> held = {{key, 3, HeldState::kRunning, 0.5}};
  const std::vector<Message> all = {
      Hello{"0.1.0", 5, "host", runners, held},
      Heartbeat{5, runners, held, true, "its disk is full"},
      done("a"),
      ShardFailed{key, 1, Cause::kStall, "no progress", "cpu"},
      GiveBack{{{key, 1}}},
      Welcome{"0.1.0", 500},
      Refused{"revoked"},
      Reintroduce{},
      Grant{key, 1, "builtin:addition", "tag", 5000, encode(a_shard())},
      Ack{key},
      Revoke{key, 9},
      Recall{key, 1},
      DrainOrder{},
      Request{5, "sweep.status", {{"id", std::string("last")}, {"full", true}}},
      Reply{5, false, "no such sweep", "{}"}};
  cbor::Writer envelope;  // of one message of a type below 24: what the fuzzer puts before the rest
  envelope.array(2);
  envelope.integer(kProtocolVersion);
  envelope.array(1);
  envelope.array(2);
  envelope.natural(0);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string header = encode({all[i]}).header;
    put("messages", "message_" + std::to_string(i),
        static_cast<char>(i) + header.substr(envelope.out.size()));
  }
  const std::vector<RunnerMessage> runner = {
      RunnerReady{{"cpu", "tag", 7}, "0.1.0"}, RunShard{key, "path", encode(a_shard())},
      RunnerProgress{key, 0.5}, RunnerDone{key, 0.1, a_result()},
      RunnerFailed{key, Cause::kOutOfMemory, "memory"}};
  for (size_t i = 0; i < runner.size(); ++i) {
    put("messages", "runner_" + std::to_string(i),
        static_cast<char>(all.size() + i) + encode(runner[i]).substr(1));
  }
  put("messages", "packet", static_cast<char>(all.size() + runner.size()) + encode(all).header);
}

void journals() {
  std::string bytes(worker::kJournalHeader);
  worker::put_result(bytes, done("a"));
  worker::put_acknowledgement(bytes, sha256("a"));
  worker::put_result(bytes, done("b"));
  put("journal", "two_results", bytes);
  worker::put_result(bytes, done("c"));
  put("journal", "torn", bytes.substr(0, bytes.size() - 9));
  bytes[bytes.size() - 300] ^= 1;
  put("journal", "flipped", bytes);
  put("journal", "later", "headcount journal 2\n");
  // Of the first format (worker/journal_format.h).
  const std::string header = encode({done("a")}).header;
  std::string payload(4, '\0');
  payload[0] = static_cast<char>(header.size() & 255);
  payload[1] = static_cast<char>(header.size() >> 8);
  payload += header;
  std::string first("R\0\0\0\0", 5);
  first[1] = static_cast<char>(payload.size() & 255);
  first[2] = static_cast<char>(payload.size() >> 8);
  first += payload;
  put("journal", "first_format", first.append(as_bytes(sha256(payload)).substr(0, 8)));
}

void shards() {
  put("shard", "shard", encode(a_shard()));
  put("shard", "result", a_result());
  const std::string file = corpus / "shard" / "file";
  write_shard_file(file, {.model_paths = {{a_shard().model, "m"}}, .shards = {a_shard()}});
}

void keys() {
  fs::create_directories(corpus / "key");
  transport::write_key_file(corpus / "key" / "worker",
                            {.role = transport::Role::kWorker,
                             .name = "node1",
                             .address = "tcp://head.example:7600",
                             .coordinator_public = std::string(40, '1'),
                             .pair = {std::string(40, '2'), std::string(40, '3')}});
}

/// The examples, of a model that is not there: a fuzzer should not read real ones.
void specs() {
  for (const auto& entry : fs::directory_iterator("examples")) {
    if (entry.path().extension() != ".toml") continue;
    std::ifstream in(entry.path());
    std::string text{std::istreambuf_iterator<char>(in), {}};
    for (size_t at = 0; (at = text.find("builtin:", at)) != text.npos;)
      text.replace(at, 8, "absent/");
    put("spec", entry.path().stem(), text);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  corpus = argv[1];
  messages();
  journals();
  shards();
  keys();
  specs();
  return 0;
}
