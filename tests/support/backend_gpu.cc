// What a GPU cannot: choose block orders, or forbid single bytes. Without a GPU the tests are
// skipped, aloud.
#include <cuda_runtime_api.h>

#include "support/backend.h"

namespace sluice::testing {
namespace {

class NeedsGpu : public ::testing::Environment {
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
      GTEST_SKIP() << "SKIPPED: no GPU";
    }
  }
};
[[maybe_unused]] const auto* const needs_gpu = ::testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace

void NarrowOnBackend(const void* /*begin*/, size_t /*bytes*/) {}
int BlockOrders() { return 1; }
const char* SetBlockOrder(int /*order*/) { return "the GPU's own"; }

}  // namespace sluice::testing
