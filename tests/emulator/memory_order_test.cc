// Work in two streams on the same memory: stopped unless something makes one wait for the other.
#include "emulator/memory_order.h"

#include <cuda_runtime.h>

#include "emulator/seeded_bugs.h"
#include "gtest/gtest.h"

namespace sluice::emulator {
namespace {

constexpr size_t kBytes = kBugThreads * sizeof(float);

class MemoryOrderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (float** memory : {&x_, &y_, &z_}) {
      ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(memory), kBytes), cudaSuccess);
      cudaMemset(*memory, 0, kBytes);
    }
    cudaStreamCreateWithFlags(&a_, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&b_, cudaStreamNonBlocking);
    cudaEventCreate(&event_);
    cudaDeviceSynchronize();
  }
  void TearDown() override {
    for (float* memory : {x_, y_, z_}) cudaFree(memory);
    cudaStreamDestroy(a_);
    cudaStreamDestroy(b_);
    cudaEventDestroy(event_);
  }
  // y = x reversed
  static void Reverse(const float* x, float* y, cudaStream_t stream) {
    int n = kBugThreads;
    void* arguments[] = {&x, &y, &n};
    const auto* kernel = reinterpret_cast<const void*>(SeededBugs()[0].kernel);
    ASSERT_EQ(cudaLaunchKernel(kernel, dim3(1), dim3(kBugThreads), arguments, 0, stream),
              cudaSuccess);
  }

  float *x_ = nullptr, *y_ = nullptr, *z_ = nullptr;
  cudaStream_t a_ = nullptr, b_ = nullptr;
  cudaEvent_t event_ = nullptr;
};

TEST_F(MemoryOrderTest, AKernelMustWaitForWhatItReads) {
  Reverse(x_, y_, a_);
  Reverse(y_, z_, a_);  // the same stream
  EXPECT_DEATH(Reverse(z_, x_, b_), "reads memory that kernel .*Right.* in stream . writes");
}

TEST_F(MemoryOrderTest, ACopyMustWaitForWhatItReads) {
  Reverse(x_, y_, a_);
  EXPECT_DEATH(cudaMemcpyAsync(z_, y_, kBytes, cudaMemcpyDeviceToDevice, b_),
               "cudaMemcpyAsync.* reads memory that kernel .* writes, with no wait in between");
}

TEST_F(MemoryOrderTest, AWriteMustWaitForReaders) {
  Reverse(x_, y_, a_);
  EXPECT_DEATH(cudaMemsetAsync(x_, 0, kBytes, b_),
               "cudaMemsetAsync.* writes memory that kernel .* reads");
  EXPECT_DEATH(Reverse(z_, x_, b_), "writes memory that kernel .* reads");
}

TEST_F(MemoryOrderTest, TwoReadersNeedNotWait) {
  Reverse(x_, y_, a_);
  Reverse(x_, z_, b_);
}

TEST_F(MemoryOrderTest, AnEventOrders) {
  Reverse(x_, y_, a_);
  cudaEventRecord(event_, a_);
  cudaStreamWaitEvent(b_, event_, 0);
  Reverse(y_, z_, b_);
}

TEST_F(MemoryOrderTest, AnEventOrdersOnlyWhatWasBeforeIt) {
  cudaEventRecord(event_, a_);
  Reverse(x_, y_, a_);
  cudaStreamWaitEvent(b_, event_, 0);
  EXPECT_DEATH(Reverse(y_, z_, b_), "with no wait in between");
}

TEST_F(MemoryOrderTest, AWaitOfTheHostOrders) {
  Reverse(x_, y_, a_);
  cudaStreamSynchronize(a_);
  Reverse(y_, z_, b_);
  cudaEventRecord(event_, b_);
  cudaEventSynchronize(event_);
  Reverse(z_, x_, a_);
  cudaDeviceSynchronize();
  Reverse(x_, y_, b_);
}

TEST_F(MemoryOrderTest, TheDefaultStreamOrdersBlockingStreamsOnly) {
  cudaStream_t blocking = nullptr;
  cudaStreamCreate(&blocking);
  Reverse(x_, y_, blocking);
  Reverse(y_, z_, nullptr);
  Reverse(z_, x_, blocking);
  EXPECT_DEATH(Reverse(x_, y_, a_), "with no wait in between");
  cudaStreamDestroy(blocking);
}

TEST_F(MemoryOrderTest, FreeingInAStreamIsAWrite) {
  void* memory = nullptr;
  cudaMallocAsync(&memory, kBytes, a_);
  cudaMemsetAsync(memory, 0, kBytes, a_);
  EXPECT_DEATH(cudaFreeAsync(memory, b_), "cudaFreeAsync.* writes memory that cudaMemsetAsync");
  EXPECT_EQ(cudaFreeAsync(memory, a_), cudaSuccess);
}

}  // namespace
}  // namespace sluice::emulator
