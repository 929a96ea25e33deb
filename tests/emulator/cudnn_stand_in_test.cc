// That cuDNN's stand-in computes, and stops what the library documents as wrong.
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "core/bf16.h"
#include "emulator/cudnn_attributes.h"
#include "gtest/gtest.h"

namespace sluice::emulator {
namespace {

constexpr int64_t kT = 4, kD = 8;  // one head of one row
constexpr std::array<int64_t, 4> kHead = {1, 1, kT, kD}, kHeadStrides = {kT * kD, kT*kD, kD, 1};
constexpr std::array<int64_t, 4> kOne = {1, 1, 1, 1};

using Descriptor = cudnnBackendDescriptor_t;

template <typename Name>
void Set(Descriptor descriptor, Name name, cudnnBackendAttributeType_t type, int64_t count,
         const void* values) {
  cudnnBackendSetAttribute(descriptor, static_cast<cudnnBackendAttributeName_t>(name), type, count,
                           values);
}
template <typename Name>
void Set(Descriptor descriptor, Name name, Descriptor other) {
  Set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other);
}

struct TensorDescription {
  int64_t number;
  cudnnDataType_t type = CUDNN_DATA_BFLOAT16;
  std::array<int64_t, 4> sizes = kHead, strides = kHeadStrides;
  int64_t alignment = 16;
  bool by_value = false;
};

// O = softmax(Q · Kᵀ · scale) · V, through the calls that it takes.
class CudnnStandInTest : public ::testing::Test {
 protected:
  CudnnStandInTest() {
    setenv("SLUICE_EMULATOR_COMPUTE_CAPABILITY", "90", 1);
    cudnnCreate(&handle_);
    for (bf16*& memory : memory_) {
      cudaMalloc(reinterpret_cast<void**>(&memory), kT * kD * sizeof(bf16));
    }
    // Scores are 0, so O is the mean of V, whose row t is all t.
    const std::vector<bf16> zeros(kT * kD, bf16(0.0f));
    std::vector<bf16> values;
    for (int64_t i = 0; i < kT * kD; ++i) {
      const int64_t row = i / kD;
      values.push_back(bf16(static_cast<float>(row)));
    }
    Upload(zeros, memory_[0]);
    Upload(zeros, memory_[1]);
    Upload(values, memory_[2]);
    cudaMalloc(&workspace_, 4096);
  }
  ~CudnnStandInTest() override {
    for (Descriptor descriptor : made_) cudnnBackendDestroyDescriptor(descriptor);
    for (bf16* memory : memory_) cudaFree(memory);
    cudaFree(workspace_);
    cudnnDestroy(handle_);
    unsetenv("SLUICE_EMULATOR_COMPUTE_CAPABILITY");
  }
  static void Upload(const std::vector<bf16>& values, bf16* memory) {
    cudaMemcpy(memory, values.data(), values.size() * sizeof(bf16), cudaMemcpyHostToDevice);
  }

  Descriptor Make(int type) {
    Descriptor descriptor = nullptr;
    cudnnBackendCreateDescriptor(static_cast<cudnnBackendDescriptorType_t>(type), &descriptor);
    made_.push_back(descriptor);
    return descriptor;
  }
  Descriptor Tensor(const TensorDescription& tensor) {
    Descriptor made = Make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    Set(made, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &tensor.number);
    Set(made, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &tensor.type);
    Set(made, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, tensor.sizes.data());
    Set(made, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, tensor.strides.data());
    Set(made, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &tensor.alignment);
    Set(made, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &tensor.by_value);
    cudnnBackendFinalize(made);
    return made;
  }
  // `k` may be wrong.
  Descriptor Operation(const TensorDescription& k = {2}) {
    Descriptor operation = Make(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    Set(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, Tensor({1}));
    Set(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, Tensor(k));
    Set(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, Tensor({3}));
    Set(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, Tensor({4}));
    Set(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC,
        Tensor({5, CUDNN_DATA_FLOAT, kOne, kOne, 4, /*by_value=*/true}));
    return operation;
  }
  Descriptor Graph(Descriptor operation) {
    Descriptor graph = Make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    Set(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle_);
    Set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
    cudnnBackendFinalize(graph);
    return graph;
  }
  Descriptor Plan(Descriptor graph) {
    Descriptor heuristics = Make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    Set(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    Set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    cudnnBackendFinalize(heuristics);
    Descriptor configuration = Make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    int64_t count = 0;
    cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                             CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &configuration);
    Descriptor plan = Make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    Set(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle_);
    Set(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    cudnnBackendFinalize(plan);
    return plan;
  }
  Descriptor WholePlan() {
    Descriptor operation = Operation();
    cudnnBackendFinalize(operation);
    return Plan(Graph(operation));
  }
  void Run(Descriptor plan, std::vector<int64_t> numbers, std::vector<void*> pointers,
           void* workspace) {
    Descriptor pack = Make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    Set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, std::ssize(numbers),
        numbers.data());
    Set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, std::ssize(pointers),
        pointers.data());
    Set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    cudnnBackendFinalize(pack);
    cudnnBackendExecute(handle_, plan, pack);
  }
  void Run(Descriptor plan, std::vector<void*> pointers) {
    Run(plan, {1, 2, 3, 4, 5}, std::move(pointers), workspace_);
  }

  cudnnHandle_t handle_ = nullptr;
  bf16* memory_[4] = {};  // Q, K, V, O
  void* workspace_ = nullptr;
  float scale_ = 0.5f;
  std::vector<Descriptor> made_;
};
using CudnnStandInDeathTest = CudnnStandInTest;

TEST_F(CudnnStandInTest, ComputesAttention) {
  Run(WholePlan(), {memory_[0], memory_[1], memory_[2], memory_[3], &scale_});
  std::vector<bf16> o(kT * kD);
  cudaMemcpy(o.data(), memory_[3], o.size() * sizeof(bf16), cudaMemcpyDeviceToHost);
  for (const bf16 value : o) EXPECT_EQ(static_cast<float>(value), 1.5f);
}

TEST_F(CudnnStandInDeathTest, WrongDescriptionsAreStopped) {
  EXPECT_DEATH(Make(CUDNN_BACKEND_RNG_DESCRIPTOR), "type 32 are not stood in for");
  EXPECT_DEATH(Tensor({1, CUDNN_DATA_BFLOAT16, {1, 1, 0, kD}}), "size 0, stride");
  EXPECT_DEATH(Tensor({1, CUDNN_DATA_BFLOAT16, kHead, kHeadStrides, 24}), "alignment of 24 bytes");
  const TensorDescription longer = {2, CUDNN_DATA_BFLOAT16, {1, 1, kT + 1, kD}};
  EXPECT_DEATH(cudnnBackendFinalize(Operation(longer)), "K is 1 x 1 x 5 x 8 of type");
  EXPECT_DEATH(cudnnBackendFinalize(Operation({2, CUDNN_DATA_HALF})), "K is .* of type 2, not");
  EXPECT_DEATH(cudnnBackendFinalize(
                   Operation({2, CUDNN_DATA_BFLOAT16, kHead, {kT * kD, kT * kD, kD + 1, 1}})),
               "K: rows must lie at multiples of 16 bytes");
  EXPECT_DEATH(cudnnBackendFinalize(Operation({3})), "two tensors have the number 3");
  EXPECT_DEATH(cudnnBackendFinalize(Make(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR)),
               "lacks attribute");
  const int32_t narrow = 1;
  EXPECT_DEATH(Set(Make(CUDNN_BACKEND_TENSOR_DESCRIPTOR), CUDNN_ATTR_TENSOR_UNIQUE_ID,
                   CUDNN_TYPE_INT32, 1, &narrow),
               "1 values of type 23, not 1 to 1 of type 3");
}

TEST_F(CudnnStandInDeathTest, TheOrderOfCallsIsChecked) {
  Descriptor operation = Operation();
  EXPECT_DEATH(Graph(operation), "is used before it is finalized");
  cudnnBackendFinalize(operation);
  EXPECT_DEATH(cudnnBackendFinalize(operation), "finalized twice");
  EXPECT_DEATH(Set(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, Tensor({1})),
               "set after it was finalized");
  Descriptor without_handle = Make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  Set(without_handle, CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  cudnnBackendFinalize(without_handle);
  EXPECT_DEATH(Plan(without_handle), "has no handle");
  Descriptor gone = nullptr;
  cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &gone);
  cudnnBackendDestroyDescriptor(gone);
  EXPECT_DEATH(cudnnBackendFinalize(gone), "the descriptor does not exist");
}

TEST_F(CudnnStandInDeathTest, TheBackwardMustBeTheDeterministicOne) {
  Descriptor operation = Operation();
  cudnnBackendFinalize(operation);
  Descriptor engine = Make(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  const int64_t index = 13;
  Set(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, Graph(operation));
  Set(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index);
  cudnnBackendFinalize(engine);
  Descriptor configuration = Make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  Set(configuration, CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  EXPECT_DEATH(cudnnBackendFinalize(configuration), "not the deterministic backward of sm_90");
}

TEST_F(CudnnStandInDeathTest, WrongPointersAreStopped) {
  Descriptor plan = WholePlan();
  const std::vector<void*> right = {memory_[0], memory_[1], memory_[2], memory_[3], &scale_};
  std::vector<void*> wrong = right;
  wrong[1] = memory_[1] + 1;
  EXPECT_DEATH(Run(plan, wrong), "tensor 2, .* is not 16-byte aligned");
  wrong[1] = memory_[1] + 8;
  EXPECT_DEATH(Run(plan, wrong), "K: 16 bytes from byte");
  alignas(16) bf16 host[kT * kD] = {};
  wrong[1] = host;
  EXPECT_DEATH(Run(plan, wrong), "K, .* is not memory of the device");
  wrong = right;
  wrong[4] = memory_[3];
  EXPECT_DEATH(Run(plan, wrong), "tensor 5 is by value");
  EXPECT_DEATH(Run(plan, {1, 2, 3, 4}, {right.begin(), right.end() - 1}, workspace_),
               "no pointer for tensor 5");
  EXPECT_DEATH(Run(plan, {1, 2, 3, 4, 6}, right, workspace_), "no pointer for tensor 5");
  EXPECT_DEATH(Run(plan, {1, 2, 3, 4}, right, workspace_), "more numbers than pointers");
  EXPECT_DEATH(Run(plan, {1, 2, 3, 4, 5}, right, nullptr), "workspace, .* is not memory");
  const std::vector<bf16> poison(kT * kD, bf16(std::nanf("")));
  Upload(poison, memory_[2]);
  EXPECT_DEATH(Run(plan, right), "V has a value that is not finite");
}

}  // namespace
}  // namespace sluice::emulator
