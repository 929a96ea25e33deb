// Signals that ask a run to stop reach every rank, also ranks that are threads of one process.
#include "train/stop_signal.h"

#include <gtest/gtest.h>

#include <csignal>

namespace sluice {
namespace {

void (*CurrentHandler())(int) {
  struct sigaction current = {};
  sigaction(SIGTERM, nullptr, &current);
  return current.sa_handler;
}

TEST(StopSignal, IsSeenByARankThatBeginsToListenLater) {
  const StopSignal first;
  EXPECT_EQ(first.received(), 0);
  raise(SIGTERM);
  const StopSignal second;
  EXPECT_EQ(first.received(), SIGTERM);
  EXPECT_EQ(second.received(), SIGTERM);
}

TEST(StopSignal, ListensUntilTheLastRankIsGoneAndForgetsBetweenRuns) {
  ASSERT_EQ(CurrentHandler(), SIG_DFL);
  {
    const StopSignal last;
    { const StopSignal first; }
    ASSERT_NE(CurrentHandler(), SIG_DFL);
    raise(SIGTERM);
    EXPECT_EQ(last.received(), SIGTERM);
  }
  EXPECT_EQ(CurrentHandler(), SIG_DFL);
  const StopSignal next;
  EXPECT_EQ(next.received(), 0);
}

}  // namespace
}  // namespace sluice
