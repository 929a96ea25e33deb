// Linear layer and activation together, forward and backward: whichever way a backend takes,
// against the reference's layer and the reference's activation, one after the other.
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/api/activation.h"
#include "kernels/api/linear.h"
#include "linear_problem.h"
#include "support/backend.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::ExpectClose;
using testing::ExpectSameBits;
using testing::kOnCuda;
using testing::Largest;
using testing::Layer;
using testing::Matrix;
using testing::Name;
using testing::Products;
using Shape = testing::LinearShape;
using testing::Tolerance;
using testing::UnitRoundoff;

constexpr Activation kAll[] = {Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
                               Activation::kTanh};
// The largest slope of any of them, GELU's.
constexpr double kSteepest = 1.13;

const Shape kSweep[] = {
    {.N = 1, .K = 1, .M = 1},
    {.N = 1, .K = 64, .M = 48},
    {.N = 7, .K = 13, .M = 17},
    {.N = 9, .K = 16, .M = 256},
    {.N = 33, .K = 47, .M = 16, .padding = 5, .misalignment = 1},
    {.N = 64, .K = 128, .M = 96, .padding = 32},
    {.N = 65, .K = 96, .M = 136, .padding = 3, .misalignment = 3, .bias = false},
    {.N = 128, .K = 31, .M = 2, .misalignment = 7},
    {.N = 127, .K = 24, .M = 513, .misalignment = 1},
    {.N = 130, .K = 8, .M = 776, .padding = 8},  // more rows than a block adds up
    {.N = 300, .K = 5, .M = 248, .bias = false},
};

std::vector<double> Activate(Activation activation, const std::vector<double>& x) {
  std::vector<double> y(x.size());
  reference::ActivationForward({x.data(), y.data(), std::ssize(x), activation});
  return y;
}

template <typename T>
std::vector<double> Values(const Matrix<T>& matrix) {
  return testing::Widen(matrix.Rows());
}

template <typename T>
class LinearActivationTest : public ::testing::Test {
 protected:
  // x → layer → f, whose output and input are without gaps.
  struct Forward {
    Forward(const Shape& shape, Activation f)
        : layer(shape),
          pre(shape.N, shape.M, shape, 0),
          y(shape.N, shape.M, shape, 0),
          activation(f) {}
    LinearActivationForwardArgs<T> Args() {
      LinearForwardArgs<T> linear = layer.ForwardArgs();
      linear.y = y.data(), linear.y_stride = y.stride();
      return {.linear = linear,
              .pre_activation = activation == Activation::kRelu ? nullptr : pre.data(),
              .activation = activation};
    }
    Layer<T> layer;
    Matrix<T> pre, y;
    Activation activation;
  };

  void CheckForward(const Shape& shape, Activation activation) {
    Forward forward(shape, activation);
    ASSERT_TRUE(products_.ActivationForward(forward.Args()).ok());
    const std::vector<double> pre = forward.layer.ExpectedForward();
    const Tolerance sum =
        Tolerance::ForSum<T>(shape.K + 1, Largest(forward.layer.ExpectedForward(true)));
    double largest = 0;
    for (const double value : pre) largest = std::max(largest, std::abs(value));
    if (activation != Activation::kRelu) {
      ExpectClose(Name("pre-activation", shape), forward.pre.Rows(), pre, sum);
      forward.pre.ExpectOnlyRowsWritten();
    }
    // f sees the sums, or the sums rounded to T.
    const Tolerance tolerance = {
        .absolute = kSteepest * (sum.absolute + UnitRoundoff<T>() * largest) + 1e-6 * largest,
        .relative = UnitRoundoff<T>(),
        .derivation =
            "1.13 times what the sum and its rounding may be off, f's own 1e-6, and "
            "one rounding"};
    ExpectClose(Name("activated", shape), forward.y.Rows(), Activate(activation, pre),
                tolerance.WithZeros());
    forward.y.ExpectOnlyRowsWritten();
  }

  // dy of the next layer, (N, K) → (N, M): M is the width of f.
  struct Backward {
    Backward(const Shape& shape, Activation f)
        : next({.N = shape.N,
                .K = shape.M,
                .M = shape.K,
                .padding = shape.padding,
                .misalignment = shape.misalignment}),
          saved(shape.N, shape.M, shape, 0),
          dpre(shape.N, shape.M, shape, 0),
          dbias(1, shape.M, shape, 0),
          has_bias(shape.bias),
          activation(f) {
      saved.FillRandom(11, activation == Activation::kRelu ? 0 : -3, 3);
      dbias.FillRandom(12);
      if (activation == Activation::kRelu) {  // an output of relu: half of it 0
        for (int64_t i = 0; i < shape.N * shape.M; i += 2) {
          saved.data()[i] = T(0.0f);
          saved.exact()[i] = 0;
        }
      }
    }
    LinearActivationBackwardArgs<T> Args() {
      LinearBackwardInputArgs<T> input = next.BackwardInputArgs(/*accumulate=*/false);
      input.dx = dpre.data(), input.dx_stride = dpre.stride();
      return {.next = input,
              .saved = saved.data(),
              .dbias = has_bias ? dbias.data() : nullptr,
              .activation = activation};
    }
    Layer<T> next;
    Matrix<T> saved, dpre;
    Matrix<float> dbias;
    bool has_bias;
    Activation activation;
  };

  void CheckBackward(const Shape& shape, Activation activation) {
    Backward backward(shape, activation);
    std::vector<double> expected = backward.next.ExpectedBackwardInput(false);
    const double magnitude = Largest(backward.next.ExpectedBackwardInput(false, true));
    ASSERT_TRUE(products_.ActivationBackward(backward.Args()).ok());
    const std::vector<double> gradient = expected;
    reference::ActivationBackward({backward.saved.exact().data(), gradient.data(), expected.data(),
                                   std::ssize(expected), activation});
    // The gradient of f's output may be rounded to T before it is multiplied by the slope.
    const Tolerance sum = Tolerance::ForSum<T>(shape.K, magnitude);
    ExpectClose(Name("gradient of the pre-activation", shape), backward.dpre.Rows(), expected,
                Tolerance{.absolute = kSteepest * sum.absolute + 1.5e-6 * magnitude,
                          .relative = 2.01 * UnitRoundoff<T>(),
                          .derivation = "1.13 times what the sum may be off, the slope's 1.5e-6, "
                                        "and two roundings"}
                    .WithZeros());
    backward.dpre.ExpectOnlyRowsWritten();
    CheckBias(shape, backward);
  }

  // The bias gradient is that of the values as they are stored.
  static void CheckBias(const Shape& shape, Backward& backward) {
    std::vector<double> sums = backward.dbias.exact(), magnitudes = backward.dbias.absolute();
    const std::vector<double> dpre = Values(backward.dpre);
    for (size_t i = 0; backward.has_bias && i < dpre.size(); ++i) {
      sums[i % shape.M] += dpre[i];
      magnitudes[i % shape.M] += std::abs(dpre[i]);
    }
    ExpectClose(Name("bias gradient", shape), backward.dbias.Rows(), sums,
                Tolerance::ForSum<float>(shape.N + 1, Largest(magnitudes)));
    backward.dbias.ExpectOnlyRowsWritten();
  }

  void CheckSweep() {
    for (const Activation activation : kAll) {
      for (const Shape& shape : kSweep) {
        SCOPED_TRACE(::testing::Message() << "activation " << static_cast<int>(activation));
        CheckForward(shape, activation);
        CheckBackward(shape, activation);
      }
    }
  }

  Products products_;
};
TYPED_TEST_SUITE(LinearActivationTest, testing::StorageTypes);

TYPED_TEST(LinearActivationTest, AgreesWithReference) { this->CheckSweep(); }

// cuBLASLt may have no algorithm with an epilogue, and has two ways to say so.
TYPED_TEST(LinearActivationTest, AgreesWithReferenceWhereTheLibraryHasNoEpilogue) {
  if (!kOnCuda || testing::BlockOrders() == 1) GTEST_SKIP() << "for the emulator";
  for (const char* how : {"status", "none"}) {
    setenv("SLUICE_EMULATOR_CUBLASLT_REFUSE", how, 1);
    this->CheckSweep();
  }
  unsetenv("SLUICE_EMULATOR_CUBLASLT_REFUSE");
}

// relu and gelu_tanh are one product; refused, a second one, and both are asked for once.
TYPED_TEST(LinearActivationTest, EpilogueIsChosenOnceAShape) {
  if (!kOnCuda || testing::BlockOrders() == 1) GTEST_SKIP() << "for the emulator";
  const Shape shape = {.N = 16, .K = 32, .M = 64};
  for (const Activation activation : kAll) {
    const bool epilogue = activation == Activation::kRelu || activation == Activation::kGeluTanh;
    for (const bool refuse : {false, true}) {
      if (refuse) setenv("SLUICE_EMULATOR_CUBLASLT_REFUSE", "status", 1);
      Products products;
      for (int call = 0; call < 2; ++call) {
        typename TestFixture::Forward forward(shape, activation);
        ASSERT_TRUE(products.ActivationForward(forward.Args()).ok());
        EXPECT_EQ(products.made(), epilogue && refuse ? 2 : 1);
      }
      unsetenv("SLUICE_EMULATOR_CUBLASLT_REFUSE");
    }
  }
}

TYPED_TEST(LinearActivationTest, SameBitsInAnyBlockOrder) {
  for (const Activation activation : kAll) {
    std::vector<TypeParam> dpre;
    std::vector<float> dbias;
    for (int order = 0; order < testing::BlockOrders(); ++order) {
      testing::SetBlockOrder(order);
      typename TestFixture::Backward backward({.N = 301, .K = 8, .M = 336}, activation);
      ASSERT_TRUE(this->products_.ActivationBackward(backward.Args()).ok());
      if (order == 0) {
        dpre = backward.dpre.Rows(), dbias = backward.dbias.Rows();
        continue;
      }
      ExpectSameBits<TypeParam>("gradient", backward.dpre.Rows(), dpre);
      ExpectSameBits<float>("bias gradient", backward.dbias.Rows(), dbias);
    }
  }
  testing::SetBlockOrder(0);
}

TYPED_TEST(LinearActivationTest, NoRowsReadAndWriteNothing) {
  Products products;
  for (const Activation activation : kAll) {
    typename TestFixture::Forward forward({.N = 0, .K = 16, .M = 8}, activation);
    EXPECT_TRUE(products.ActivationForward(forward.Args()).ok());
    typename TestFixture::Backward backward({.N = 0, .K = 16, .M = 8}, activation);
    const std::vector<double> before = backward.dbias.exact();
    EXPECT_TRUE(products.ActivationBackward(backward.Args()).ok());
    ExpectClose("dbias", backward.dbias.Rows(), before, Tolerance{.derivation = "untouched"});
  }
}

}  // namespace
}  // namespace sluice
