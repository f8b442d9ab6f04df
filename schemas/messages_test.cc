#include "schemas/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "schemas/error.h"

namespace headcount {
namespace {

std::vector<Message> one_of_each() {
  const Digest a = sha256("a"), b = sha256("b");
  const std::string large(10000, 'x');
  return {
      Hello{"0.1.0",
            7,
            "node-1",
            {{"cpu", "tag", 64'000}, {"cuda:0", ""}},
            {{a, 3, HeldState::kRunning, 0.25}}},
      Heartbeat{7,
                {{"cpu", "tag"}},
                {{a, 3, HeldState::kDone, 1}, {b, 1, HeldState::kQueued, 0}},
                true,
                ""},
      Heartbeat{7, {}, {}, false, "cannot write journal: No space left on device"},
      ShardDone{a, 3, "tag", "cpu", b, 1.5, "small"},
      ShardDone{b, 4, "tag", "cpu", a, 0.5, large},
      ShardFailed{a, 1, Cause::kStall, "no progress for 300 s", "cpu"},
      GiveBack{{{a, 1}, {b, 2}}},
      Welcome{"0.1.0", 500},
      Refused{"install the same version on both"},
      Refused{"this key was revoked", true},
      Reintroduce{},
      Grant{a, 1, "builtin:addition", "tag", 5000, large},
      Ack{a},
      Revoke{a, 9},
      Recall{b, 1},
      DrainOrder{},
      Request{5, "sweep.status", {{"id", std::string("last")}, {"full", true}}},
      Reply{5, false, "no such sweep", "{}"},
  };
}

std::vector<RunnerMessage> runner_messages() {
  const Digest a = sha256("a");
  return {RunnerReady{{"cpu", "tag", 7}, "0.1.0"}, RunShard{a, "builtin:addition", "shard"},
          RunnerProgress{a, 0.5}, RunnerDone{a, 0.1, "result"},
          RunnerFailed{a, Cause::kOutOfMemory, "out of memory"}};
}

TEST(Messages, EveryTypeComesBackAsItWas) {
  const auto messages = one_of_each();
  const Packet packet = encode(messages);
  EXPECT_EQ(packet.frames.size(), 2u);
  EXPECT_EQ(decode(packet.header, packet.frames), messages);
  for (const auto& message : runner_messages())
    EXPECT_EQ(decode_runner_message(encode(message)), message);
}

TEST(Messages, EveryTruncationIsAnError) {
  for (const auto& message : one_of_each()) {
    const Packet packet = encode({message});
    for (size_t n = 0; n < packet.header.size(); ++n) {
      EXPECT_THROW(decode(packet.header.substr(0, n), packet.frames), Error)
          << message.index() << " cut at " << n;
    }
    EXPECT_THROW(decode(packet.header + '\0', packet.frames), Error);
  }
  for (const auto& message : runner_messages()) {
    const std::string body = encode(message);
    for (size_t n = 0; n < body.size(); ++n)
      EXPECT_THROW(decode_runner_message(body.substr(0, n)), Error);
    EXPECT_THROW(decode_runner_message(body + '\0'), Error);
  }
}

TEST(Messages, AProblemIsOneShortLine) {
  for (const std::string& problem : {std::string("two\nlines"), std::string("\x1b[2J"),
                                     std::string(kMaxProblemBytes + 1, 'x')}) {
    const Packet packet = encode({Heartbeat{7, {}, {}, false, problem}});
    EXPECT_THROW(decode(packet.header, packet.frames), Error) << problem;
  }
}

TEST(Messages, MissingAndExtraFramesAreErrors) {
  Packet packet = encode(one_of_each());
  auto fewer = packet.frames;
  fewer.pop_back();
  EXPECT_THROW(decode(packet.header, fewer), Error);
  packet.frames.push_back("one more");
  EXPECT_THROW(decode(packet.header, packet.frames), Error);
}

TEST(Messages, DamagedBytesGiveAnErrorOrAnotherMessageNeverACrash) {
  std::mt19937 random(20261120);
  const Packet packet = encode(one_of_each());
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string header = packet.header;
    for (int i = 0; i < 1 + round % 4; ++i)
      header[random() % header.size()] = static_cast<char>(random());
    try {
      decode(header, packet.frames);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Messages, DeepNestingIsRefusedAtOnce) {
  const std::string nested(100'000, static_cast<char>(0x81));  // lists of one list of one list ...
  const std::string maps(100'000, static_cast<char>(0xa1));
  const std::string endless(100'000, static_cast<char>(0x9f));  // indefinite lengths
  const std::string tags(100'000, static_cast<char>(0xc1));
  for (const auto& bytes : {nested, maps, endless, tags}) {
    EXPECT_THROW(decode(bytes, {}), Error);
    EXPECT_THROW(decode(std::string("\x82\x02\x81\x82\x00", 5) + bytes, {}),
                 Error);  // inside a Hello
    EXPECT_THROW(decode_runner_message(bytes), Error);
  }
}

TEST(Messages, AHugeAnnouncedLengthTakesNoMemory) {
  const std::string huge = std::string("\x82\x02\x9b", 3) + std::string(8, '\x7f');
  EXPECT_THROW(decode(huge, {}), Error);
  EXPECT_THROW(decode(std::string(kMaxHeaderBytes + 1, '\0'), {}), Error);
}

TEST(Messages, AnotherProtocolVersionIsNamedButItsRefusalIsRead) {
  Packet hello = encode({Hello{}});
  hello.header[1] = kProtocolVersion + 1;
  try {
    decode(hello.header, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("protocol version 3"), std::string::npos)
        << error.what();
  }
  Packet refused = encode({Refused{"too old"}});
  refused.header[1] = kProtocolVersion + 1;
  EXPECT_EQ(decode(refused.header, {}), std::vector<Message>{Refused{"too old"}});
}

TEST(Messages, AWorkerWhoseNamesAreTooLongOrNoneIsRefused) {
  const auto refusal = [](const Hello& hello) {
    try {
      decode(encode({hello}).header, {});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  Hello hello{.version = "1", .incarnation = 1, .host = "node-1", .runners = {}, .held = {}};
  EXPECT_EQ(refusal(hello), "");
  hello.host = std::string(kMaxHostBytes + 1, 'h');
  EXPECT_THAT(refusal(hello), testing::HasSubstr("too long"));
  hello.host = "node\n2026-11-21T00:00:00.000Z coordinator stops";
  EXPECT_THAT(refusal(hello), testing::HasSubstr("control characters"));
  hello.host = "node-1";
  hello.runners = {{.device = "cpu", .tag = std::string(kMaxTagBytes + 1, 't')}};
  EXPECT_THAT(refusal(hello), testing::HasSubstr("too long"));
  hello.runners.assign(kMaxRunners + 1, {.device = "cpu", .tag = "t"});
  EXPECT_THAT(refusal(hello), testing::HasSubstr("more runners"));
}

TEST(Messages, AFailuresTextIsCutAndMovesNoCursor) {
  ShardFailed failed;
  failed.message = "it died\n\x1b[2Jof it" + std::string(1 << 20, 'x');
  const auto back = decode(encode({failed}).header, {});
  const std::string& text = std::get<ShardFailed>(back.at(0)).message;
  EXPECT_EQ(text.substr(0, 19), "it died\n\\x1b[2Jof i");
  EXPECT_LT(text.size(), kMaxFailureBytes + 100);
}

}  // namespace
}  // namespace headcount
