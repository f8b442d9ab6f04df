// What a peer with a valid key may say to the coordinator: rubbish, too much, without end, never
// reading.
#include <deque>
#include <fstream>
#include <nlohmann/json.hpp>
#include <zmq.hpp>

#include "coordinator/coordinator_fixture.h"
#include "store/store.h"

namespace headcount::coordinator {
namespace {

TEST_F(CoordinatorTest, ForeignMessagesGetOneSentenceAndHarmNothing) {
  Worker old(key("node-1"), {}, "0.0.9");
  for (int i = 0; i < 200 && old.refused().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_THAT(old.refused(), HasSubstr("0.0.9"));
  EXPECT_EQ(ask("worker.list").at("workers").size(), 0u);
  EXPECT_THAT(message_of([&] {
                ask("worker.drain", {{"name", std::string("node-1")}});
              }),
              HasSubstr("no worker named"));
  EXPECT_THAT(message_of([&] {
                ask("sweep.status", {{"id", std::string("last")}});
              }),
              HasSubstr("no sweep yet"));
  EXPECT_THAT(message_of([&] { ask("sweep.status"); }), HasSubstr("id"));
}

/// A peer that speaks ZeroMQ and has a key, and keeps to no rule beyond that.
struct RawPeer {
  explicit RawPeer(const transport::KeyFile& key) : dealer(context, zmq::socket_type::dealer) {
    dealer.set(zmq::sockopt::linger, 0);
    dealer.set(zmq::sockopt::rcvtimeo, 10'000);
    dealer.set(zmq::sockopt::rcvhwm, 1);
    dealer.set(zmq::sockopt::sndhwm, 0);
    dealer.set(zmq::sockopt::curve_serverkey, key.coordinator_public);
    dealer.set(zmq::sockopt::curve_publickey, key.pair.public_key);
    dealer.set(zmq::sockopt::curve_secretkey, key.pair.secret_key);
    dealer.connect(key.address);
  }
  void say(const Message& message) {
    const Packet packet = encode({message});
    dealer.send(zmq::buffer(packet.header), zmq::send_flags::none);
  }
  zmq::context_t context;
  zmq::socket_t dealer;
};

int64_t size_of(const std::string& directory) {
  uintmax_t bytes = 0;
  for (const auto& file : fs::recursive_directory_iterator(directory))
    if (file.is_regular_file()) bytes += file.file_size();
  return static_cast<int64_t>(bytes);
}

/// Until the coordinator has taken in all that the peer said before.
void heard_out(RawPeer& peer) {
  peer.dealer.send(zmq::buffer("\x81"), zmq::send_flags::none);
  for (bool heard = false; !heard;) {
    zmq::message_t answer;
    ASSERT_TRUE(peer.dealer.recv(answer));
    while (peer.dealer.get(zmq::sockopt::rcvmore)) {
      zmq::message_t frame;
      ASSERT_TRUE(peer.dealer.recv(frame));
    }
    try {
      const auto messages = decode(answer.to_string_view(), {});
      heard = std::any_of(messages.begin(), messages.end(), [](const Message& message) {
        return std::holds_alternative<Refused>(message);
      });
    } catch (const Error&) {
      continue;  // a grant, whose frames were passed over
    }
  }
}

TEST_F(CoordinatorTest, AClientThatNeverReadsCostsLittleMemoryAndOthersNothing) {
  Hello hello{.version = kVersion, .incarnation = 1, .host = "h", .runners = {}, .held = {}};
  hello.runners.assign(256, {.device = "cpu", .tag = std::string(400, 't')});
  std::deque<RawPeer> workers;
  for (const char* name : {"many-1", "many-2", "many-3", "many-4"})
    workers.emplace_back(key(name)).say(hello);
  const auto listed = [&] { return ask("worker.list").dump().size(); };
  for (int i = 0; i < 500 && listed() < 400'000; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_GT(listed(), 400'000u) << "a large answer";
  const auto before = ask("coordinator.info").at("rss_bytes").get<int64_t>();
  RawPeer client(key("client", transport::Role::kClient));
  for (uint64_t number = 1; number <= 600; ++number) {
    client.say(Request{.number = number, .verb = "worker.list", .fields = {}});
  }
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const auto after = ask("coordinator.info").at("rss_bytes").get<int64_t>();
  EXPECT_LT(after - before, 64 << 20);
  // Whoever reads then is told which of its questions were not answered.
  int n_answered = 0, n_refused = 0;
  for (int i = 0; i < 600; ++i) {
    std::vector<zmq::message_t> parts;
    do {
      ASSERT_TRUE(client.dealer.recv(parts.emplace_back()));
    } while (client.dealer.get(zmq::sockopt::rcvmore));
    std::vector<std::string> frames;
    for (size_t part = 1; part < parts.size(); ++part) frames.push_back(parts[part].to_string());
    for (const Message& message : decode(parts[0].to_string_view(), frames)) {
      const auto& reply = std::get<Reply>(message);
      ++(reply.ok ? n_answered : n_refused);
      if (reply.ok) continue;
      EXPECT_THAT(reply.error, HasSubstr("have not been read yet"));
    }
    if (n_answered + n_refused == 600) break;
  }
  EXPECT_GE(n_answered, 1);
  EXPECT_GT(n_refused, 400);
  EXPECT_GT(listed(), 400'000u);
}

TEST_F(CoordinatorTest, AWorkerThatSaysHelloWithoutEndLeavesTheLogToOthers) {
  RawPeer hostile(key("hostile"));
  for (uint64_t i = 1; i <= 2000; ++i)
    hostile.say(
        Hello{.version = kVersion, .incarnation = i, .host = "h", .runners = {}, .held = {}});
  for (int i = 0; i < 2000; ++i)
    hostile.dealer.send(zmq::buffer("\x81"), zmq::send_flags::none);  // rubbish
  {
    Worker honest(key("honest"));
    wait_for(ask("bench.submit", {{"shards", int64_t{20}}}).at("id"), {"finished"});
  }
  heard_out(hostile);
  std::ifstream log(state + "/coordinator.log");
  int n_lines = 0;
  for (std::string line; std::getline(log, line);) {
    n_lines += line.find("worker hostile says hello") != std::string::npos ||
               line.find("from hostile: ") != std::string::npos;
  }
  EXPECT_GE(n_lines, 20);
  EXPECT_LE(n_lines, 60) << "twenty a minute";
}

TEST_F(CoordinatorTest, AWorkerThatInventsTagsCostsLittleMemory) {
  const auto before = ask("coordinator.info").at("rss_bytes").get<int64_t>();
  const int64_t size_before = size_of(state);
  RawPeer hostile(key("hostile"));
  for (uint64_t i = 1; i <= 2000; ++i) {
    Hello hello{.version = kVersion, .incarnation = i, .host = "h", .runners = {}, .held = {}};
    for (int r = 0; r < 128; ++r) {
      const std::string tag = std::to_string(i) + "-" + std::to_string(r);
      hello.runners.push_back({.device = "cpu", .tag = tag + std::string(480, 't')});
    }
    hostile.say(hello);
  }
  {
    Worker honest(key("honest"));
    wait_for(ask("bench.submit", {{"shards", int64_t{200}}}).at("id"), {"finished"});
  }
  heard_out(hostile);
  EXPECT_LT(ask("coordinator.info").at("rss_bytes").get<int64_t>() - before, 64 << 20);
  EXPECT_LT(size_of(state) - size_before, 10 << 20);
}

TEST_F(CoordinatorTest, AWorkerThatCausesAlarmsWithoutEndFillsNeitherDiskNorMemory) {
  const auto before = ask("coordinator.info").at("rss_bytes").get<int64_t>();
  const int64_t size_before = size_of(state);
  RawPeer hostile(key("hostile"));
  hostile.say(Hello{.version = kVersion, .incarnation = 1, .host = "h", .runners = {}, .held = {}});
  const std::string result = encode(Result{.arrays = {NamedArray{"noop", {}, {0.0}}}});
  for (int i = 0; i < 10'000; ++i) {
    hostile.say(ShardDone{.key = sha256("shard " + std::to_string(i)),
                          .attempt = 1,
                          .tag = std::string(kNoopTag),
                          .device = "cpu",
                          .hash = sha256(result),
                          .seconds = 0.001,
                          .result = result});
  }
  {
    Worker honest(key("honest"));
    wait_for(ask("bench.submit", {{"shards", int64_t{200}}}).at("id"), {"finished"});
  }
  heard_out(hostile);
  EXPECT_LT(ask("coordinator.info").at("rss_bytes").get<int64_t>() - before, 64 << 20);
  EXPECT_LT(size_of(state) - size_before, 10 << 20);
  const auto alarms = store::Store::open_read_only(state).alarms();
  EXPECT_LE(alarms.size(), 60u) << "twenty a minute";
  EXPECT_GE(alarms.size(), 20u);
}

TEST_F(CoordinatorTest, NestedBytesOfAWorkerGetASentenceAndTheSweepGoesOn) {
  const auto hostile = key("hostile");
  RawPeer peer(hostile);
  zmq::socket_t& dealer = peer.dealer;
  for (const int byte : {0x81, 0xa1, 0x9f, 0xd8, 0xff}) {
    const std::string nested(100'000, static_cast<char>(byte));
    dealer.send(zmq::buffer(nested), zmq::send_flags::none);
    zmq::message_t answer;
    ASSERT_TRUE(dealer.recv(answer));
    EXPECT_THAT(std::get<Refused>(decode(answer.to_string_view(), {}).at(0)).reason,
                HasSubstr("malformed"));
  }
  Worker worker(key("node-1"));
  const int64_t id = ask("bench.submit", {{"shards", int64_t{100}}}).at("id");
  wait_for(id, {"finished"});
}

}  // namespace
}  // namespace headcount::coordinator
