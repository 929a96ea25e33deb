#include "kernels/cuda/cudnn_plan.h"

#include <algorithm>

namespace sluice::cuda {
namespace {

// Of every tensor in memory of the device; the arena and cuDNN's tensor cores agree on it.
constexpr int64_t kAlignment = 16;

struct TensorShape {
  cudnnDataType_t type;
  std::array<int64_t, 4> sizes, strides;
  bool by_value = false, is_virtual = false;
};

// (B, H, T, D), or (B, H, T, 1), as cuDNN orders sizes, whatever the order in memory.
TensorShape ShapeOf(const CudnnProblem& p, CudnnTensor tensor) {
  const std::array<int64_t, 4> heads = {p.B, p.H, p.T, p.D}, one = {1, 1, 1, 1};
  const auto tokens = [&](int64_t stride) {
    return std::array<int64_t, 4>{p.T * stride, p.D, stride, 1};
  };
  switch (tensor) {
    case kTensorV:
      return {p.type, heads, tokens(p.value_stride)};
    case kTensorO:
    case kTensorDo:
      return {p.type, heads, tokens(p.H * p.D)};
    case kTensorStatistics:
      return {CUDNN_DATA_FLOAT, {p.B, p.H, p.T, 1}, {p.H * p.T, p.T, 1, 1}};
    case kTensorScale:
    case kTensorMinusInfinity:
      return {CUDNN_DATA_FLOAT, one, one, /*by_value=*/true};
    case kTensorQueryLengths:
    case kTensorKeyLengths:
      return {CUDNN_DATA_INT32, {p.B, 1, 1, 1}, one};
    case kTensorScores:
    case kTensorMaskedScores:
      return {CUDNN_DATA_FLOAT,
              {p.B, p.H, p.T, p.T},
              {p.H * p.T * p.T, p.T * p.T, p.T, 1},
              /*by_value=*/false,
              /*is_virtual=*/true};
    default:
      return {p.type, heads, tokens(p.qkv_stride)};
  }
}

// Attributes of the two operations that mean the same.
struct OperationNames {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t q, k, v, o, statistics, scale, query_lengths, key_lengths, subgraph,
      subgraph_input, subgraph_output;
};
constexpr OperationNames kForward = {CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR,
                                     CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC,
                                     CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC,
                                     CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC,
                                     CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
                                     CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC,
                                     CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC,
                                     CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC,
                                     CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC,
                                     kForwardSubgraph,
                                     kForwardSubgraphInput,
                                     kForwardSubgraphOutput};
constexpr OperationNames kBackward = {CUDNN_BACKEND_OPERATION_SDPA_BWD_DESCRIPTOR,
                                      CUDNN_ATTR_OPERATION_SDPA_BWD_QDESC,
                                      CUDNN_ATTR_OPERATION_SDPA_BWD_KDESC,
                                      CUDNN_ATTR_OPERATION_SDPA_BWD_VDESC,
                                      CUDNN_ATTR_OPERATION_SDPA_BWD_ODESC,
                                      CUDNN_ATTR_OPERATION_SDPA_BWD_STATSDESC,
                                      CUDNN_ATTR_OPERATION_SDPA_BWD_SCALEDESC,
                                      CUDNN_ATTR_OPERATION_SDPA_BWD_SEQ_LEN_QDESC,
                                      CUDNN_ATTR_OPERATION_SDPA_BWD_SEQ_LEN_KVDESC,
                                      kBackwardSubgraph,
                                      kBackwardSubgraphInput,
                                      kBackwardSubgraphOutput};
const OperationNames& NamesOf(const CudnnProblem& problem) {
  return problem.backward ? kBackward : kForward;
}

// The engine and the knobs whose backward adds up dQ in one order; heuristics never propose them.
// As cuDNN's front end sets them for its deterministic option, for 9.28.
struct Knob {
  cudnnBackendKnobType_t type;
  int64_t value;
};
struct DeterministicEngine {
  int64_t engine;
  std::array<Knob, 6> knobs;
};
constexpr DeterministicEngine kHopper = {13,
                                         {{{CUDNN_KNOB_TYPE_TILE_M, 2},
                                           {CUDNN_KNOB_TYPE_TILE_N, 1},
                                           {CUDNN_KNOB_TYPE_KERNEL_CFG, 2},
                                           {CUDNN_KNOB_TYPE_STREAM_K, 0},
                                           {CUDNN_KNOB_TYPE_TILE_CGA_M, 0},
                                           {CUDNN_KNOB_TYPE_STAGES, 4}}}};
constexpr DeterministicEngine kBlackwell = {14,
                                            {{{CUDNN_KNOB_TYPE_TILE_M, 3},
                                              {CUDNN_KNOB_TYPE_TILE_N, 2},
                                              {CUDNN_KNOB_TYPE_KERNEL_CFG, 2},
                                              {CUDNN_KNOB_TYPE_STREAM_K, 0},
                                              {CUDNN_KNOB_TYPE_TILE_CGA_M, 0},
                                              {CUDNN_KNOB_TYPE_STAGES, 2}}}};

}  // namespace

absl::StatusOr<const CudnnDescriptor*> CudnnPlan::Tensor(const CudnnProblem& problem,
                                                         CudnnTensor tensor) {
  const TensorShape shape = ShapeOf(problem, tensor);
  const int64_t alignment = shape.type == CUDNN_DATA_FLOAT || shape.type == CUDNN_DATA_INT32
                                ? int64_t{sizeof(float)}
                                : kAlignment;
  ASSIGN_OR_RETURN(CudnnDescriptor made, CudnnDescriptor::Create(CUDNN_BACKEND_TENSOR_DESCRIPTOR));
  RETURN_IF_ERROR(made.Set(CUDNN_ATTR_TENSOR_UNIQUE_ID, int64_t{tensor}));
  RETURN_IF_ERROR(made.Set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &shape.type));
  RETURN_IF_ERROR(made.Set(CUDNN_ATTR_TENSOR_DIMENSIONS, shape.sizes));
  RETURN_IF_ERROR(made.Set(CUDNN_ATTR_TENSOR_STRIDES, shape.strides));
  RETURN_IF_ERROR(made.Set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment));
  RETURN_IF_ERROR(made.Set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &shape.is_virtual));
  RETURN_IF_ERROR(made.Set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &shape.by_value));
  RETURN_IF_ERROR(made.Finalize());
  parts_.push_back(std::move(made));
  return &parts_.back();
}

absl::Status CudnnPlan::SetTensor(const CudnnProblem& problem, cudnnBackendAttributeName_t name,
                                  CudnnTensor tensor) {
  ASSIGN_OR_RETURN(const CudnnDescriptor* descriptor, Tensor(problem, tensor));
  return operation_.Set(name, *descriptor);
}

// Row i sees column j where i >= j: a graph of its own between the two products.
absl::Status CudnnPlan::AddCausalMask(const CudnnProblem& problem) {
  ASSIGN_OR_RETURN(CudnnDescriptor mask, CudnnDescriptor::Create(kDiagonalBandMask));
  for (const auto& [name, tensor] : {std::pair{kBandMaskX, kTensorScores},
                                     {kBandMaskB, kTensorMinusInfinity},
                                     {kBandMaskY, kTensorMaskedScores}}) {
    ASSIGN_OR_RETURN(const CudnnDescriptor* descriptor, Tensor(problem, tensor));
    RETURN_IF_ERROR(mask.Set(name, *descriptor));
  }
  const cudnnPointwiseMode_t comparison = CUDNN_POINTWISE_CMP_GE;
  RETURN_IF_ERROR(mask.Set(kBandMaskComparison, CUDNN_TYPE_POINTWISE_MODE, 1, &comparison));
  RETURN_IF_ERROR(mask.Finalize());
  ASSIGN_OR_RETURN(CudnnDescriptor subgraph,
                   CudnnDescriptor::Create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR));
  RETURN_IF_ERROR(subgraph.Set(CUDNN_ATTR_OPERATIONGRAPH_OPS, mask));
  RETURN_IF_ERROR(subgraph.Finalize());
  const OperationNames& names = NamesOf(problem);
  RETURN_IF_ERROR(operation_.Set(names.subgraph, subgraph));
  RETURN_IF_ERROR(operation_.Set(names.subgraph_input, int64_t{kTensorScores}));
  RETURN_IF_ERROR(operation_.Set(names.subgraph_output, int64_t{kTensorMaskedScores}));
  parts_.push_back(std::move(mask));
  parts_.push_back(std::move(subgraph));
  return absl::OkStatus();
}

absl::Status CudnnPlan::Describe(cudnnHandle_t handle, const CudnnProblem& problem) {
  parts_.reserve(32);  // what is pointed to stays in place
  const OperationNames& names = NamesOf(problem);
  ASSIGN_OR_RETURN(operation_, CudnnDescriptor::Create(names.operation));
  RETURN_IF_ERROR(SetTensor(problem, names.q, kTensorQ));
  RETURN_IF_ERROR(SetTensor(problem, names.k, kTensorK));
  RETURN_IF_ERROR(SetTensor(problem, names.v, kTensorV));
  RETURN_IF_ERROR(SetTensor(problem, names.o, kTensorO));
  RETURN_IF_ERROR(SetTensor(problem, names.scale, kTensorScale));
  if (problem.with_statistics) {
    RETURN_IF_ERROR(SetTensor(problem, names.statistics, kTensorStatistics));
  }
  if (problem.by_length) {
    RETURN_IF_ERROR(SetTensor(problem, names.query_lengths, kTensorQueryLengths));
    RETURN_IF_ERROR(SetTensor(problem, names.key_lengths, kTensorKeyLengths));
  }
  if (problem.causal) RETURN_IF_ERROR(AddCausalMask(problem));
  if (problem.backward) {
    RETURN_IF_ERROR(SetTensor(problem, CUDNN_ATTR_OPERATION_SDPA_BWD_DQDESC, kTensorDq));
    RETURN_IF_ERROR(SetTensor(problem, CUDNN_ATTR_OPERATION_SDPA_BWD_DKDESC, kTensorDk));
    RETURN_IF_ERROR(SetTensor(problem, CUDNN_ATTR_OPERATION_SDPA_BWD_DVDESC, kTensorDv));
    RETURN_IF_ERROR(SetTensor(problem, CUDNN_ATTR_OPERATION_SDPA_BWD_DODDESC, kTensorDo));
  }
  RETURN_IF_ERROR(operation_.Finalize());
  ASSIGN_OR_RETURN(graph_, CudnnDescriptor::Create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR));
  RETURN_IF_ERROR(graph_.Set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle));
  RETURN_IF_ERROR(graph_.Set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation_));
  return graph_.Finalize();
}

// The heuristics' proposals, best first; the first that can be planned.
absl::Status CudnnPlan::ChooseForward(cudnnHandle_t handle) {
  constexpr int64_t kMostProposals = 4;
  ASSIGN_OR_RETURN(CudnnDescriptor heuristics,
                   CudnnDescriptor::Create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR));
  const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
  RETURN_IF_ERROR(heuristics.Set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_));
  RETURN_IF_ERROR(heuristics.Set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
  RETURN_IF_ERROR(heuristics.Finalize());
  std::vector<CudnnDescriptor> proposals;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (int64_t i = 0; i < kMostProposals; ++i) {
    ASSIGN_OR_RETURN(CudnnDescriptor proposal,
                     CudnnDescriptor::Create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
    raw.push_back(proposal.get());
    proposals.push_back(std::move(proposal));
  }
  int64_t count = 0;
  RETURN_IF_ERROR(CheckCudnn(
      cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                               CUDNN_TYPE_BACKEND_DESCRIPTOR, kMostProposals, &count, raw.data()),
      "the heuristics' proposals"));
  absl::Status status = DeviceError("cuDNN has no engine for this attention", "forward", "");
  for (int64_t i = 0; i < std::min(count, kMostProposals); ++i) {
    status = Finish(handle, std::move(proposals[i]));
    if (status.ok()) break;
  }
  return status;
}

absl::Status CudnnPlan::ChooseDeterministicBackward(cudnnHandle_t handle, int capability) {
  const DeterministicEngine& wanted = capability / 10 == 9 ? kHopper : kBlackwell;
  ASSIGN_OR_RETURN(CudnnDescriptor engine,
                   CudnnDescriptor::Create(CUDNN_BACKEND_ENGINE_DESCRIPTOR));
  RETURN_IF_ERROR(engine.Set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph_));
  RETURN_IF_ERROR(engine.Set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, wanted.engine));
  RETURN_IF_ERROR(engine.Finalize());
  std::vector<cudnnBackendDescriptor_t> choices;
  for (const Knob& knob : wanted.knobs) {
    ASSIGN_OR_RETURN(CudnnDescriptor choice,
                     CudnnDescriptor::Create(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR));
    RETURN_IF_ERROR(
        choice.Set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &knob.type));
    RETURN_IF_ERROR(choice.Set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, knob.value));
    RETURN_IF_ERROR(choice.Finalize());
    choices.push_back(choice.get());
    parts_.push_back(std::move(choice));
  }
  ASSIGN_OR_RETURN(CudnnDescriptor configuration,
                   CudnnDescriptor::Create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
  RETURN_IF_ERROR(configuration.Set(CUDNN_ATTR_ENGINECFG_ENGINE, engine));
  RETURN_IF_ERROR(configuration.Set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, std::ssize(choices),
                                    choices.data()));
  RETURN_IF_ERROR(configuration.Finalize());
  parts_.push_back(std::move(engine));
  return Finish(handle, std::move(configuration));
}

absl::Status CudnnPlan::Finish(cudnnHandle_t handle, CudnnDescriptor configuration) {
  ASSIGN_OR_RETURN(CudnnDescriptor plan,
                   CudnnDescriptor::Create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR));
  RETURN_IF_ERROR(plan.Set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle));
  RETURN_IF_ERROR(plan.Set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration));
  RETURN_IF_ERROR(plan.Finalize());
  int64_t count = 0;
  RETURN_IF_ERROR(
      CheckCudnn(cudnnBackendGetAttribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                          CUDNN_TYPE_INT64, 1, &count, &workspace_bytes_),
                 "a plan's workspace"));
  parts_.push_back(std::move(configuration));
  plan_ = std::move(plan);
  return absl::OkStatus();
}

absl::StatusOr<CudnnPlan> CudnnPlan::Create(cudnnHandle_t handle, int capability,
                                            const CudnnProblem& problem) {
  CudnnPlan plan;
  RETURN_IF_ERROR(plan.Describe(handle, problem));
  RETURN_IF_ERROR(problem.backward ? plan.ChooseDeterministicBackward(handle, capability)
                                   : plan.ChooseForward(handle));
  return plan;
}

absl::Status CudnnPlan::Run(cudnnHandle_t handle, const std::vector<CudnnPointer>& pointers,
                            void* workspace) const {
  std::vector<int64_t> numbers;
  std::vector<void*> memory;
  for (const CudnnPointer& pointer : pointers) {
    numbers.push_back(pointer.tensor);
    memory.push_back(const_cast<void*>(pointer.memory));
  }
  ASSIGN_OR_RETURN(CudnnDescriptor pack,
                   CudnnDescriptor::Create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR));
  RETURN_IF_ERROR(pack.Set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, numbers));
  RETURN_IF_ERROR(pack.Set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                           std::ssize(memory), memory.data()));
  RETURN_IF_ERROR(pack.Set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace));
  RETURN_IF_ERROR(pack.Finalize());
  return CheckCudnn(cudnnBackendExecute(handle, plan_.get(), pack.get()), "cudnnBackendExecute");
}

}  // namespace sluice::cuda
