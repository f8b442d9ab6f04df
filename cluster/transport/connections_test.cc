#include "cluster/transport/connections.h"

#include <signal.h>
#include <sys/wait.h>

#include <zmq.hpp>

#include "cluster/transport/transport_fixture.h"

namespace headcount::transport {
namespace {

TEST(Connections, AnEndedConnectionHeardLateIsNoTroubleToWhoeverHasItsDescriptorNow) {
  Connections connections(1000);
  connections.accepted(10);
  connections.heard("ended", 10);
  connections.heard("new", 10);
  connections.disconnected(10);
  connections.sent("ended", 5000);
  EXPECT_EQ(connections.unread("ended"), 0u);
  EXPECT_EQ(connections.unread("new"), 0u);
}

TEST(Connections, AConnectionHeardUnderBothRoutesInTurnIsTheLatest) {
  Connections connections(1000);
  connections.accepted(10);
  connections.heard("new", 10);
  connections.heard("ended", 10);  // late
  connections.heard("new", 10);
  connections.sent("ended", 5000);
  EXPECT_EQ(connections.unread("ended"), 0u);
  connections.disconnected(10);
  connections.sent("new", 5000);
  EXPECT_EQ(connections.unread("new"), 0u);
}

TEST_F(TransportTest, NewcomersAreShutOutBeforeFilesRunOutAndWhoeverIsConnectedStays) {
  const KeyFile file = key("node-1"), late = key("late");
  server.reset();
  const FewFiles few(100);
  start(file.address);
  Client client(file, {.reconnect_ms = 20});
  ASSERT_TRUE(send(client, {Reintroduce{}}));
  ASSERT_TRUE(next());
  // Of another process, so that none of the files are ours.
  const pid_t idle = fork();
  if (idle == 0) {
    const rlimit enough{200, 200};
    setrlimit(RLIMIT_NOFILE, &enough);
    for (int i = 0; i < 120; ++i) raw_connection(file.address);
    pause();
    _exit(0);
  }
  for (int i = 0; i < 500 && server->n_shut_out() == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_GT(server->n_shut_out(), 0);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(send(client, {Reintroduce{}}));
    ASSERT_TRUE(next());
  }
  EXPECT_EQ(client.link().n_connected, 1u);
  kill(idle, SIGKILL);
  waitpid(idle, nullptr, 0);
  Client another(late, {.reconnect_ms = 20});
  ASSERT_TRUE(send(another, {Reintroduce{}}, 20'000));
  EXPECT_TRUE(next());
}

/// Sends one message without end, a MiB at a time with `pause` in between, until it is cut off; how
/// much was taken of it.
size_t send_without_end(const std::string& address, const std::function<void()>& pause) {
  const int fd = raw_connection(address);
  // ZMTP 3.0, mechanism NULL: greeting, READY of a DEALER, then parts that always say "more".
  std::string said("\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL", 16);
  said.resize(64);
  said += std::string("\4\x1c\5READY\xbSocket-Type\0\0\0\6DEALER", 30);
  EXPECT_EQ(::send(fd, said.data(), said.size(), MSG_NOSIGNAL), std::ssize(said));
  const std::string part = std::string("\3\0\0\0\0\0\x10\0\0", 9) + std::string(1 << 20, 'x');
  size_t taken = 0;
  while (taken < size_t{1} << 30) {
    const ssize_t n = ::send(fd, part.data(), part.size(), MSG_NOSIGNAL);
    if (n < 0) break;
    taken += static_cast<size_t>(n);
    pause();
  }
  close(fd);
  return taken;
}

TEST_F(TransportTest, AMessageThatNeverEndsIsDroppedAtItsLimit) {
  const std::string address = server->address();
  server.reset();
  server = std::make_unique<Server>(
      ServerOptions{
          .address = address, .pair = {}, .curve = false, .max_packet_bytes = size_t{8} << 20},
      *allowed);
  const size_t taken = send_without_end(address, [&] { EXPECT_FALSE(next(50)); });
  EXPECT_GT(taken, size_t{8} << 20);
  EXPECT_LT(taken, size_t{31} << 20) << "only the limit of a busy owner, four times as far, held";
  const size_t taken_by_a_busy_owner =
      send_without_end(address, [] { std::this_thread::sleep_for(std::chrono::milliseconds(10)); });
  EXPECT_GT(taken_by_a_busy_owner, size_t{32} << 20);
  EXPECT_LT(taken_by_a_busy_owner, size_t{128} << 20);
  EXPECT_FALSE(next(100));
}

TEST_F(TransportTest, MessagesThatWaitForABusyOwnerAreNotTakenForOneWithoutEnd) {
  const std::string address = server->address();
  server.reset();
  server = std::make_unique<Server>(
      ServerOptions{
          .address = address, .pair = {}, .curve = false, .max_packet_bytes = size_t{8} << 20},
      *allowed);
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.connect(address);
  const std::string frame(6 << 20, 'x');
  for (int i = 0; i < 3; ++i) {
    dealer.send(zmq::buffer(std::string("header")), zmq::send_flags::sndmore);
    dealer.send(zmq::buffer(frame), zmq::send_flags::none);
  }
  std::this_thread::sleep_for(std::chrono::seconds(1));
  std::string route;
  for (int i = 0; i < 3; ++i) {
    const auto incoming = next();
    ASSERT_TRUE(incoming) << i;
    route = incoming->route;
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  dealer.send(zmq::buffer(std::string("still here")), zmq::send_flags::none);
  const auto last = next();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->packet.header, "still here");
  EXPECT_EQ(last->route, route) << "it had to connect again";
}

TEST_F(TransportTest, APeerThatDoesNotReadIsSentOnlySoMuch) {
  const KeyFile file = key("node-1");
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::rcvhwm, 1);
  dealer.set(zmq::sockopt::curve_serverkey, file.coordinator_public);
  dealer.set(zmq::sockopt::curve_publickey, file.pair.public_key);
  dealer.set(zmq::sockopt::curve_secretkey, file.pair.secret_key);
  dealer.connect(file.address);
  dealer.send(zmq::buffer(encode({Reintroduce{}}).header), zmq::send_flags::none);
  const auto incoming = next();
  ASSERT_TRUE(incoming);
  EXPECT_EQ(server->unread(incoming->route), 0u);
  const Packet large = encode({Reply{1, true, "", std::string(8 << 20, 'x')}});
  int n_sent = 0;
  while (n_sent < 100 && server->send(incoming->route, large)) ++n_sent;
  EXPECT_GE(n_sent, 8);
  EXPECT_LT(n_sent, 20);
  EXPECT_GT(server->unread(incoming->route), size_t{64} << 20);
  for (int i = 0; i < n_sent; ++i) {
    for (bool more = true; more; more = dealer.get(zmq::sockopt::rcvmore)) {
      zmq::message_t part;
      ASSERT_TRUE(dealer.recv(part));
    }
  }
  for (int i = 0; i < 500 && server->unread(incoming->route) > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(server->unread(incoming->route), 0u);
  EXPECT_TRUE(server->send(incoming->route, large));
}

}  // namespace
}  // namespace headcount::transport
