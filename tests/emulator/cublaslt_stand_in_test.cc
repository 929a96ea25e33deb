// That cuBLASLt's stand-in computes, and stops what the library documents as wrong.
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
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
  template <typename Value>
  void Set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    cublasLtMatmulDescSetAttribute(matmul_, attribute, &value, sizeof(value));
  }
  void AddBias(const float* bias, cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS) {
    Set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  void SetAuxiliary(cublasLtEpilogue_t epilogue, float* auxiliary, int64_t stride = kStride) {
    Set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    Set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, auxiliary);
    Set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, stride);
  }
  std::vector<float> OnHost(const float* memory) const {
    std::vector<float> values(kStride * kN);
    cudaMemcpy(values.data(), memory, values.size() * sizeof(float), cudaMemcpyDeviceToHost);
    return values;
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
  void Run(const cublasLtMatmulAlgo_t& algorithm, const float* a, size_t workspace_bytes,
           float beta = 0) {
    const float alpha = 1;
    cublasLtMatmul(handle_, matmul_, &alpha, a, a_layout_, b_, b_layout_, &beta, d_, d_layout_, d_,
                   d_layout_, &algorithm, workspace_, workspace_bytes, nullptr);
  }

  void RunChosen() {
    const cublasLtMatmulAlgo_t algorithm = Choose();
    Run(algorithm, a_, workspace_bytes_);
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
  // b's columns are the first two unit vectors, and what lies between columns is not touched.
  EXPECT_EQ(OnHost(d_), (std::vector<float>{100, 201, 302, -1, -1, -1, -1, -1,  //
                                            110, 211, 312, -1, -1, -1, -1, -1}));
}

// Before the activation the columns of d are 0 1 2 and 10 11 12, and the bias.
TEST_F(StandInTest, ReluIsAppliedAfterTheBias) {
  float* bias = Device({-10.5, std::nanf(""), -2});
  AddBias(bias, CUBLASLT_EPILOGUE_RELU_BIAS);
  RunChosen();
  EXPECT_EQ(OnHost(d_), (std::vector<float>{0, 0, 0, -1, -1, -1, -1, -1,  // NaN becomes 0
                                            0, 0, 10, -1, -1, -1, -1, -1}));
  cudaFree(bias);
}

TEST_F(StandInTest, GeluLeavesItsInputForTheGradient) {
  float* bias = Device({-11, -12, -12});
  float* input = Device(std::vector<float>(kStride * kN, 7));
  AddBias(bias);
  SetAuxiliary(CUBLASLT_EPILOGUE_GELU_AUX_BIAS, input);
  RunChosen();
  EXPECT_EQ(OnHost(input), (std::vector<float>{-11, -11, -10, 7, 7, 7, 7, 7,  //
                                               -1, -1, 0, 7, 7, 7, 7, 7}));
  const double u = std::sqrt(2 / std::acos(-1.0)) * (1 + 0.044715);  // of x = 1
  std::vector<float> d = OnHost(d_);
  EXPECT_EQ(d[10], 0);
  EXPECT_NEAR(d[8], -0.5 * (1 - std::tanh(u)), 1e-6);
  EXPECT_EQ(d[3], -1);
  SetAuxiliary(CUBLASLT_EPILOGUE_DGELU, input);  // the same product, times the slopes at `input`
  RunChosen();
  d = OnHost(d_);
  const double slope = 0.5 * (1 - std::tanh(u)) - 0.5 * (1 - std::tanh(u) * std::tanh(u)) *
                                                      std::sqrt(2 / std::acos(-1.0)) *
                                                      (1 + 3 * 0.044715);
  EXPECT_NEAR(d[8], 10 * slope, 1e-5);
  EXPECT_NEAR(d[10], 12 * 0.5, 1e-6);
  EXPECT_EQ(d[11], -1);
  cudaFree(bias);
  cudaFree(input);
}

TEST_F(StandInTest, RefusesEpiloguesOnRequest) {
  float* input = Device(std::vector<float>(kStride * kN));
  const auto found = [&](cublasStatus_t expected) {
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulPreferenceCreate(&preference);
    cublasLtMatmulHeuristicResult_t result;
    int count = -1;
    EXPECT_EQ(cublasLtMatmulAlgoGetHeuristic(handle_, matmul_, a_layout_, b_layout_, d_layout_,
                                             d_layout_, preference, 1, &result, &count),
              expected);
    cublasLtMatmulPreferenceDestroy(preference);
    return count;
  };
  AddBias(bias_);
  setenv("SLUICE_EMULATOR_CUBLASLT_REFUSE", "status", 1);
  EXPECT_EQ(found(CUBLAS_STATUS_SUCCESS), 1);  // no activation
  SetAuxiliary(CUBLASLT_EPILOGUE_GELU_AUX, input);
  EXPECT_EQ(found(CUBLAS_STATUS_NOT_SUPPORTED), 0);
  setenv("SLUICE_EMULATOR_CUBLASLT_REFUSE", "none", 1);
  EXPECT_EQ(found(CUBLAS_STATUS_SUCCESS), 0);
  unsetenv("SLUICE_EMULATOR_CUBLASLT_REFUSE");
  EXPECT_EQ(found(CUBLAS_STATUS_SUCCESS), 1);
  cudaFree(input);
}

TEST_F(StandInDeathTest, WrongAuxiliaryMatricesAreStopped) {
  float* input = Device(std::vector<float>(kStride * (kN + 1)));
  EXPECT_DEATH(SetAuxiliary(CUBLASLT_EPILOGUE_DGELU_BGRAD, input), "epilogue 208 is not stood in");
  for (const int64_t stride : {0, 12}) {
    SetAuxiliary(CUBLASLT_EPILOGUE_GELU_AUX, input, stride);
    EXPECT_DEATH(Choose(), "EPILOGUE_AUX_LD is .*, not a multiple of 8 of at least 3 rows");
  }
  SetAuxiliary(CUBLASLT_EPILOGUE_GELU_AUX, nullptr);
  EXPECT_DEATH(Choose(), "epilogue 160 without EPILOGUE_AUX_POINTER");
  SetAuxiliary(CUBLASLT_EPILOGUE_GELU_AUX, input);
  const cublasLtMatmulAlgo_t algorithm = Choose();
  EXPECT_DEATH(Run(algorithm, a_, workspace_bytes_, 1), "beta is 1 with an activation");
  SetAuxiliary(CUBLASLT_EPILOGUE_GELU_AUX, input + 1);
  EXPECT_DEATH(Run(algorithm, a_, workspace_bytes_), "AUX is not 256-byte aligned, as it was when");
  SetAuxiliary(CUBLASLT_EPILOGUE_GELU_AUX, input, 2 * kStride);
  EXPECT_DEATH(Run(algorithm, a_, workspace_bytes_), "chosen for another product");
  SetAuxiliary(CUBLASLT_EPILOGUE_GELU_AUX, input + 2 * kStride + 1);
  EXPECT_DEATH(RunChosen(), "AUX: 12 bytes from byte 100");
  alignas(256) float host[kStride * kN] = {};
  SetAuxiliary(CUBLASLT_EPILOGUE_DGELU, host);
  EXPECT_DEATH(RunChosen(), "AUX, .* is not memory of the device");
  const float* misaligned = bias_ + 1;
  AddBias(bias_);
  const cublasLtMatmulAlgo_t with_bias = Choose();
  AddBias(misaligned);
  EXPECT_DEATH(Run(with_bias, a_, workspace_bytes_), "the bias is not 256-byte aligned");
  const int32_t type = CUDA_R_16F;
  EXPECT_DEATH(Set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, type), "is not stood in for");
  EXPECT_DEATH(Set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, 8), "AUX_LD has 8 bytes, not 4");
  cudaFree(input);
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
