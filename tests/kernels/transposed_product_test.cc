// c += aᵀ · b on each instruction set, against a sum in double that shares no code with it.
#include "kernels/cpu/transposed_product.h"

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
using testing::PoisonedBuffer;
using testing::ProductShares;
using testing::ScopedComputeThreads;
using testing::Tolerance;
using Layer = testing::Layer<float>;
using Shape = testing::LinearShape;  // N rows are summed over; a is dy (N, M), b is x (N, K)

void AddProduct(Layer& layer) {
  const Shape& shape = layer.shape;
  layer.dweight.FillRandom(6);
  layer.dbias.FillRandom(7);
  PoisonedBuffer<float> workspace(cpu::TransposedProductWorkspaceBytes(shape.M, shape.K) / 4);
  cpu::AddTransposedProduct({.a = layer.dy.data(),
                             .b = layer.x.data(),
                             .c = layer.dweight.data(),
                             .a_sums = shape.bias ? layer.dbias.data() : nullptr,
                             .depth = shape.N,
                             .rows = shape.M,
                             .columns = shape.K,
                             .a_stride = layer.dy.stride(),
                             .b_stride = layer.x.stride(),
                             .workspace = workspace.data()});
  workspace.ExpectCanariesIntact();
  layer.dweight.ExpectOnlyRowsWritten();
  layer.dbias.ExpectOnlyRowsWritten();
}

void Check(ProductShares& shares, const Shape& shape) {
  Layer layer(shape);
  AddProduct(layer);
  const auto expected = layer.ExpectedBackwardWeight();
  const auto absolute = layer.ExpectedBackwardWeight(true);
  shares.Add(Name("c", shape), layer.dweight.Rows(), expected.dweight,
             Tolerance::ForSum<float>(shape.N + 1, Largest(absolute.dweight)));
  shares.Add(Name("sums of a", shape), layer.dbias.Rows(), expected.dbias,
             Tolerance::ForSum<float>(shape.N + 1, Largest(absolute.dbias)));
}

TEST(TransposedProductTest, EveryWidthToTwoVectors) {
  OnEachInstructionSet([] {
    ProductShares shares("widths to 33");
    for (int64_t K = 1; K <= 33; ++K) {
      for (int64_t M = 1; M <= 33; ++M) {
        // N = 1 and longer sums, all of the misalignments of a vector, rows apart and adjacent.
        Check(shares, {.N = 1 + (K + M) % 4,
                       .K = K,
                       .M = M,
                       .padding = (K + M) % 3,
                       .misalignment = (3 * K + M) % 16,
                       .bias = K % 5 > 0});
      }
    }
  });
}

TEST(TransposedProductTest, WholePanelsAndWhatRemains) {
  OnEachInstructionSet([] {
    ProductShares shares("panels");
    for (const int64_t K : {47, 48, 49, 95, 96, 97, 145}) {
      for (const int64_t M : {47, 48, 49, 96, 101, 383, 385}) {
        Check(shares, {.N = 9, .K = K, .M = M, .padding = M % 2, .misalignment = K % 3});
      }
    }
  });
}

TEST(TransposedProductTest, SeveralBlocksOfEachSize) {
  OnEachInstructionSet([] {
    ProductShares shares("blocks");
    Check(shares, {.N = 1030, .K = 33, .M = 50});
    Check(shares, {.N = 5, .K = 1541, .M = 50, .padding = 3});
    Check(shares, {.N = 513, .K = 100, .M = 781, .misalignment = 1});
    Check(shares, {.N = 3, .K = 5, .M = 30522, .misalignment = 1});  // BERT's vocabulary
    Check(shares, {.N = 2, .K = 3, .M = 50272, .padding = 4});       // OPT's
    Check(shares, {.N = 4, .K = 30522, .M = 3});
  });
}

TEST(TransposedProductTest, BitsDoNotDependOnThreads) {
  OnEachInstructionSet([] {
    for (const Shape& shape :
         {Shape{.N = 520, .K = 150, .M = 777, .padding = 1}, Shape{.N = 70, .K = 1601, .M = 31}}) {
      std::vector<float> c, sums;
      for (const int threads : {1, 2, 3, 7}) {
        const ScopedComputeThreads scope(threads);
        Layer layer(shape);
        AddProduct(layer);
        if (threads == 1) {
          c = layer.dweight.Rows(), sums = layer.dbias.Rows();
          continue;
        }
        ExpectSameBits<float>("c", layer.dweight.Rows(), c);
        ExpectSameBits<float>("sums", layer.dbias.Rows(), sums);
      }
    }
  });
}

// A second call adds to what the first has left, and the same call again gives the same bits.
TEST(TransposedProductTest, AddsToWhatIsThere) {
  OnEachInstructionSet([] {
    const int64_t depth = 3, rows = 50, columns = 70;
    const std::vector<float> a(depth * rows, 0.5f), b(depth * columns, 2.0f);
    std::vector<float> c(rows * columns, 7.0f), sums(rows, -1.0f);
    PoisonedBuffer<float> workspace(cpu::TransposedProductWorkspaceBytes(rows, columns) / 4);
    for (int call = 0; call < 2; ++call) {
      cpu::AddTransposedProduct({a.data(), b.data(), c.data(), sums.data(), depth, rows, columns,
                                 rows, columns, workspace.data()});
    }
    EXPECT_EQ(c, std::vector<float>(rows * columns, 13.0f));
    EXPECT_EQ(sums, std::vector<float>(rows, 2.0f));
  });
}

}  // namespace
}  // namespace sluice
