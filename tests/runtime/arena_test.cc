#include "runtime/arena.h"

#include <cmath>

#include "core/error.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(ArenaTest, SlicesAreAlignedDisjointAndCounted) {
  const auto device = Device::OpenCpu();
  Arena arena;
  const TensorView* a = arena.Reserve("a", MemoryPurpose::kActivations, DType::kBFloat16, {3, 5});
  const TensorView* b = arena.Reserve("b", MemoryPurpose::kGradients, DType::kFloat32, {7});
  EXPECT_EQ(a->data(), nullptr);
  EXPECT_EQ(arena.bytes(), 512);
  EXPECT_EQ(arena.bytes(MemoryPurpose::kGradients), 256);
  ASSERT_TRUE(arena.Allocate(ArenaFill::kPoison, *device).ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a->data()) % 256, 0u);
  EXPECT_EQ(static_cast<char*>(b->data()) - static_cast<char*>(a->data()), 256);
  EXPECT_TRUE(std::isnan(static_cast<float>(a->as<bf16>()[14])));  // poisoned
  EXPECT_EQ(b->as<float>()[6], 0);  // state starts at zero whatever the fill
}

TEST(ArenaTest, SaysWhatItCouldNotAllocate) {
  const auto device = Device::OpenCpu();
  Arena arena;
  arena.Reserve("huge", MemoryPurpose::kScratch, DType::kFloat32, {int64_t{1} << 60});
  const absl::Status status = arena.Allocate(ArenaFill::kZero, *device);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kDevice);
  EXPECT_NE(status.message().find("4611686018427387904 bytes"), absl::string_view::npos) << status;
}

TEST(ArenaDeathTest, ReservingAfterAllocationIsAMistake) {
  const auto device = Device::OpenCpu();
  Arena arena;
  ASSERT_TRUE(arena.Allocate(ArenaFill::kZero, *device).ok());
  EXPECT_DEATH(arena.Reserve("late", MemoryPurpose::kScratch, DType::kFloat32, {1}),
               "slice late was reserved after");
}

}  // namespace
}  // namespace sluice
