// Callers of Device that leave a step of the copies ahead out: the emulator's order checker stops
// each, so it would stop a device whose events order less than device.h says.
#include <vector>

#include "gtest/gtest.h"
#include "runtime/device.h"

namespace sluice {
namespace {

constexpr int64_t kBytes = 4096;

class DeviceOrderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = Device::Open("cuda", 0);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    auto memory = device_->Allocate("test", kBytes);
    ASSERT_TRUE(memory.ok()) << memory.status();
    memory_ = *memory;
  }
  void TearDown() override { device_->Free(memory_, kBytes); }

  void Copy() { ASSERT_TRUE(device_->CopyAhead(memory_, values_.data(), kBytes).ok()); }
  void Use() { ASSERT_TRUE(device_->Fill(memory_, 1, kBytes).ok()); }

  std::unique_ptr<Device> device_;
  void* memory_ = nullptr;
  std::vector<char> values_ = std::vector<char>(kBytes);
};

TEST_F(DeviceOrderTest, FreshMemoryMayBeCopiedInto) { Copy(); }

TEST_F(DeviceOrderTest, KernelsMustWaitForCopies) {
  Copy();
  EXPECT_DEATH(Use(), "writes memory that cudaMemcpyAsync.* writes, with no wait in between");
  ASSERT_TRUE(device_->BeginUse(0).ok());
  EXPECT_DEATH(Use(), "with no wait in between");  // EndCopies was left out
  ASSERT_TRUE(device_->EndCopies(1).ok());
  ASSERT_TRUE(device_->BeginUse(0).ok());
  EXPECT_DEATH(Use(), "with no wait in between");  // the other place's
  ASSERT_TRUE(device_->BeginUse(1).ok());
  Use();
}

TEST_F(DeviceOrderTest, CopiesMustWaitForKernels) {
  Use();
  EXPECT_DEATH(Copy(), "cudaMemcpyAsync.* writes memory that cudaMemsetAsync.* writes");
  ASSERT_TRUE(device_->BeginCopies(0).ok());
  EXPECT_DEATH(Copy(), "with no wait in between");  // EndUse was left out
  ASSERT_TRUE(device_->EndUse(0).ok());
  ASSERT_TRUE(device_->BeginCopies(0).ok());
  Copy();
}

TEST_F(DeviceOrderTest, FreeingWaitsForCopies) { Copy(); }

}  // namespace
}  // namespace sluice
