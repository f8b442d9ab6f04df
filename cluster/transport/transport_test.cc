#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>
#include <zmq.hpp>

#include "cluster/transport/ports.h"
#include "cluster/transport/transport_fixture.h"

namespace headcount::transport {
namespace {

/// A TCP socket that listens at `address`.
int listen_on(const std::string& address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const sockaddr_in at = loopback(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0) << strerror(errno);
  EXPECT_EQ(listen(fd, 8), 0);
  return fd;
}

TEST_F(TransportTest, APeerIsNamedByItsKey) {
  const KeyFile file = key("node-1");
  Client client(file);
  ASSERT_TRUE(send(
      client, {Hello{.version = "1", .incarnation = 3, .host = "h", .runners = {}, .held = {}}}));
  const auto incoming = next();
  ASSERT_TRUE(incoming);
  EXPECT_EQ(incoming->peer, file.pair.public_key);
  EXPECT_EQ(allowed->find(incoming->peer)->name, "node-1");
  const auto messages = decode(incoming->packet.header, incoming->packet.frames);
  EXPECT_EQ(std::get<Hello>(messages[0]).incarnation, 3u);
  const std::string large(100'000, 's');
  EXPECT_TRUE(server->send(incoming->route,
                           encode({Welcome{"1", 500}, Grant{sha256("a"), 1, "m", "t", 1, large}})));
  const auto back = receive(client);
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(std::get<Grant>(back[1]).shard, large);
  EXPECT_TRUE(client.link().connected);
}

TEST_F(TransportTest, ARoutingIdDoesNotMakeAPeerSomebodyElse) {
  const KeyFile victim = key("victim"), thief = key("thief");
  Client honest(victim);
  ASSERT_TRUE(send(honest, {Reintroduce{}}));
  const auto first = next();
  ASSERT_TRUE(first);
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::routing_id, victim.pair.public_key);
  dealer.set(zmq::sockopt::curve_serverkey, thief.coordinator_public);
  dealer.set(zmq::sockopt::curve_publickey, thief.pair.public_key);
  dealer.set(zmq::sockopt::curve_secretkey, thief.pair.secret_key);
  dealer.connect(thief.address);
  dealer.send(zmq::buffer(encode({Reintroduce{}}).header), zmq::send_flags::none);
  const auto second = next();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->peer, thief.pair.public_key);
}

TEST_F(TransportTest, AnUnknownKeyIsRefusedInOneSentence) {
  KeyFile stranger = key("node-1");
  stranger.pair = new_key_pair();
  Client client(stranger);
  EXPECT_THAT(refusal(client), HasSubstr("refuses this key"));
  EXPECT_FALSE(client.send({Reintroduce{}}));
  EXPECT_FALSE(next(100));
}

TEST_F(TransportTest, ARevokedKeyIsDroppedWhileConnected) {
  const KeyFile file = key("node-1");
  Client client(file);
  ASSERT_TRUE(send(client, {Reintroduce{}}));
  ASSERT_TRUE(next());
  revoke_key(state, "node-1");
  EXPECT_TRUE(allowed->refresh());
  EXPECT_TRUE(send(client, {Reintroduce{}}));
  EXPECT_FALSE(next(200));
  const auto answer = receive(client);
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_THAT(std::get<Refused>(answer[0]).reason, HasSubstr("revoked"));
  Client again(file);
  EXPECT_THAT(refusal(again), HasSubstr("revoked"));
}

TEST_F(TransportTest, AnotherCoordinatorsKeyFileDoesNotConnect) {
  KeyFile file = key("node-1");
  file.coordinator_public = new_key_pair().public_key;
  Client client(file, {.reconnect_ms = 50});
  EXPECT_THAT(
      message_of([&] { ask(client, file.address, "coordinator.info", {}, 1000); }),
      testing::AnyOf(HasSubstr("no coordinator answers"), HasSubstr("not the coordinator")));
}

TEST_F(TransportTest, GarbageOnThePortIsHarmless) {
  const std::string address = server->address();
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    const int fd = raw_connection(address);
    std::string bytes = round % 2 == 0 ? "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
                                       : std::string("\xff\0\0\0\0\0\0\0\1\x7f\3", 11);
    for (int i = 0; i < 5000; ++i) bytes.push_back(static_cast<char>(random()));
    (void)!::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    close(fd);
  }
  EXPECT_FALSE(next(200));
  Client client(key("node-1"));
  ASSERT_TRUE(send(client, {Reintroduce{}}));
  EXPECT_TRUE(next());
}

TEST_F(TransportTest, HostileBytesOfAKeyHolderAreAnErrorOfTheDecoder) {
  const KeyFile file = key("node-1");
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::curve_serverkey, file.coordinator_public);
  dealer.set(zmq::sockopt::curve_publickey, file.pair.public_key);
  dealer.set(zmq::sockopt::curve_secretkey, file.pair.secret_key);
  dealer.connect(file.address);
  const std::string nested(100'000, static_cast<char>(0x81));
  dealer.send(zmq::buffer(nested), zmq::send_flags::none);
  const auto incoming = next();
  ASSERT_TRUE(incoming);
  EXPECT_EQ(incoming->peer, file.pair.public_key);
  EXPECT_THROW(decode(incoming->packet.header, incoming->packet.frames), Error);
}

TEST_F(TransportTest, APortInUseIsOneSentence) {
  const std::string address = server->address();
  EXPECT_THAT(message_of([&] {
                Server(ServerOptions{.address = address, .pair = coordinator_pair(state)},
                       *allowed);
              }),
              HasSubstr("in use by process " + std::to_string(getpid()) + " (hc_transport_te)"));
  EXPECT_THAT(
      message_of([&] {
        Server(ServerOptions{.address = "tcp://192.0.2.1:5555", .pair = coordinator_pair(state)},
               *allowed);
      }),
      HasSubstr("not an address of this machine"));
  EXPECT_THAT(message_of([&] {
                Server(ServerOptions{.address = "nonsense", .pair = coordinator_pair(state)},
                       *allowed);
              }),
              HasSubstr("--listen tcp://HOST:PORT"));
}

TEST(Ports, AreTheSameForTheSameNameAndOutsideTheEphemeralRange) {
  int low = 0, high = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> low >> high;
  const auto ports = ports_for("/var/lib/headcount");
  EXPECT_EQ(ports, ports_for("/var/lib/headcount"));
  EXPECT_NE(ports, ports_for("/home/me/headcount"));
  for (const int port : ports) {
    EXPECT_TRUE(port < low || port > high) << port;
    EXPECT_GE(port, 7400);
    EXPECT_LE(port, 65535);
  }
}

TEST_F(TransportTest, AClientFindsARestartedServer) {
  const KeyFile file = key("node-1");
  Client client(file, {.reconnect_ms = 20});
  ASSERT_TRUE(send(client, {Reintroduce{}}));
  ASSERT_TRUE(next());
  const uint64_t before = client.link().n_connected;
  const std::string address = server->address();
  server.reset();
  start(address);
  // What is sent before the break is noticed is lost: the protocol says everything again.
  bool arrived = false;
  for (int i = 0; i < 50 && !arrived; ++i) {
    client.send({Reintroduce{}});
    arrived = next(100).has_value();
  }
  EXPECT_TRUE(arrived);
  EXPECT_GT(client.link().n_connected, before);
}

TEST_F(TransportTest, SendingToAGoneConnectionSaysSo) {
  EXPECT_FALSE(server->send("nobody", encode({Reintroduce{}})));
}

TEST_F(TransportTest, AQuestionGetsItsAnswer) {
  const KeyFile file = key("me", Role::kClient);
  std::thread answering([&] {
    for (int i = 0; i < 2; ++i) {
      const auto incoming = next();
      if (!incoming) return;
      const auto request =
          std::get<Request>(decode(incoming->packet.header, incoming->packet.frames)[0]);
      server->send(incoming->route, encode({Reply{request.number, i == 0, "no such sweep",
                                                  "{\"verb\": \"" + request.verb + "\"}"}}));
    }
  });
  Client client(file);
  EXPECT_EQ(ask(client, file.address, "sweep.list", {}, 5000), "{\"verb\": \"sweep.list\"}");
  EXPECT_EQ(message_of([&] { ask(client, file.address, "sweep.status", {}, 5000); }),
            "no such sweep");
  answering.join();
  EXPECT_THAT(message_of([&] { ask(client, file.address, "sweep.list", {}, 300); }),
              HasSubstr("did not answer"));
  KeyFile elsewhere = file;
  elsewhere.address = "tcp://127.0.0.1:1";
  Client lost(elsewhere);
  EXPECT_THAT(message_of([&] { ask(lost, elsewhere.address, "sweep.list", {}, 300); }),
              HasSubstr("no coordinator answers at tcp://127.0.0.1:1"));
}

TEST_F(TransportTest, AListThatCannotBeReadStaysAsItWas) {
  const KeyFile file = key("node-1");
  allowed->refresh();
  ASSERT_TRUE(allowed->find(file.pair.public_key));
  key("node-2");
  {
    const FewFiles none(0);
    EXPECT_FALSE(allowed->refresh());
    EXPECT_THAT(allowed->trouble(), HasSubstr("Too many open files"));
    EXPECT_TRUE(allowed->find(file.pair.public_key));
    EXPECT_THAT(message_of([&] { list_keys(state); }), HasSubstr("Too many open files"));
  }
  EXPECT_TRUE(allowed->refresh()) << "the second key is seen as soon as it can be read";
  EXPECT_EQ(allowed->trouble(), "");
  {
    const FewFiles folder_alone(1);
    revoke_key(state, "node-2");
    EXPECT_TRUE(allowed->refresh()) << "the name is gone, whatever can be opened";
    EXPECT_THAT(allowed->trouble(), HasSubstr("node-1"));
    EXPECT_TRUE(allowed->find(file.pair.public_key));
  }
}

TEST_F(TransportTest, AClientOutlivesWhateverAnswersInTheCoordinatorsPlace) {
  const KeyFile file = key("node-1");
  Client client(file, {.reconnect_ms = 20});
  ASSERT_TRUE(send(client, {Reintroduce{}}));
  ASSERT_TRUE(next());
  const std::string address = server->address();
  server.reset();
  const auto rounds = {std::string("HTTP/1.1 400 Bad Request\r\n\r\n") + std::string(100, '\n'),
                       std::string("\xff\0\0\0\0\0\0\0\1\x7f\3\0CURVE", 17) +
                           std::string(47, '\0') + "\4\x20rubbish after the whole greeting",
                       std::string("\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL", 16) + std::string(48, '\0')};
  for (const std::string& rubbish : rounds) {
    const int fd = listen_on(address);
    for (int n = 0; n < 2; ++n) {
      pollfd waiting{fd, POLLIN, 0};
      int came = 0;
      for (int i = 0; i < 500 && came == 0; ++i) {
        came = poll(&waiting, 1, 20);
        client.link();
      }
      ASSERT_EQ(came, 1) << "the client came " << n << " times only to " << rubbish.substr(0, 40);
      const int peer = accept(fd, nullptr, nullptr);
      (void)!::send(peer, rubbish.data(), rubbish.size(), MSG_NOSIGNAL);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      close(peer);
    }
    close(fd);
  }
  start(address);
  bool arrived = false;
  for (int i = 0; i < 200 && !arrived; ++i) {
    client.link();
    client.send({Reintroduce{}});
    arrived = next(50).has_value();
  }
  EXPECT_TRUE(arrived);
  EXPECT_EQ(client.link().refusal, "");
}

TEST_F(TransportTest, KeyFilesArePrivateAndChecked) {
  const std::string path = state + "/node-1.key";
  const KeyFile file = key("node-1");
  write_key_file(path, file);
  struct stat found {};
  ASSERT_EQ(stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  const KeyFile back = read_key_file(path);
  EXPECT_EQ(back.name, "node-1");
  EXPECT_EQ(back.address, server->address());
  EXPECT_EQ(back.pair.secret_key, file.pair.secret_key);
  chmod(path.c_str(), 0640);
  EXPECT_THAT(message_of([&] { read_key_file(path); }), HasSubstr("chmod 600 " + path));
  chmod(path.c_str(), 0600);
  std::ofstream(path) << "role = worker\n";
  EXPECT_THAT(message_of([&] { read_key_file(path); }), HasSubstr("not a Headcount key file"));
  EXPECT_THAT(message_of([&] { read_key_file(state + "/none"); }), HasSubstr("cannot be read"));
}

TEST_F(TransportTest, KeysAreMadeListedAndRevokedByName) {
  key("a");
  key("b", Role::kClient);
  EXPECT_THAT(message_of([&] { key("a"); }), HasSubstr("a key named a already"));
  EXPECT_THAT(message_of([&] { key("../a"); }), HasSubstr("cannot name a key"));
  const auto keys = list_keys(state);
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[1].role, Role::kClient);
  EXPECT_THAT(message_of([&] { revoke_key(state, "c"); }), HasSubstr("there are: a, b"));
  revoke_key(state, "a");
  EXPECT_EQ(list_keys(state).size(), 1u);
  const KeyFile admin = admin_key(state, "tcp://127.0.0.1:1");
  EXPECT_EQ(admin.name, "admin");
  EXPECT_EQ(admin_key(state, "tcp://127.0.0.1:2").pair.public_key, admin.pair.public_key);
  EXPECT_EQ(read_key_file(admin_key_path(state)).address, "tcp://127.0.0.1:2");
  fs::remove(admin_key_path(state));
  EXPECT_EQ(admin_key(state, "tcp://127.0.0.1:2").name, "admin-2");
}

}  // namespace
}  // namespace headcount::transport
