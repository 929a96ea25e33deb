// That cuBLASLt's stand-in computes, and stops what the library documents as wrong.
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::emulator {
namespace {

constexpr uint64_t kM = 3, kN = 2, kK = 4;
constexpr int64_t kStride = 8;  // of every column, so that all of them are aligned
constexpr size_t kWorkspace = 1 << 16;

float* Device(const std::vector<float>& values) {
  float* memory = nullptr;
  EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&memory), values.size() * sizeof(float)),
            cudaSuccess);
  cudaMemcpy(memory, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice);
  return memory;
}

// d (3 x 2) = a (3 x 4) · b (4 x 2) + bias, by columns.
class StandInTest : public ::testing::Test {
 protected:
  StandInTest() {
    cublasLtCreate(&handle_);
    cublasLtMatmulDescCreate(&matmul_, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatrixLayoutCreate(&a_layout_, CUDA_R_32F, kM, kK, kStride);
    cublasLtMatrixLayoutCreate(&b_layout_, CUDA_R_32F, kK, kN, kStride);
    cublasLtMatrixLayoutCreate(&d_layout_, CUDA_R_32F, kM, kN, kStride);
    std::vector<float> a(kStride * kK), b(kStride * kN), d(kStride * kN, -1);
    for (uint64_t k = 0; k < kK; ++k) {
      for (uint64_t i = 0; i < kM; ++i) a[k * kStride + i] = static_cast<float>(i + 10 * k);
      for (uint64_t j = 0; j < kN; ++j) b[j * kStride + k] = static_cast<float>(j == k);
    }
    a_ = Device(a), b_ = Device(b), d_ = Device(d), bias_ = Device({100, 200, 300});
    cudaMalloc(&workspace_, kWorkspace);
  }
  ~StandInTest() override {
    for (void* memory : {static_cast<void*>(a_), static_cast<void*>(b_), static_cast<void*>(d_),
                         static_cast<void*>(bias_), workspace_}) {
      cudaFree(memory);
    }
    for (cublasLtMatrixLayout_t layout : {a_layout_, b_layout_, d_layout_}) {
      cublasLtMatrixLayoutDestroy(layout);
    }
    cublasLtMatmulDescDestroy(matmul_);
    cublasLtDestroy(handle_);
  }
  void AddBias(const float* bias) {
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cublasLtMatmulDescSetAttribute(matmul_, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                   sizeof(epilogue));
    cublasLtMatmulDescSetAttribute(matmul_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias));
  }
  cublasLtMatmulAlgo_t Choose(uint32_t alignment = 16) {
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulPreferenceCreate(&preference);
    const uint64_t most = kWorkspace;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &most, sizeof(most));
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof(alignment));
    }
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    cublasLtMatmulAlgoGetHeuristic(handle_, matmul_, a_layout_, b_layout_, d_layout_, d_layout_,
                                   preference, 1, &result, &found);
    EXPECT_EQ(found, 1);
    workspace_bytes_ = result.workspaceSize;
    cublasLtMatmulPreferenceDestroy(preference);
    return result.algo;
  }
  void Run(const cublasLtMatmulAlgo_t& algorithm, const float* a, size_t workspace_bytes) {
    const float alpha = 1, beta = 0;
    cublasLtMatmul(handle_, matmul_, &alpha, a, a_layout_, b_, b_layout_, &beta, d_, d_layout_, d_,
                   d_layout_, &algorithm, workspace_, workspace_bytes, nullptr);
  }

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t matmul_ = nullptr;
  cublasLtMatrixLayout_t a_layout_ = nullptr, b_layout_ = nullptr, d_layout_ = nullptr;
  float *a_ = nullptr, *b_ = nullptr, *d_ = nullptr, *bias_ = nullptr;
  void* workspace_ = nullptr;
  size_t workspace_bytes_ = 0;
};
using StandInDeathTest = StandInTest;

TEST_F(StandInTest, MultipliesByColumnsAndAddsTheBias) {
  AddBias(bias_);
  const cublasLtMatmulAlgo_t algorithm = Choose();
  Run(algorithm, a_, workspace_bytes_);
  std::vector<float> d(kStride * kN);
  cudaMemcpy(d.data(), d_, d.size() * sizeof(float), cudaMemcpyDeviceToHost);
  // b's columns are the first two unit vectors, and what lies between columns is not touched.
  EXPECT_EQ(d, (std::vector<float>{100, 201, 302, -1, -1, -1, -1, -1,  //
                                   110, 211, 312, -1, -1, -1, -1, -1}));
}

TEST_F(StandInDeathTest, WhatTheLibraryDocumentsAsWrongIsStopped) {
  const cublasLtMatmulAlgo_t algorithm = Choose();
  EXPECT_DEATH(Run(algorithm, a_ + 1, workspace_bytes_), "A, .* is not 16-byte aligned");
  EXPECT_DEATH(Run(algorithm, a_, 8), "needs 4096 bytes of workspace, not 8");
  EXPECT_DEATH(Run(algorithm, a_ + 8, workspace_bytes_), "A: 12 bytes from byte 128");
  alignas(16) const float host[kStride * kK] = {};
  EXPECT_DEATH(Run(algorithm, host, workspace_bytes_), "A, .* is not memory of the device");
  EXPECT_DEATH(Run({}, a_, workspace_bytes_), "not one that was chosen");
  AddBias(host);
  EXPECT_DEATH(Run(algorithm, a_, workspace_bytes_), "chosen for another product");
  EXPECT_DEATH(Run(Choose(4), a_, workspace_bytes_), "the bias, .* is not memory of the device");
}

TEST_F(StandInDeathTest, ShapesTypesAndDeadObjectsAreStopped) {
  cublasLtMatrixLayout_t other = nullptr;
  EXPECT_DEATH(cublasLtMatrixLayoutCreate(&other, CUDA_R_32F, 9, 2, 8), "columns are 8 apart");
  EXPECT_DEATH(cublasLtMatmulDescCreate(&matmul_, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F),
               "only products in fp32");
  std::swap(a_layout_, b_layout_);
  EXPECT_DEATH(Choose(), "op\\(A\\) is 4 x 2, op\\(B\\) 3 x 4");
  std::swap(a_layout_, b_layout_);
  cublasLtMatrixLayoutCreate(&other, CUDA_R_16BF, kK, kN, kStride);
  std::swap(other, b_layout_);
  EXPECT_DEATH(Choose(), "no product in fp32 of types");
  std::swap(other, b_layout_);
  cublasLtMatrixLayoutDestroy(other);
  std::swap(other, b_layout_);
  EXPECT_DEATH(Choose(), "B's layout does not exist");
  std::swap(other, b_layout_);
}

}  // namespace
}  // namespace sluice::emulator
