#include "runtime/tensor.h"

#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(TensorTest, RowsColumnsAndPrefix) {
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.f);
  const TensorView view = TensorView::Of(values.data(), {2, 2, 6});
  EXPECT_EQ(view.rows(), 4);
  EXPECT_EQ(view.bytes(), 96);
  const TensorView part = view.Columns(2, 3).Rows(1, 2);
  EXPECT_EQ(part.shape(), (Shape{2, 3}));
  EXPECT_EQ(part.row_stride(), 6);
  EXPECT_FALSE(part.contiguous());
  EXPECT_EQ(part.as<float>()[0], 8);
  EXPECT_EQ(part.as<float>()[6], 14);
  EXPECT_EQ(view.Prefix({3, 6}).shape(), (Shape{3, 6}));
  EXPECT_TRUE(TensorView().Columns(0, 1).null());
}

TEST(TensorDeathTest, MistakesAreCaught) {
  std::vector<float> values(6);
  const TensorView view = TensorView::Of(values.data(), {2, 3});
  EXPECT_DEATH(view.as<bf16>(), "fp32 vs. bf16");
  EXPECT_DEATH(view.Columns(2, 2), "CHECK failed");
  EXPECT_DEATH(view.Prefix({7}), "CHECK failed");
  EXPECT_DEATH((Shape{1, 2}).dim(2), "axis 2 of \\(1, 2\\)");
}

TEST(ShapeTest, PrintsAndCounts) {
  EXPECT_EQ((Shape{16, 128, 768}).ToString(), "(16, 128, 768)");
  EXPECT_EQ((Shape{}).elements(), 1);
  EXPECT_EQ((Shape{4, 0}).elements(), 0);
  EXPECT_EQ((Shape{4, 7}).dim(-1), 7);
}

}  // namespace
}  // namespace sluice
