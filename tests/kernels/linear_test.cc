#include "kernels/api/linear.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/integer_math.h"
#include "core/parallel.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::ExpectClose;
using testing::ExpectSameBits;
using testing::PoisonedBuffer;
using testing::RandomValues;
using testing::Tolerance;

struct Shape {
  int64_t N, K, M;
  int64_t padding = 0;       // elements between the rows of x, y, dy, dx
  int64_t misalignment = 0;  // elements that every pointer is away from a cache line
  bool bias = true;
};

std::string Name(const char* what, const Shape& s) {
  return std::string(what) + " " + std::to_string(s.N) + "x" + std::to_string(s.K) + "x" +
         std::to_string(s.M) + " padding " + std::to_string(s.padding);
}

// A matrix in guarded memory, NaN wherever nobody has written, and the same values in double.
template <typename T>
class Matrix {
 public:
  Matrix(int64_t rows, int64_t columns, const Shape& shape, int64_t padding)
      : rows_(rows),
        columns_(columns),
        stride_(columns + padding),
        buffer_(rows * stride_, shape.misalignment * static_cast<int64_t>(sizeof(T))) {}

  Matrix& FillRandom(uint64_t seed, double low = -1, double high = 1) {
    exact_ = RandomValues(rows_ * columns_, seed, low, high);
    for (int64_t i = 0; i < rows_ * columns_; ++i) {
      const T value(static_cast<float>(exact_[i]));
      exact_[i] = static_cast<double>(value);
      buffer_[i / columns_ * stride_ + i % columns_] = value;
    }
    return *this;
  }
  // Contiguous: what the reference reads and writes.
  std::vector<double>& exact() { return exact_; }
  std::vector<double> absolute() const {
    std::vector<double> values = exact_;
    for (double& value : values) value = std::abs(value);
    return values;
  }
  T* data() { return buffer_.data(); }
  int64_t stride() const { return stride_; }
  std::vector<T> Rows() const {
    std::vector<T> values;
    for (int64_t row = 0; row < rows_; ++row) {
      const T* begin = buffer_.data() + row * stride_;
      values.insert(values.end(), begin, begin + columns_);
    }
    return values;
  }
  void ExpectOnlyRowsWritten() const {
    buffer_.ExpectCanariesIntact();
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t i = columns_; i < stride_; ++i) {
        EXPECT_TRUE(std::isnan(static_cast<float>(buffer_[row * stride_ + i])));
      }
    }
  }

 private:
  int64_t rows_, columns_, stride_;
  PoisonedBuffer<T> buffer_;
  std::vector<double> exact_;
};

double Largest(const std::vector<double>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

// Room for a packed weight of `bytes`; null for none.
class PackedMemory {
 public:
  explicit PackedMemory(int64_t bytes) : bytes_(bytes), buffer_(bytes) {}
  void* get() { return bytes_ > 0 ? buffer_.data() : nullptr; }
  void ExpectCanariesIntact() const { buffer_.ExpectCanariesIntact(); }

 private:
  int64_t bytes_;
  PoisonedBuffer<uint8_t> buffer_;
};

constexpr int64_t kManyRows = 1 << 20;  // so many that packing pays

// The operands of one layer, random, and its products in double.
template <typename T>
struct Layer {
  explicit Layer(const Shape& s)
      : shape(s),
        x(s.N, s.K, s, s.padding),
        weight(s.M, s.K, s, 0),
        bias(1, s.M, s, 0),
        y(s.N, s.M, s, s.padding),
        dy(s.N, s.M, s, s.padding),
        dx(s.N, s.K, s, s.padding),
        dweight(s.M, s.K, s, 0),
        dbias(1, s.M, s, 0) {
    x.FillRandom(1);
    weight.FillRandom(2);
    bias.FillRandom(3);
    dy.FillRandom(4);
  }

  LinearForwardArgs<T> ForwardArgs(PackedWeight* packed = nullptr) {
    return {.x = x.data(),
            .weight = weight.data(),
            .bias = shape.bias ? bias.data() : nullptr,
            .y = y.data(),
            .N = shape.N,
            .K = shape.K,
            .M = shape.M,
            .x_stride = x.stride(),
            .y_stride = y.stride(),
            .packed = packed};
  }
  LinearBackwardInputArgs<T> BackwardInputArgs(bool accumulate, PackedWeight* packed = nullptr) {
    return {.dy = dy.data(),
            .weight = weight.data(),
            .dx = dx.data(),
            .accumulate = accumulate,
            .N = shape.N,
            .K = shape.K,
            .M = shape.M,
            .dy_stride = dy.stride(),
            .dx_stride = dx.stride(),
            .packed = packed};
  }
  LinearBackwardWeightArgs<T> BackwardWeightArgs() {
    return {.x = x.data(),
            .dy = dy.data(),
            .dweight = dweight.data(),
            .dbias = shape.bias ? dbias.data() : nullptr,
            .N = shape.N,
            .K = shape.K,
            .M = shape.M,
            .x_stride = x.stride(),
            .dy_stride = dy.stride()};
  }

  std::vector<double> ExpectedForward(bool absolute = false) {
    std::vector<double> result(shape.N * shape.M);
    const std::vector<double> x_values = absolute ? x.absolute() : x.exact();
    const std::vector<double> weight_values = absolute ? weight.absolute() : weight.exact();
    const std::vector<double> bias_values = absolute ? bias.absolute() : bias.exact();
    reference::LinearForward({.x = x_values.data(),
                              .weight = weight_values.data(),
                              .bias = shape.bias ? bias_values.data() : nullptr,
                              .y = result.data(),
                              .N = shape.N,
                              .K = shape.K,
                              .M = shape.M,
                              .x_stride = shape.K,
                              .y_stride = shape.M});
    return result;
  }
  // dx before the call: dx.exact().
  std::vector<double> ExpectedBackwardInput(bool accumulate, bool absolute = false) {
    std::vector<double> result(shape.N * shape.K);
    if (accumulate) result = absolute ? dx.absolute() : dx.exact();
    const std::vector<double> dy_values = absolute ? dy.absolute() : dy.exact();
    const std::vector<double> weight_values = absolute ? weight.absolute() : weight.exact();
    reference::LinearBackwardInput({.dy = dy_values.data(),
                                    .weight = weight_values.data(),
                                    .dx = result.data(),
                                    .accumulate = accumulate,
                                    .N = shape.N,
                                    .K = shape.K,
                                    .M = shape.M,
                                    .dy_stride = shape.M,
                                    .dx_stride = shape.K});
    return result;
  }
  struct Gradients {
    std::vector<double> dweight, dbias;
  };
  Gradients ExpectedBackwardWeight(bool absolute = false) {
    Gradients result = {absolute ? dweight.absolute() : dweight.exact(),
                        absolute ? dbias.absolute() : dbias.exact()};
    const std::vector<double> x_values = absolute ? x.absolute() : x.exact();
    const std::vector<double> dy_values = absolute ? dy.absolute() : dy.exact();
    reference::LinearBackwardWeight({.x = x_values.data(),
                                     .dy = dy_values.data(),
                                     .dweight = result.dweight.data(),
                                     .dbias = shape.bias ? result.dbias.data() : nullptr,
                                     .N = shape.N,
                                     .K = shape.K,
                                     .M = shape.M,
                                     .x_stride = shape.K,
                                     .dy_stride = shape.M});
    return result;
  }

  Shape shape;
  Matrix<T> x, weight, bias, y, dy, dx;
  Matrix<float> dweight, dbias;
};

template <typename T>
class LinearTest : public ::testing::Test {
 protected:
  void CheckForward(const Shape& shape, bool pack) {
    Layer<T> layer(shape);
    PackedMemory memory(pack ? cpu::PackedForwardBytes<T>(cache_, kManyRows, shape.K, shape.M) : 0);
    PackedWeight packed = {.forward = memory.get()};
    ASSERT_TRUE(cpu::LinearForward(cache_, layer.ForwardArgs(&packed)).ok());
    // Strided rows are multiplied with the plain weight (kernels/api/linear.h).
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
    PackedMemory memory(pack ? cpu::PackedForwardBytes<T>(cache_, kManyRows, shape.K, shape.M) : 0);
    PackedWeight packed = {.forward = memory.get()};
    ASSERT_TRUE(cpu::LinearLogits<T>(cache_, {.x = layer.x.data(),
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
    PackedMemory memory(pack ? cpu::PackedBackwardInputBytes<T>(cache_, kManyRows, shape.K, shape.M)
                             : 0);
    PackedWeight packed = {.backward_input = memory.get()};
    const std::vector<double> expected = layer.ExpectedBackwardInput(accumulate);
    const double magnitude = Largest(layer.ExpectedBackwardInput(accumulate, true));
    ASSERT_TRUE(
        cpu::LinearBackwardInput(cache_, layer.BackwardInputArgs(accumulate, &packed)).ok());
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
    ASSERT_TRUE(cpu::LinearBackwardWeight(cache_, layer.BackwardWeightArgs()).ok());
    ExpectClose(Name("dweight", shape), layer.dweight.Rows(), expected.dweight,
                Tolerance::ForSum<float>(shape.N + 1, Largest(absolute.dweight)));
    ExpectClose(Name("dbias", shape), layer.dbias.Rows(), expected.dbias,
                Tolerance::ForSum<float>(shape.N + 1, Largest(absolute.dbias)));
    layer.dweight.ExpectOnlyRowsWritten();
    layer.dbias.ExpectOnlyRowsWritten();
  }

  cpu::LinearCache cache_;
};
using Types = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(LinearTest, Types);

const Shape kSweep[] = {
    {.N = 1, .K = 1, .M = 1},
    {.N = 1, .K = 64, .M = 48},
    {.N = 7, .K = 13, .M = 17},
    {.N = 33, .K = 47, .M = 12, .padding = 5, .misalignment = 1},
    {.N = 64, .K = 128, .M = 96, .padding = 32},
    {.N = 65, .K = 96, .M = 131, .padding = 3, .misalignment = 3, .bias = false},
    {.N = 128, .K = 31, .M = 2, .misalignment = 7},
    {.N = 40, .K = 257, .M = 1, .padding = 1},
    {.N = 130, .K = 24, .M = 700, .misalignment = 1},  // more rows of dweight than one block
    {.N = 3, .K = 5, .M = 30522, .misalignment = 1},   // BERT's vocabulary
    {.N = 2, .K = 3, .M = 50272, .padding = 4},        // OPT's
    {.N = 4, .K = 30522, .M = 3},
};

TYPED_TEST(LinearTest, ForwardAgreesWithReference) {
  for (const Shape& shape : kSweep) {
    this->CheckForward(shape, false);
    this->CheckForward(shape, true);
  }
}

TYPED_TEST(LinearTest, LogitsAgreeWithReference) {
  for (Shape shape : kSweep) {
    this->CheckLogits(shape, true);
    shape.padding = 0;
    this->CheckLogits(shape, false);
    this->CheckLogits(shape, true);
  }
}

TYPED_TEST(LinearTest, BackwardInputAgreesWithReference) {
  for (const Shape& shape : kSweep) {
    for (const bool accumulate : {false, true}) {
      this->CheckBackwardInput(shape, accumulate, false);
      this->CheckBackwardInput(shape, accumulate, true);
    }
  }
}

TYPED_TEST(LinearTest, BackwardWeightAgreesWithReference) {
  for (const Shape& shape : kSweep) this->CheckBackwardWeight(shape);
}

// One packed layout serves calls of any number of rows.
TYPED_TEST(LinearTest, PackedWeightIsPackedOnceAndSharedByAllRowCounts) {
  const int64_t K = 80, M = 144;
  cpu::LinearCache cache;
  PackedMemory memory(cpu::PackedForwardBytes<TypeParam>(cache, kManyRows, K, M));
  PackedWeight packed = {.forward = memory.get()};
  for (const int64_t N : {1, 3, 64, 200}) {
    Layer<TypeParam> layer({.N = N, .K = K, .M = M});
    ASSERT_TRUE(cpu::LinearForward(cache, layer.ForwardArgs(&packed)).ok());
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
  ASSERT_TRUE(cpu::LinearForward(cache, layer.ForwardArgs(&packed)).ok());
  ExpectClose("y of the old weight", layer.y.Rows(), before, tolerance);
  packed.forward_is_current = false;
  ASSERT_TRUE(cpu::LinearForward(cache, layer.ForwardArgs(&packed)).ok());
  ExpectClose("y of the new weight", layer.y.Rows(), layer.ExpectedForward(), tolerance);
}

TYPED_TEST(LinearTest, NoRowsReadAndWriteNothing) {
  cpu::LinearCache cache;
  Layer<TypeParam> layer({.N = 0, .K = 16, .M = 8});
  layer.dweight.FillRandom(6);
  layer.dbias.FillRandom(7);
  const auto expected = layer.dweight.exact();
  EXPECT_TRUE(cpu::LinearForward(cache, layer.ForwardArgs()).ok());
  EXPECT_TRUE(cpu::LinearBackwardInput(cache, layer.BackwardInputArgs(true)).ok());
  EXPECT_TRUE(cpu::LinearBackwardWeight(cache, layer.BackwardWeightArgs()).ok());
  ExpectClose("dweight", layer.dweight.Rows(), expected, Tolerance{.derivation = "untouched"});
  EXPECT_EQ(cache.primitive_count(), 0);
}

TYPED_TEST(LinearTest, SecondCallMakesNothingNewAndGivesTheSameBits) {
  cpu::LinearCache cache;
  std::vector<TypeParam> y, dx;
  std::vector<float> dweight, dbias;
  int64_t primitives = 0, scratch = 0;
  for (int call = 0; call < 3; ++call) {
    // Other pointers at each call, as layers of one shape have.
    Layer<TypeParam> layer({.N = 96, .K = 160, .M = 600, .padding = 8, .misalignment = call});
    layer.dx.FillRandom(5);
    layer.dweight.FillRandom(6);
    layer.dbias.FillRandom(7);
    ASSERT_TRUE(cpu::LinearForward(cache, layer.ForwardArgs()).ok());
    ASSERT_TRUE(cpu::LinearBackwardInput(cache, layer.BackwardInputArgs(true)).ok());
    ASSERT_TRUE(cpu::LinearBackwardWeight(cache, layer.BackwardWeightArgs()).ok());
    if (call == 0) {
      y = layer.y.Rows(), dx = layer.dx.Rows();
      dweight = layer.dweight.Rows(), dbias = layer.dbias.Rows();
      primitives = cache.primitive_count(), scratch = cache.scratch_bytes();
      EXPECT_GE(primitives, 3);
      EXPECT_GT(scratch, 0);
      continue;
    }
    EXPECT_EQ(cache.primitive_count(), primitives);
    EXPECT_EQ(cache.scratch_bytes(), scratch);
    ExpectSameBits<TypeParam>("y", layer.y.Rows(), y);
    ExpectSameBits<TypeParam>("dx", layer.dx.Rows(), dx);
    ExpectSameBits<float>("dweight", layer.dweight.Rows(), dweight);
    ExpectSameBits<float>("dbias", layer.dbias.Rows(), dbias);
  }
}

TYPED_TEST(LinearTest, BiasGradientDoesNotDependOnThreads) {
  const int threads_before = ComputeThreads();
  std::vector<float> alone;
  for (const int threads : {1, 2, 3, 5}) {
    SetComputeThreads(threads);
    cpu::LinearCache cache;
    Layer<TypeParam> layer({.N = 301, .K = 16, .M = 333, .padding = 1});
    layer.dweight.FillRandom(6);
    layer.dbias.FillRandom(7);
    ASSERT_TRUE(cpu::LinearBackwardWeight(cache, layer.BackwardWeightArgs()).ok());
    if (threads == 1) alone = layer.dbias.Rows();
    if (threads > 1) ExpectSameBits<float>("dbias", layer.dbias.Rows(), alone);
  }
  SetComputeThreads(threads_before);
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
