// Runs a test body once on each instruction set that the vector kernels are compiled for and that
// this processor has, so that the fallbacks are tested on the newest machine too. On the emulator:
// once in each order of blocks and warps.
#pragma once

#include <cstdio>

#include "kernels/cpu/highway_targets.h"
// clang-format off: the list of targets comes before highway.h
#include "hwy/highway.h"
#include "hwy/targets.h"
// clang-format on

#include "gtest/gtest.h"
#include "support/backend.h"

namespace sluice::testing {

template <typename Body>
void OnEachBlockOrder(const Body& body) {
  for (int order = 0; order < BlockOrders(); ++order) {
    const char* name = SetBlockOrder(order);
    SCOPED_TRACE(name);
    std::printf("[block order] %s\n", name);
    body();
  }
  SetBlockOrder(0);
}

template <typename Body>
void OnEachInstructionSet(const Body& body) {
  if (kOnCuda) return OnEachBlockOrder(body);
  int targets = 0;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    std::printf("[instruction set] %s\n", hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
    ++targets;
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_GE(targets, 1);
}

}  // namespace sluice::testing
