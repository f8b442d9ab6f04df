#include "cli/interrupt.h"

#include <signal.h>

#include <array>
#include <csignal>

namespace headcount::cli {
namespace {

constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};

// A signal handler can reach nothing else.
volatile std::sig_atomic_t counted = 0;

void count_one(int) { counted = counted + 1; }

}  // namespace

Interrupt::Interrupt() {
  counted = 0;
  struct sigaction action {};
  action.sa_handler = count_one;
  ::sigemptyset(&action.sa_mask);
  for (const int signal : kSignals) ::sigaction(signal, &action, nullptr);
}

Interrupt::~Interrupt() {
  for (const int signal : kSignals) ::signal(signal, SIG_DFL);
}

int Interrupt::count() const { return counted; }

}  // namespace headcount::cli
