// Runs a test once for each instruction set that the kernels are compiled for and this processor
// has, so that a machine with AVX-512 also judges what runs elsewhere.
#pragma once

#include <cstdio>

#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "hwy/targets.h"

namespace sluice::testing {

template <typename Body>
void ForEachInstructionSet(const Body& body) {
  const auto supported = hwy::SupportedTargets();
  int count = 0;
  for (const auto target : {HWY_AVX3, HWY_AVX2, HWY_SCALAR}) {
    if (target != HWY_SCALAR && (supported & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    std::printf("instruction set %s\n", hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
    ++count;
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(supported);
  EXPECT_GE(count, 1);
}

}  // namespace sluice::testing
