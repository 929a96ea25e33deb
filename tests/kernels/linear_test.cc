#include "kernels/api/linear.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/integer_math.h"
#include "core/parallel.h"
#include "linear_problem.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

using testing::ExpectClose;
using testing::kManyRows;
using testing::Largest;
using testing::Layer;
using testing::Matrix;
using testing::Name;
using testing::PackedMemory;
using testing::Products;
using Shape = testing::LinearShape;
using testing::ExpectSameBits;
using testing::kOnCuda;
using testing::Tolerance;

template <typename T>
class LinearTest : public ::testing::Test {
 protected:
  void CheckForward(const Shape& shape, bool pack) {
    Layer<T> layer(shape);
    PackedMemory memory(pack ? products_.template PackedForwardBytes<T>(kManyRows, shape.K, shape.M)
                             : 0);
    PackedWeight packed = {.forward = memory.get()};
    ASSERT_TRUE(products_.Forward(layer.ForwardArgs(&packed)).ok());
    // The library multiplies strided rows with the plain weight (kernels/api/linear.h).
    EXPECT_TRUE(packed.forward_is_current || shape.padding > 0 || memory.get() == nullptr);
    ExpectClose(Name(pack ? "forward packed" : "forward", shape), layer.y.Rows(),
                layer.ExpectedForward(),
                Tolerance::ForSum<T>(shape.K + 1, Largest(layer.ExpectedForward(true))));
    layer.y.ExpectOnlyRowsWritten();
    memory.ExpectCanariesIntact();
  }

  void CheckLogits(const Shape& shape, bool pack) {
    Layer<T> layer(shape);
    Matrix<float> logits(shape.N, shape.M, shape, shape.padding);
    PackedMemory memory(pack ? products_.template PackedForwardBytes<T>(kManyRows, shape.K, shape.M)
                             : 0);
    PackedWeight packed = {.forward = memory.get()};
    ASSERT_TRUE(products_
                    .template Logits<T>({.x = layer.x.data(),
                                         .weight = layer.weight.data(),
                                         .bias = shape.bias ? layer.bias.data() : nullptr,
                                         .logits = logits.data(),
                                         .N = shape.N,
                                         .K = shape.K,
                                         .M = shape.M,
                                         .packed = &packed,
                                         .x_stride = layer.x.stride(),
                                         .logits_stride = logits.stride()})
                    .ok());
    ExpectClose(Name("logits", shape), logits.Rows(), layer.ExpectedForward(),
                Tolerance::ForSum<float>(shape.K + 1, Largest(layer.ExpectedForward(true))));
    logits.ExpectOnlyRowsWritten();
  }

  void CheckBackwardInput(const Shape& shape, bool accumulate, bool pack) {
    Layer<T> layer(shape);
    if (accumulate) layer.dx.FillRandom(5);
    PackedMemory memory(
        pack ? products_.template PackedBackwardInputBytes<T>(kManyRows, shape.K, shape.M) : 0);
    PackedWeight packed = {.backward_input = memory.get()};
    const std::vector<double> expected = layer.ExpectedBackwardInput(accumulate);
    const double magnitude = Largest(layer.ExpectedBackwardInput(accumulate, true));
    ASSERT_TRUE(products_.BackwardInput(layer.BackwardInputArgs(accumulate, &packed)).ok());
    EXPECT_TRUE(packed.backward_input_is_current || shape.padding > 0 || memory.get() == nullptr);
    ExpectClose(Name(accumulate ? "dx +=" : "dx =", shape), layer.dx.Rows(), expected,
                Tolerance::ForSum<T>(shape.M + 1, magnitude));
    layer.dx.ExpectOnlyRowsWritten();
    memory.ExpectCanariesIntact();
  }

  void CheckBackwardWeight(const Shape& shape) {
    Layer<T> layer(shape);
    layer.dweight.FillRandom(6);
    layer.dbias.FillRandom(7);
    const auto expected = layer.ExpectedBackwardWeight();
    const auto absolute = layer.ExpectedBackwardWeight(true);
    ASSERT_TRUE(products_.BackwardWeight(layer.BackwardWeightArgs()).ok());
    ExpectClose(Name("dweight", shape), layer.dweight.Rows(), expected.dweight,
                Tolerance::ForSum<float>(shape.N + 1, Largest(absolute.dweight)));
    ExpectClose(Name("dbias", shape), layer.dbias.Rows(), expected.dbias,
                Tolerance::ForSum<float>(shape.N + 1, Largest(absolute.dbias)));
    layer.dweight.ExpectOnlyRowsWritten();
    layer.dbias.ExpectOnlyRowsWritten();
  }

  Products products_;
};
TYPED_TEST_SUITE(LinearTest, testing::StorageTypes);

// The library chooses its own instructions (tests/kernels/CMakeLists.txt has it choose others).
template <typename Body>
void OnEachInstructionSetOfOurs(const Body& body) {
  if (kOnCuda) return body();
  testing::OnEachInstructionSet(body);
}

const Shape kSweep[] = {
    {.N = 1, .K = 1, .M = 1},
    {.N = 1, .K = 64, .M = 48},
    {.N = 7, .K = 13, .M = 17},
    {.N = 33, .K = 47, .M = 12, .padding = 5, .misalignment = 1},
    {.N = 64, .K = 128, .M = 96, .padding = 32},
    {.N = 65, .K = 96, .M = 131, .padding = 3, .misalignment = 3, .bias = false},
    {.N = 128, .K = 31, .M = 2, .misalignment = 7},
    {.N = 40, .K = 257, .M = 1, .padding = 1},
    {.N = 37, .K = 96, .M = 240, .misalignment = 1},  // both ways in panels of our own product
    {.N = 19, .K = 144, .M = 96, .padding = 7, .bias = false},
    {.N = 130, .K = 24, .M = 700, .misalignment = 1},
    {.N = 300, .K = 20, .M = 48, .padding = 3},
    {.N = 3, .K = 5, .M = 30522, .misalignment = 1},  // BERT's vocabulary
    {.N = 2, .K = 3, .M = 50272, .padding = 4},       // OPT's
    {.N = 4, .K = 30522, .M = 3},
};

TYPED_TEST(LinearTest, ForwardAgreesWithReference) {
  OnEachInstructionSetOfOurs([this] {
    for (const Shape& shape : kSweep) {
      this->CheckForward(shape, false);
      this->CheckForward(shape, true);
    }
  });
}

TYPED_TEST(LinearTest, LogitsAgreeWithReference) {
  OnEachInstructionSetOfOurs([this] {
    for (Shape shape : kSweep) {
      this->CheckLogits(shape, true);
      shape.padding = 0;
      this->CheckLogits(shape, false);
      this->CheckLogits(shape, true);
    }
  });
}

TYPED_TEST(LinearTest, BackwardInputAgreesWithReference) {
  OnEachInstructionSetOfOurs([this] {
    for (const Shape& shape : kSweep) {
      for (const bool accumulate : {false, true}) {
        this->CheckBackwardInput(shape, accumulate, false);
        this->CheckBackwardInput(shape, accumulate, true);
      }
    }
  });
}

TYPED_TEST(LinearTest, BackwardWeightAgreesWithReference) {
  OnEachInstructionSetOfOurs([this] {
    for (const Shape& shape : kSweep) this->CheckBackwardWeight(shape);
    // More rows of dweight than one block.
    this->CheckBackwardWeight({.N = 2100, .K = 24, .M = 1100, .padding = 3});
  });
}

// One packed layout serves calls of any number of rows.
TYPED_TEST(LinearTest, PackedWeightIsPackedOnceAndSharedByAllRowCounts) {
  const int64_t K = 80, M = 144;
  Products products;
  PackedMemory memory(products.template PackedForwardBytes<TypeParam>(kManyRows, K, M));
  PackedWeight packed = {.forward = memory.get()};
  for (const int64_t N : {1, 3, 64, 200}) {
    Layer<TypeParam> layer({.N = N, .K = K, .M = M});
    ASSERT_TRUE(products.Forward(layer.ForwardArgs(&packed)).ok());
    ExpectClose("y", layer.y.Rows(), layer.ExpectedForward(),
                Tolerance::ForSum<TypeParam>(K + 1, Largest(layer.ExpectedForward(true))));
  }
  if (memory.get() == nullptr) return;  // this processor's library packs nothing
  // A changed weight is not looked at until its flag is cleared.
  Layer<TypeParam> layer({.N = 64, .K = K, .M = M});
  const std::vector<double> before = layer.ExpectedForward();
  layer.weight.FillRandom(99);
  const auto tolerance =
      Tolerance::ForSum<TypeParam>(K + 1, Largest(layer.ExpectedForward(true)) * 2);
  ASSERT_TRUE(products.Forward(layer.ForwardArgs(&packed)).ok());
  ExpectClose("y of the old weight", layer.y.Rows(), before, tolerance);
  packed.forward_is_current = false;
  ASSERT_TRUE(products.Forward(layer.ForwardArgs(&packed)).ok());
  ExpectClose("y of the new weight", layer.y.Rows(), layer.ExpectedForward(), tolerance);
}

TYPED_TEST(LinearTest, NoRowsReadAndWriteNothing) {
  Products products;
  Layer<TypeParam> layer({.N = 0, .K = 16, .M = 8});
  layer.dweight.FillRandom(6);
  layer.dbias.FillRandom(7);
  const auto expected = layer.dweight.exact();
  EXPECT_TRUE(products.Forward(layer.ForwardArgs()).ok());
  EXPECT_TRUE(products.BackwardInput(layer.BackwardInputArgs(true)).ok());
  EXPECT_TRUE(products.BackwardWeight(layer.BackwardWeightArgs()).ok());
  ExpectClose("dweight", layer.dweight.Rows(), expected, Tolerance{.derivation = "untouched"});
  EXPECT_EQ(products.made(), 0);
}

TYPED_TEST(LinearTest, SecondCallMakesNothingNewAndGivesTheSameBits) {
  Products products;
  std::vector<TypeParam> y, dx;
  std::vector<float> dweight, dbias;
  int64_t primitives = 0, scratch = 0;
  for (int call = 0; call < 3; ++call) {
    // Other pointers at each call, as layers of one shape have. (cuBLASLt's algorithm depends on
    // how they are aligned.)
    const int64_t misalignment = kOnCuda ? 0 : call;
    Layer<TypeParam> layer(
        {.N = 96, .K = 160, .M = 600, .padding = 8, .misalignment = misalignment});
    layer.dx.FillRandom(5);
    layer.dweight.FillRandom(6);
    layer.dbias.FillRandom(7);
    ASSERT_TRUE(products.Forward(layer.ForwardArgs()).ok());
    ASSERT_TRUE(products.BackwardInput(layer.BackwardInputArgs(true)).ok());
    ASSERT_TRUE(products.BackwardWeight(layer.BackwardWeightArgs()).ok());
    if (call == 0) {
      y = layer.y.Rows(), dx = layer.dx.Rows();
      dweight = layer.dweight.Rows(), dbias = layer.dbias.Rows();
      primitives = products.made(), scratch = products.scratch_bytes();
      EXPECT_GE(primitives, 2);  // the weight gradient may be our own
      EXPECT_GT(scratch, 0);
      continue;
    }
    EXPECT_EQ(products.made(), primitives);
    EXPECT_EQ(products.scratch_bytes(), scratch);
    ExpectSameBits<TypeParam>("y", layer.y.Rows(), y);
    ExpectSameBits<TypeParam>("dx", layer.dx.Rows(), dx);
    ExpectSameBits<float>("dweight", layer.dweight.Rows(), dweight);
    ExpectSameBits<float>("dbias", layer.dbias.Rows(), dbias);
  }
}

TYPED_TEST(LinearTest, ParameterGradientsDoNotDependOnThreadsOrBlockOrder) {
  const int threads_before = ComputeThreads();
  std::vector<float> alone, dweight_alone;
  const std::vector<int> settings =
      kOnCuda ? std::vector<int>{1, 2, 3, 4} : std::vector<int>{1, 2, 3, 5};
  for (const int setting : settings) {
    if (kOnCuda) {
      testing::SetBlockOrder((setting - 1) % testing::BlockOrders());
    } else {
      SetComputeThreads(setting);
    }
    Products products;
    Layer<TypeParam> layer({.N = 301, .K = 16, .M = 333, .padding = 1});
    layer.dweight.FillRandom(6);
    layer.dbias.FillRandom(7);
    ASSERT_TRUE(products.BackwardWeight(layer.BackwardWeightArgs()).ok());
    if (setting == 1) alone = layer.dbias.Rows(), dweight_alone = layer.dweight.Rows();
    if (setting == 1) continue;
    ExpectSameBits<float>("dbias", layer.dbias.Rows(), alone);
    if (!kOnCuda && cpu::LinearBackwardWeightWorkspaceBytes<TypeParam>(16, 333) > 0) {
      ExpectSameBits<float>("dweight", layer.dweight.Rows(), dweight_alone);
    }
  }
  SetComputeThreads(threads_before);
  testing::SetBlockOrder(0);
}

TEST(LinearReferenceTest, BackwardIsTheDerivativeOfForward) {
  const Shape shape = {.N = 3, .K = 4, .M = 5};
  Layer<double> layer(shape);
  const auto loss = [&] {  // Σ dy · y, whose gradients the backward functions give
    const std::vector<double> y = layer.ExpectedForward();
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * layer.dy.exact()[i];
    return sum;
  };
  const auto numeric = [&](std::vector<double>& values) {
    std::vector<double> gradient;
    for (double& value : values) {
      const double step = 0x1p-10, kept = value;
      value = kept + step;
      const double above = loss();
      value = kept - step;
      gradient.push_back((above - loss()) / (2 * step));
      value = kept;
    }
    return gradient;
  };
  layer.dweight.FillRandom(1, 0, 0);
  layer.dbias.FillRandom(1, 0, 0);
  const auto gradients = layer.ExpectedBackwardWeight();
  // The loss is linear in each argument: the difference quotient is exact but for the rounding of
  // two sums of about 100 terms below 2, divided by the step.
  const Tolerance tolerance = {.absolute = 100 * 100 * 2 * 0x1p-53 / 0x1p-10,
                               .derivation = "rounding of the loss / step"};
  ExpectClose("dx", layer.ExpectedBackwardInput(false), numeric(layer.x.exact()), tolerance);
  ExpectClose("dweight", gradients.dweight, numeric(layer.weight.exact()), tolerance);
  ExpectClose("dbias", gradients.dbias, numeric(layer.bias.exact()), tolerance);
}

TEST(LinearReferenceTest, AgreesWithHandComputedValues) {
  const std::vector<double> x = {1, 2}, weight = {3, 4, 5, 6, 7, 8}, bias = {10, 20, 30};
  std::vector<double> y(3);
  reference::LinearLogits({.x = x.data(),
                           .weight = weight.data(),
                           .bias = bias.data(),
                           .logits = y.data(),
                           .N = 1,
                           .K = 2,
                           .M = 3});
  EXPECT_EQ(y, (std::vector<double>{21, 37, 53}));
}

TEST(LinearDeathTest, StridesBelowTheRowLengthAreOurMistake) {
  cpu::LinearCache cache;
  Layer<float> layer({.N = 2, .K = 4, .M = 3});
  LinearForwardArgs<float> args = layer.ForwardArgs();
  args.x_stride = 3;
  EXPECT_DEATH((void)cpu::LinearForward(cache, args).ok(), "x_stride");
}

}  // namespace
}  // namespace sluice
