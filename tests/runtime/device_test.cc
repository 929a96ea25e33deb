// Both devices; the CUDA one where the build has it, else the sentence that says so.
#include "runtime/device.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

class DeviceTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto device = Device::Open(GetParam(), 0);
    // Not with the words by which ctest would take the whole program for skipped.
    if (!device.ok()) GTEST_SKIP() << "no such device: " << device.status().message();
    device_ = *std::move(device);
  }
  std::unique_ptr<Device> device_;
};

TEST_P(DeviceTest, FreshMemoryIsZero) {
  const int64_t bytes = 5000;
  const auto memory = device_->Allocate("test", bytes);
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(*memory) % 256, 0u);
  std::vector<char> values(bytes, 'x');
  ASSERT_TRUE(device_->CopyToHost(values.data(), *memory, bytes).ok());
  EXPECT_EQ(std::count(values.begin(), values.end(), 0), bytes);
  ASSERT_TRUE(device_->Fill(*memory, 7, bytes - 1).ok());
  ASSERT_TRUE(device_->CopyToHost(values.data(), *memory, bytes).ok());
  EXPECT_EQ(std::count(values.begin(), values.end(), 7), bytes - 1);
  device_->Free(*memory, bytes);
}

// More than the staging memory holds, in pieces that do not divide it; each source is overwritten
// as soon as the call has returned.
TEST_P(DeviceTest, CopiesKeepTheirOrderAndTheirBytes) {
  const std::vector<int64_t> sizes = {1, 0, 3000001, 17, 5000003, 4 << 20, 12345678, 64};
  const int64_t all = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  const auto memory = device_->Allocate("test", all);
  ASSERT_TRUE(memory.ok()) << memory.status();
  const auto byte_at = [](int64_t i) { return static_cast<char>(i * 31 + i / 251); };
  std::vector<char> source;
  int64_t begin = 0;
  for (const int64_t size : sizes) {
    source.resize(size);
    for (int64_t i = 0; i < size; ++i) source[i] = byte_at(begin + i);
    ASSERT_TRUE(
        device_->CopyToDevice(static_cast<char*>(*memory) + begin, source.data(), size).ok());
    std::fill(source.begin(), source.end(), 0);
    begin += size;
  }
  std::vector<char> values(all);
  ASSERT_TRUE(device_->CopyToHost(values.data(), *memory, all).ok());
  int64_t wrong = 0;
  for (int64_t i = 0; i < all; ++i) wrong += values[i] != byte_at(i);
  EXPECT_EQ(wrong, 0);
  device_->Free(*memory, all);
}

// Each round uses (by a fill of its first bytes) what was copied into one place while the other was
// used; nothing waits on the host before the end.
TEST_P(DeviceTest, CopiesAheadAndKernelsTakeTurnsWithTwoPlaces) {
  constexpr int64_t kBytes = 600000;  // of a place: the staging memory is used several times over
  const auto memory = device_->Allocate("test", 2 * kBytes);
  ASSERT_TRUE(memory.ok()) << memory.status();
  const auto place = [&](int round) { return static_cast<char*>(*memory) + round % 2 * kBytes; };
  std::vector<char> source;
  for (int round = 0; round < 40; ++round) {
    source.assign(kBytes, static_cast<char>(round));
    ASSERT_TRUE(device_->BeginCopies(round % 2).ok());
    ASSERT_TRUE(device_->CopyAhead(place(round), source.data(), kBytes).ok());
    ASSERT_TRUE(device_->EndCopies(round % 2).ok());
    std::fill(source.begin(), source.end(), -1);
    ASSERT_TRUE(device_->EndUse(1 - round % 2).ok());
    ASSERT_TRUE(device_->BeginUse(round % 2).ok());
    ASSERT_TRUE(device_->Fill(place(round), 99, 1000).ok());
  }
  std::vector<char> values(2 * kBytes);
  ASSERT_TRUE(device_->CopyToHost(values.data(), *memory, 2 * kBytes).ok());
  EXPECT_EQ(std::count(values.begin(), values.end(), 99), 2000);
  EXPECT_EQ(std::count(values.begin(), values.end(), 38), kBytes - 1000);
  EXPECT_EQ(std::count(values.begin(), values.end(), 39), kBytes - 1000);
  device_->Free(*memory, 2 * kBytes);
}

TEST_P(DeviceTest, SaysWhatItCouldNotAllocate) {
  const auto memory = device_->Allocate("everything", int64_t{1} << 60);
  EXPECT_EQ(ExitCodeOf(memory.status()), ExitCode::kDevice);
  EXPECT_THAT(std::string(memory.status().message()),
              HasSubstr("out of memory: everything: 1152921504606846976 bytes"));
}

TEST_P(DeviceTest, HostTensorsCarryValuesBothWays) {
  const auto memory = device_->Allocate("test", 4096);
  ASSERT_TRUE(memory.ok()) << memory.status();
  const TensorView tensor(*memory, DType::kFloat32, {4, 6});
  HostTensor written = HostTensor::ToWrite(*device_, tensor);
  for (int i = 0; i < 24; ++i) written.view().as<float>()[i] = static_cast<float>(i);
  ASSERT_TRUE(written.Store().ok());
  // Columns 2 and 3 of every row: a view with gaps.
  const auto read = HostTensor::Read(*device_, tensor.Columns(2, 2));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->view().row_stride(), 6);
  for (int row = 0; row < 4; ++row) {
    EXPECT_EQ(read->view().as<float>()[row * 6 + 1], static_cast<float>(row * 6 + 3));
  }
  const auto null = HostTensor::Read(*device_, TensorView());
  ASSERT_TRUE(null.ok());
  EXPECT_TRUE(null->view().null());
  device_->Free(*memory, 4096);
}

std::vector<const char*> DevicesOfThisBuild() {
  if (BuiltWithCuda()) return {"cpu", "cuda"};
  return {"cpu"};
}
INSTANTIATE_TEST_SUITE_P(Devices, DeviceTest, ::testing::ValuesIn(DevicesOfThisBuild()));

TEST(DeviceOpenTest, SaysWhyThereIsNone) {
  EXPECT_EQ(ExitCodeOf(Device::Open("tpu", 0).status()), ExitCode::kUsage);
  const auto refused = [](int local_rank, const std::string& complaint) {
    const absl::Status status = Device::Open("cuda", local_rank).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kDevice);
    EXPECT_THAT(std::string(status.message()), HasSubstr(complaint));
  };
  if (!BuiltWithCuda()) return refused(0, "this sluice was built without CUDA");
  const auto first = Device::Open("cuda", 0);
  ASSERT_TRUE(first.ok()) << first.status();
  if ((*first)->Description().find("emulator") == std::string::npos) {
    GTEST_SKIP() << "how many GPUs a process sees cannot be changed while it runs";
  }
  // One GPU is this rank's, whatever its number.
  EXPECT_TRUE(Device::Open("cuda", 1000).ok());
  setenv("SLUICE_EMULATOR_DEVICES", "2", 1);
  EXPECT_TRUE(Device::Open("cuda", 1).ok());
  refused(2,
          "more ranks on this machine than GPUs: runtime.device cuda: rank 2 of this machine, 2");
  unsetenv("SLUICE_EMULATOR_DEVICES");
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  refused(0, "there is no GPU");
  unsetenv("CUDA_VISIBLE_DEVICES");
}

}  // namespace
}  // namespace sluice
