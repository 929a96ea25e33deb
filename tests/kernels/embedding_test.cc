#include "kernels/api/embedding.h"

#include <string>
#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "gtest/gtest.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/compute_threads.h"
#include "support/finite_difference.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

SLUICE_BACKEND_OP(EmbeddingForward, EmbeddingForwardArgs);
SLUICE_BACKEND_OP(EmbeddingBackward, EmbeddingBackwardArgs);

using ::sluice::testing::BackendVector;
using ::sluice::testing::BlockOrders;
using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::ExpectGradient;
using ::sluice::testing::ExpectSameBits;
using ::sluice::testing::OnEachInstructionSet;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::ScopedComputeThreads;
using ::sluice::testing::SetBlockOrder;
using ::sluice::testing::Tolerance;
using ::sluice::testing::Widen;

template <typename T>
class EmbeddingTest : public ::testing::Test {};
TYPED_TEST_SUITE(EmbeddingTest, ::sluice::testing::StorageTypes);

// What is read by the backend; the reference, in double, reads what finite differences change.
template <typename T>
using Input = std::conditional_t<std::is_same_v<T, double>, std::vector<T>, BackendVector<T>>;
template <typename T>
Input<T> MakeInput(const std::vector<double>& values) {
  const auto cast = Cast<T>(values);
  return {cast.begin(), cast.end()};
}

enum class Segments { kNoTable, kAllZero, kGiven };

struct Case {
  int64_t B, T_, C, V;
  int64_t position_offset;
  Segments segments;
  int64_t R = 0;           // register rows
  bool projected = false;  // rows given in the place of the token table
};

constexpr int64_t kSegmentCount = 3;

std::vector<Case> Cases() {
  return {{1, 1, 1, 2, 0, Segments::kNoTable},
          {3, 1, 2, 5, 2, Segments::kGiven},
          {2, 5, 15, 7, 0, Segments::kGiven},
          {2, 7, 16, 1, 2, Segments::kAllZero},
          {4, 33, 17, 40, 0, Segments::kGiven},
          {3, 40, 3, 30522, 0, Segments::kGiven},
          {2, 70, 2, 50272, 2, Segments::kNoTable},
          {2, 9, 600, 11, 0, Segments::kGiven},
          {0, 4, 8, 6, 0, Segments::kGiven},
          {3, 5, 17, 9, 0, Segments::kGiven, 1},
          {2, 1, 33, 4, 2, Segments::kNoTable, 4},
          {3, 6, 19, 8, 2, Segments::kNoTable, 0, true},
          {2, 7, 40, 8, 0, Segments::kGiven, 3, true},
          // On CUDA: runs of tokens that are merged, and pieces of the rows of one token.
          {12, 128, 24, 97, 0, Segments::kGiven, 1},
          {2, 100, 17, 9, 0, Segments::kAllZero},  // more of one segment than a block
          {2, 9, 1100, 11, 0, Segments::kGiven}};
}

std::string Name(const Case& c) {
  return "B " + std::to_string(c.B) + " T " + std::to_string(c.T_) + " C " + std::to_string(c.C) +
         " V " + std::to_string(c.V) + " R " + std::to_string(c.R) +
         (c.projected ? " projected" : "");
}

template <typename T>
struct Problem {
  Case shape;
  BackendVector<int32_t> tokens, segments;
  Input<T> token_table, position_table, segment_table, dy;
  Input<T> register_table, projected;

  int64_t N() const { return shape.B * shape.T_; }
  int64_t rows() const { return shape.B * (shape.R + shape.T_); }
  const int32_t* segments_or_null() const {
    return shape.segments == Segments::kGiven ? segments.data() : nullptr;
  }
};

// A third of the tokens are one and the same, the others spread over the vocabulary, the first and
// the last included.
template <typename T>
Problem<T> MakeProblem(const Case& c) {
  const int64_t N = c.B * c.T_;
  Problem<T> p = {.shape = c,
                  .tokens = BackendVector<int32_t>(N),
                  .segments = BackendVector<int32_t>(N),
                  .token_table = MakeInput<T>(RandomValues(c.V * c.C, 1)),
                  .position_table = MakeInput<T>(RandomValues((c.position_offset + c.T_) * c.C, 2)),
                  .segment_table = MakeInput<T>(RandomValues(kSegmentCount * c.C, 3)),
                  .dy = MakeInput<T>(RandomValues(c.B * (c.R + c.T_) * c.C, 4)),
                  .register_table = MakeInput<T>(RandomValues(c.R * c.C, 5)),
                  .projected = MakeInput<T>(RandomValues(N * c.C, 6))};
  for (int64_t n = 0; n < N; ++n) {
    const int64_t spread = n == 1 ? c.V - 1 : n * 7919 % c.V;
    p.tokens[n] = static_cast<int32_t>(n % 3 == 2 ? c.V / 2 : spread);
    p.segments[n] = static_cast<int32_t>(n % c.T_ * kSegmentCount / c.T_);
  }
  return p;
}

template <typename T>
Problem<double> Widened(const Problem<T>& p) {
  return {p.shape,
          p.tokens,
          p.segments,
          Widen(p.token_table),
          Widen(p.position_table),
          Widen(p.segment_table),
          Widen(p.dy),
          Widen(p.register_table),
          Widen(p.projected)};
}

// Of outputs; none where CUDA's kernels may then use vectors.
template <typename T>
int64_t Misalignment(int64_t C) {
  return static_cast<int64_t>(sizeof(T)) * (C % 3);
}

template <typename T>
PoisonedBuffer<T> Forward(const Problem<T>& p) {
  PoisonedBuffer<T> y(p.rows() * p.shape.C, Misalignment<T>(p.shape.C));
  const EmbeddingForwardArgs<T> args = {
      .tokens = p.tokens.data(),
      .segments = p.segments_or_null(),
      .token_table = p.shape.projected ? nullptr : p.token_table.data(),
      .projected = p.shape.projected ? p.projected.data() : nullptr,
      .position_table = p.position_table.data(),
      .segment_table = p.shape.segments == Segments::kNoTable ? nullptr : p.segment_table.data(),
      .register_table = p.shape.R > 0 ? p.register_table.data() : nullptr,
      .y = y.data(),
      .N = p.N(),
      .T_ = p.shape.T_,
      .C = p.shape.C,
      .R = p.shape.R,
      .position_offset = p.shape.position_offset};
  if constexpr (std::is_same_v<T, double>) {
    reference::EmbeddingForward(args);
  } else {
    EXPECT_TRUE(backend::EmbeddingForward<T>(args).ok());
  }
  y.ExpectCanariesIntact();
  return y;
}

template <typename T>
struct Gradients {
  PoisonedBuffer<Accumulator<T>> token, position, segment, registers;
  PoisonedBuffer<T> projected;
};

constexpr float kBefore = 0.5f;

template <typename T>
Gradients<T> Backward(const Problem<T>& p) {
  using A = Accumulator<T>;
  const auto& [B, T_, C, V, position_offset, segments, R, projected] = p.shape;
  const bool segment_table = segments != Segments::kNoTable;
  const int64_t offset = Misalignment<A>(C);
  Gradients<T> gradients = {
      PoisonedBuffer<A>(V * C, offset, A(kBefore)),
      PoisonedBuffer<A>((position_offset + T_) * C, 2 * offset, A(kBefore)),
      PoisonedBuffer<A>(segment_table ? kSegmentCount * C : 0, 3 * offset, A(kBefore)),
      PoisonedBuffer<A>(R * C, offset, A(kBefore)),
      PoisonedBuffer<T>(projected ? p.N() * C : 0, Misalignment<T>(C))};
  PoisonedBuffer<uint8_t> workspace(
      ::sluice::testing::kOnCuda ? cuda::EmbeddingBackwardWorkspaceBytes(p.N(), C, kSegmentCount)
                                 : EmbeddingBackwardWorkspaceBytes(p.N(), V));
  const EmbeddingBackwardArgs<T> args = {
      .tokens = p.tokens.data(),
      .segments = p.segments_or_null(),
      .dy = p.dy.data(),
      .dtoken_table = projected ? nullptr : gradients.token.data(),
      .dprojected = projected ? gradients.projected.data() : nullptr,
      .dposition_table = gradients.position.data(),
      .dsegment_table = segment_table ? gradients.segment.data() : nullptr,
      .dregister_table = R > 0 ? gradients.registers.data() : nullptr,
      .workspace = workspace.data(),
      .N = p.N(),
      .T_ = T_,
      .C = C,
      .V = V,
      .S = kSegmentCount,
      .R = R,
      .position_offset = position_offset};
  if constexpr (std::is_same_v<T, double>) {
    reference::EmbeddingBackward(args);
  } else {
    EXPECT_TRUE(backend::EmbeddingBackward<T>(args).ok());
  }
  workspace.ExpectCanariesIntact();
  gradients.token.ExpectCanariesIntact();
  gradients.position.ExpectCanariesIntact();
  gradients.segment.ExpectCanariesIntact();
  gradients.registers.ExpectCanariesIntact();
  gradients.projected.ExpectCanariesIntact();
  return gradients;
}

TYPED_TEST(EmbeddingTest, MatchesReference) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const Case& c : Cases()) {
      SCOPED_TRACE(Name(c));
      const Problem<T> p = MakeProblem<T>(c);
      const Problem<double> wide = Widened(p);
      ExpectClose("y", Forward(p), Forward(wide), Tolerance::ForSum<T>(3, 3, 0));
      const auto actual = Backward(p);
      const auto expected = Backward(wide);
      const auto rows = static_cast<double>(p.N());
      ExpectClose("dtoken_table", actual.token, expected.token,
                  Tolerance::ForSum<float>(p.N() + 1, rows / 3 + 2, 0));
      ExpectClose("dposition_table", actual.position, expected.position,
                  Tolerance::ForSum<float>(c.B + 1, static_cast<double>(c.B) + 1, 0));
      ExpectClose("dsegment_table", actual.segment, expected.segment,
                  Tolerance::ForSum<float>(64 + p.N() / 64 + 2, rows + 1, 0));
      ExpectClose("dregister_table", actual.registers, expected.registers,
                  Tolerance::ForSum<float>(c.B + 1, static_cast<double>(c.B) + 1, 0));
      ExpectClose("dprojected", actual.projected, expected.projected,
                  Tolerance::ForSum<T>(1, 1, 0));
    }
  });
}

TEST(EmbeddingReferenceTest, BackwardIsTheGradientOfForward) {
  auto p = MakeProblem<double>({2, 3, 4, 5, 1, Segments::kGiven, 2});
  const auto loss = [&] {
    const auto y = Forward(p);
    double total = 0;
    for (int64_t i = 0; i < y.size(); ++i) total += y[i] * p.dy[i];
    return total;
  };
  const auto gradients = Backward(p);
  const auto values = [](const PoisonedBuffer<double>& buffer) {
    std::vector<double> copy(buffer.values().begin(), buffer.values().end());
    for (double& value : copy) value -= kBefore;
    return copy;
  };
  ExpectGradient("token_table", p.token_table, values(gradients.token), loss);
  ExpectGradient("position_table", p.position_table, values(gradients.position), loss);
  ExpectGradient("segment_table", p.segment_table, values(gradients.segment), loss);
  ExpectGradient("register_table", p.register_table, values(gradients.registers), loss);

  p = MakeProblem<double>({2, 3, 4, 5, 1, Segments::kNoTable, 1, /*projected=*/true});
  const auto of_projected = Backward(p);
  const auto span = of_projected.projected.values();
  ExpectGradient("projected", p.projected, std::vector<double>(span.begin(), span.end()), loss);
}

TYPED_TEST(EmbeddingTest, ThreadsAndBlockOrdersDoNotChangeABit) {
  const auto p = MakeProblem<TypeParam>({5, 101, 200, 97, 2, Segments::kGiven, 3});
  const auto y = Forward(p);
  const auto first = Backward(p);
  for (const int threads : {1, 2, 3, 3}) {
    const ScopedComputeThreads scope(threads);
    SetBlockOrder(threads % BlockOrders());
    const auto again = Backward(p);
    const auto y_again = Forward(p);
    ExpectSameBits("y", y_again.values(), y.values());
    ExpectSameBits("token", again.token.values(), first.token.values());
    ExpectSameBits("position", again.position.values(), first.position.values());
    ExpectSameBits("segment", again.segment.values(), first.segment.values());
    ExpectSameBits("registers", again.registers.values(), first.registers.values());
  }
  SetBlockOrder(0);
}

}  // namespace
}  // namespace sluice
