#include "cluster/transport/connections.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace headcount::transport
