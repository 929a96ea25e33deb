// c = a · b + bias and c += a · b with a packed b on each instruction set, against a sum in double
// that shares no code with it.
#include "kernels/cpu/packed_product.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "linear_problem.h"
#include "product_shares.h"
#include "support/compare.h"
#include "support/compute_threads.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

using testing::ExpectSameBits;
using testing::Largest;
using testing::Name;
using testing::OnEachInstructionSet;
using testing::PackedMemory;
using testing::PoisonedBuffer;
using testing::ProductShares;
using testing::ScopedComputeThreads;
using testing::Tolerance;
using Layer = testing::Layer<float>;
using Shape = testing::LinearShape;

// y = x · Wᵀ + bias: the inner elements of a column of b = Wᵀ are adjacent.
void MultiplyForward(Layer& layer) {
  const Shape& shape = layer.shape;
  PackedMemory packed(cpu::PackedProductBytes(shape.K, shape.M));
  cpu::PackWeightPanels({.weight = layer.weight.data(),
                         .inner = shape.K,
                         .columns = shape.M,
                         .inner_stride = 1,
                         .column_stride = shape.K,
                         .packed = packed.get()});
  PoisonedBuffer<float> workspace(cpu::PackedProductWorkspaceBytes(shape.N, shape.K) / 4);
  cpu::MultiplyPacked({.a = layer.x.data(),
                       .b = packed.get(),
                       .bias = shape.bias ? layer.bias.data() : nullptr,
                       .c = layer.y.data(),
                       .add_to_c = false,
                       .rows = shape.N,
                       .inner = shape.K,
                       .columns = shape.M,
                       .a_stride = layer.x.stride(),
                       .c_stride = layer.y.stride(),
                       .workspace = workspace.data()});
  packed.ExpectCanariesIntact();
  workspace.ExpectCanariesIntact();
  layer.y.ExpectOnlyRowsWritten();
}

// dx = dy · W or dx += dy · W: the columns of b = W are adjacent.
void MultiplyBackward(Layer& layer, bool accumulate) {
  const Shape& shape = layer.shape;
  if (accumulate) layer.dx.FillRandom(5);
  PackedMemory packed(cpu::PackedProductBytes(shape.M, shape.K));
  cpu::PackWeightPanels({.weight = layer.weight.data(),
                         .inner = shape.M,
                         .columns = shape.K,
                         .inner_stride = shape.K,
                         .column_stride = 1,
                         .packed = packed.get()});
  PoisonedBuffer<float> workspace(cpu::PackedProductWorkspaceBytes(shape.N, shape.M) / 4);
  cpu::MultiplyPacked({.a = layer.dy.data(),
                       .b = packed.get(),
                       .bias = nullptr,
                       .c = layer.dx.data(),
                       .add_to_c = accumulate,
                       .rows = shape.N,
                       .inner = shape.M,
                       .columns = shape.K,
                       .a_stride = layer.dy.stride(),
                       .c_stride = layer.dx.stride(),
                       .workspace = workspace.data()});
  packed.ExpectCanariesIntact();
  workspace.ExpectCanariesIntact();
  layer.dx.ExpectOnlyRowsWritten();
}

// A product of `inner` terms, summed in blocks, has at most that many roundings on the way of each
// term, and one more for what is added to it.
void Check(ProductShares& shares, const Shape& shape) {
  Layer layer(shape);
  MultiplyForward(layer);
  shares.Add(Name("y", shape), layer.y.Rows(), layer.ExpectedForward(),
             Tolerance::ForSum<float>(shape.K + 1, Largest(layer.ExpectedForward(true))));
  for (const bool accumulate : {false, true}) {
    MultiplyBackward(layer, accumulate);
    const double magnitude = Largest(layer.ExpectedBackwardInput(accumulate, true));
    shares.Add(Name(accumulate ? "dx +=" : "dx =", shape), layer.dx.Rows(),
               layer.ExpectedBackwardInput(accumulate),
               Tolerance::ForSum<float>(shape.M + 1, magnitude));
  }
}

TEST(PackedProductTest, EveryWidthToTwoTiles) {
  OnEachInstructionSet([] {
    ProductShares shares("widths to two tiles");
    for (int64_t wide = 1; wide <= 97; ++wide) {
      for (const int64_t narrow : {1, 33}) {
        const Shape shape = {.N = 1 + (5 * wide + narrow) % 17,
                             .K = wide % 2 ? wide : narrow,
                             .M = wide % 2 ? narrow : wide,
                             .padding = (wide + narrow) % 3,
                             .misalignment = (3 * wide + narrow) % 16,
                             .bias = wide % 5 > 0};
        Check(shares, shape);
      }
    }
  });
}

TEST(PackedProductTest, EveryNumberOfRowsToTwoTiles) {
  OnEachInstructionSet([] {
    ProductShares shares("rows to 17");
    for (int64_t N = 1; N <= 17; ++N) {
      Check(shares, {.N = N, .K = 49, .M = 50, .padding = N % 2, .misalignment = N % 3});
      Check(shares, {.N = N, .K = 1, .M = 48});  // sums of one term
      Check(shares, {.N = N, .K = 96, .M = 1, .bias = false});
    }
  });
}

TEST(PackedProductTest, SeveralBlocksOfEachSize) {
  OnEachInstructionSet([] {
    ProductShares shares("blocks");
    Check(shares, {.N = 601, .K = 33, .M = 50});
    Check(shares, {.N = 11, .K = 1541, .M = 50, .padding = 3});
    Check(shares, {.N = 300, .K = 769, .M = 100, .misalignment = 1});
    Check(shares, {.N = 3, .K = 5, .M = 30522, .misalignment = 1});  // BERT's vocabulary
    Check(shares, {.N = 2, .K = 3, .M = 50272, .padding = 4});       // OPT's
    Check(shares, {.N = 4, .K = 30522, .M = 3});
  });
}

// A c too large for caches is written past them where its lines are whole, and otherwise not: the
// same bits.
TEST(PackedProductTest, LargeResultsAreTheSameWhereverTheyLie) {
  const Shape shape = {.N = 337, .K = 3, .M = 50272};
  Layer aligned(shape), strided({.N = 337, .K = 3, .M = 50272, .padding = 3, .misalignment = 5});
  MultiplyForward(aligned);
  MultiplyForward(strided);
  ExpectSameBits<float>("y", strided.y.Rows(), aligned.y.Rows());
  testing::ExpectClose(
      "y", aligned.y.Rows(), aligned.ExpectedForward(),
      Tolerance::ForSum<float>(shape.K + 1, Largest(aligned.ExpectedForward(true))));
}

TEST(PackedProductTest, BitsDoNotDependOnThreads) {
  OnEachInstructionSet([] {
    for (const Shape& shape :
         {Shape{.N = 777, .K = 800, .M = 150, .padding = 1}, Shape{.N = 31, .K = 70, .M = 1601}}) {
      std::vector<float> y, dx;
      for (const int threads : {1, 2, 3, 6, 7}) {
        const ScopedComputeThreads scope(threads);
        Layer layer(shape);
        MultiplyForward(layer);
        MultiplyBackward(layer, true);
        if (threads == 1) {
          y = layer.y.Rows(), dx = layer.dx.Rows();
          continue;
        }
        ExpectSameBits<float>("y", layer.y.Rows(), y);
        ExpectSameBits<float>("dx", layer.dx.Rows(), dx);
      }
    }
  });
}

// A row's bits do not depend on which other rows are in the call: one packed weight serves all.
TEST(PackedProductTest, BitsDoNotDependOnTheNumberOfRows) {
  OnEachInstructionSet([] {
    const Shape shape = {.N = 90, .K = 770, .M = 101};
    Layer all(shape);
    MultiplyForward(all);
    const std::vector<float> expected = all.y.Rows();
    for (const int64_t N : {1, 9, 89}) {
      Layer some(shape);
      some.shape.N = N;
      MultiplyForward(some);
      const std::vector<float> y = some.y.Rows();
      ExpectSameBits<float>("y", {y.begin(), y.begin() + N * shape.M},
                            {expected.begin(), expected.begin() + N * shape.M});
    }
  });
}

}  // namespace
}  // namespace sluice
