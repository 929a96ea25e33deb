#include "kernels/api/parameter_update.h"

#include <cmath>

#include "gtest/gtest.h"
#include "support/backend.h"

namespace sluice {
namespace {

using ::sluice::testing::BackendVector;
using ::sluice::testing::kOnCuda;
using ::sluice::testing::OnBackend;
using ::sluice::testing::RunOnBackend;

// Clipping is torch's; what is not finite is skipped. On the device the same, of values in its
// memory.
TEST(DecideUpdateTest, ClipsAndSkips) {
  const double infinity = INFINITY, none = std::nan("");
  const struct {
    double norm, loss, max_norm;
    double clipping;
    bool skip;
  } cases[] = {{0.5, 3, 1, 1, false}, {4, 3, 1, 1 / (4 + 1e-6), false},
               {400, 3, 0, 1, false}, {0, 0, 1, 1, false},
               {none, 3, 1, 1, true}, {infinity, 3, 1, 0, true},
               {2, none, 4, 1, true}, {2, -infinity, 4, 1, true}};
  for (const auto& [norm, loss, largest_norm, clipping, skip] : cases) {
    const double max_norm = largest_norm;  // clang captures no structured binding
    UpdateDecision decision = DecideUpdate(norm, loss, max_norm);
    if constexpr (kOnCuda) {
      const auto sum = OnBackend({norm * norm * 16}), device_loss = OnBackend({loss});
      BackendVector<UpdateDecision> on_device(1);
      ASSERT_TRUE(RunOnBackend([&](cuda::Stream stream) {
                    return cuda::DecideUpdate({.sum_of_squares = sum.data(),
                                               .loss = device_loss.data(),
                                               .gradient_scale = 0.25,
                                               .max_norm = max_norm,
                                               .decision = on_device.data()},
                                              stream);
                  }).ok());
      decision = on_device[0];
    }
    EXPECT_EQ(decision.skip, skip ? 1 : 0) << norm << ", " << loss;
    EXPECT_DOUBLE_EQ(decision.clipping, clipping) << norm;
    EXPECT_EQ(decision.factor, static_cast<float>(decision.clipping)) << norm;
    if (!std::isnan(norm)) {
      EXPECT_EQ(decision.gradient_norm, norm);
    }
  }
}

}  // namespace
}  // namespace sluice
