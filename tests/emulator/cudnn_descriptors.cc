#include "emulator/cudnn_descriptors.h"

#include <array>
#include <set>

#include "emulator/cudnn_attributes.h"
#include "emulator/device_memory.h"
#include "emulator/report.h"

namespace sluice::emulator {
namespace {

constexpr int64_t kForwardWorkspace = 4096;  // so that a missing workspace shows
constexpr int64_t kLargestHead = 256;

CudnnTensor TensorOf(const CudnnDescriptor& descriptor) {
  if (descriptor.type != CUDNN_BACKEND_TENSOR_DESCRIPTOR) {
    FailOnHost("cuDNN: a descriptor of type %d is no tensor", descriptor.type);
  }
  CudnnTensor tensor = {.number = descriptor.value<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID),
                        .type = descriptor.value<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE),
                        .alignment = descriptor.value<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)};
  for (size_t i = 0; i < 4; ++i) {
    tensor.sizes[i] = descriptor.value<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, i);
    tensor.strides[i] = descriptor.value<int64_t>(CUDNN_ATTR_TENSOR_STRIDES, i);
  }
  const auto flag = [&](int name) { return descriptor.has(name) && descriptor.value<bool>(name); };
  tensor.is_virtual = flag(CUDNN_ATTR_TENSOR_IS_VIRTUAL);
  tensor.by_value = flag(CUDNN_ATTR_TENSOR_IS_BY_VALUE);
  return tensor;
}

void CheckTensor(const CudnnTensor& tensor) {
  if (tensor.number == 0) FailOnHost("cuDNN: a tensor's number is 0");
  for (size_t i = 0; i < 4; ++i) {
    if (tensor.sizes[i] < 1 || tensor.strides[i] < 1) {
      FailOnHost("cuDNN: tensor %ld: size %ld, stride %ld", tensor.number, tensor.sizes[i],
                 tensor.strides[i]);
    }
  }
  const int64_t alignment = tensor.alignment;
  if (alignment < tensor.element_bytes() || (alignment & (alignment - 1)) != 0) {
    FailOnHost("cuDNN: tensor %ld: alignment of %ld bytes", tensor.number, alignment);
  }
  if (tensor.by_value && tensor.is_virtual) {
    FailOnHost("cuDNN: tensor %ld is virtual and by value", tensor.number);
  }
}

void ExpectTensor(const CudnnTensor& tensor, const char* what, cudnnDataType_t type,
                  const std::array<int64_t, 4>& sizes) {
  if (tensor.type != type || tensor.sizes != sizes) {
    FailOnHost("cuDNN: %s is %ld x %ld x %ld x %ld of type %d, not %ld x %ld x %ld x %ld of %d",
               what, tensor.sizes[0], tensor.sizes[1], tensor.sizes[2], tensor.sizes[3],
               tensor.type, sizes[0], sizes[1], sizes[2], sizes[3], type);
  }
}
void ExpectHeads(const CudnnTensor& tensor, const char* what, const CudnnTensor& q) {
  ExpectTensor(tensor, what, q.type, q.sizes);
  const bool rows_aligned = tensor.strides[0] % 8 == 0 && tensor.strides[1] % 8 == 0 &&
                            tensor.strides[2] % 8 == 0 && tensor.alignment >= 16;
  if (tensor.strides[3] != 1 || !rows_aligned) {
    FailOnHost("cuDNN: %s: rows must lie at multiples of 16 bytes, without gaps", what);
  }
}

// The mask that stands between the two products: everything about it is checked.
CudnnTensor CausalMaskOf(const CudnnDescriptor& operation, int subgraph, const CudnnTensor& q) {
  const CudnnDescriptor& graph = operation.other(subgraph);
  if (graph.type != CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR ||
      graph.other(CUDNN_ATTR_OPERATIONGRAPH_OPS).type != kBandMask) {
    FailOnHost("cuDNN: the subgraph of an attention is not a diagonal band mask");
  }
  const CudnnDescriptor& mask = graph.other(CUDNN_ATTR_OPERATIONGRAPH_OPS);
  const CudnnTensor x = TensorOf(mask.other(kBandMaskX)), y = TensorOf(mask.other(kBandMaskY));
  const std::array<int64_t, 4> pairs = {q.sizes[0], q.sizes[1], q.sizes[2], q.sizes[2]};
  ExpectTensor(x, "the mask's input", CUDNN_DATA_FLOAT, pairs);
  ExpectTensor(y, "the mask's output", CUDNN_DATA_FLOAT, pairs);
  if (!x.is_virtual || !y.is_virtual) FailOnHost("cuDNN: scores must be virtual tensors");
  if (!operation.has(subgraph + 1) || !operation.has(subgraph + 2) ||
      operation.value<int64_t>(subgraph + 1) != x.number ||
      operation.value<int64_t>(subgraph + 2) != y.number) {
    FailOnHost("cuDNN: the subgraph's input and output are not those of its operation");
  }
  if (mask.value<cudnnPointwiseMode_t>(kBandMaskComparison) != CUDNN_POINTWISE_CMP_GE) {
    FailOnHost("cuDNN: only row >= column is stood in for");
  }
  const CudnnTensor b = TensorOf(mask.other(kBandMaskB));
  ExpectTensor(b, "the mask's value", CUDNN_DATA_FLOAT, {1, 1, 1, 1});
  if (!b.by_value) FailOnHost("cuDNN: the mask's value must be by value");
  return b;
}

}  // namespace

// The operation's tensors, checked against each other.
CudnnAttentionTensors AttentionOf(const CudnnDescriptor& operation) {
  const bool backward = operation.type == CUDNN_BACKEND_OPERATION_SDPA_BWD_DESCRIPTOR;
  const auto tensor = [&](int forward_name, int backward_name) {
    const int name = backward ? backward_name : forward_name;
    return operation.has(name) ? TensorOf(operation.other(name)) : CudnnTensor();
  };
#define SLUICE_TENSOR(name) \
  tensor(CUDNN_ATTR_OPERATION_SDPA_FWD_##name, CUDNN_ATTR_OPERATION_SDPA_BWD_##name)
  CudnnAttentionTensors t = {.q = SLUICE_TENSOR(QDESC),
                             .k = SLUICE_TENSOR(KDESC),
                             .v = SLUICE_TENSOR(VDESC),
                             .o = SLUICE_TENSOR(ODESC),
                             .statistics = SLUICE_TENSOR(STATSDESC),
                             .scale = SLUICE_TENSOR(SCALEDESC),
                             .query_lengths = SLUICE_TENSOR(SEQ_LEN_QDESC),
                             .key_lengths = SLUICE_TENSOR(SEQ_LEN_KVDESC)};
#undef SLUICE_TENSOR
  if (backward) {
    t.dq = TensorOf(operation.other(CUDNN_ATTR_OPERATION_SDPA_BWD_DQDESC));
    t.dk = TensorOf(operation.other(CUDNN_ATTR_OPERATION_SDPA_BWD_DKDESC));
    t.dv = TensorOf(operation.other(CUDNN_ATTR_OPERATION_SDPA_BWD_DVDESC));
    t.dout = TensorOf(operation.other(CUDNN_ATTR_OPERATION_SDPA_BWD_DODDESC));
  }
  const int subgraph = backward ? kBackwardSubgraph : kForwardSubgraph;
  t.causal = operation.has(subgraph);
  if (t.causal) t.minus_infinity = CausalMaskOf(operation, subgraph, t.q);
  return t;
}

namespace {

void CheckAttention(const CudnnAttentionTensors& t, bool backward) {
  const auto [B, H, T, D] = t.q.sizes;
  if (t.q.type != CUDNN_DATA_BFLOAT16 && t.q.type != CUDNN_DATA_HALF) {
    FailOnHost("cuDNN: Q is of type %d, not bf16 or fp16", t.q.type);
  }
  if (D % 8 != 0 || D > kLargestHead) FailOnHost("cuDNN: heads of %ld channels", D);
  ExpectHeads(t.q, "Q", t.q);
  ExpectHeads(t.k, "K", t.q);
  ExpectHeads(t.v, "V", t.q);
  ExpectHeads(t.o, "O", t.q);
  if (t.statistics.exists()) {
    ExpectTensor(t.statistics, "statistics", CUDNN_DATA_FLOAT, {B, H, T, 1});
    if (t.statistics.strides != std::array<int64_t, 4>{H * T, T, 1, 1}) {
      FailOnHost("cuDNN: statistics must lie without gaps");
    }
  }
  ExpectTensor(t.scale, "the scale", CUDNN_DATA_FLOAT, {1, 1, 1, 1});
  if (!t.scale.by_value) FailOnHost("cuDNN: only a scale by value is stood in for");
  if (t.query_lengths.exists() != t.key_lengths.exists()) {
    FailOnHost("cuDNN: lengths of queries and of keys come together");
  }
  if (t.key_lengths.exists()) {
    ExpectTensor(t.query_lengths, "lengths of queries", CUDNN_DATA_INT32, {B, 1, 1, 1});
    ExpectTensor(t.key_lengths, "lengths of keys", CUDNN_DATA_INT32, {B, 1, 1, 1});
  }
  if (!backward) return;
  ExpectHeads(t.dq, "dQ", t.q);
  ExpectHeads(t.dk, "dK", t.q);
  ExpectHeads(t.dv, "dV", t.q);
  ExpectHeads(t.dout, "dO", t.q);
}

// Those that need a pointer.
std::vector<CudnnTensor*> TensorsInMemory(CudnnAttentionTensors& t) {
  std::vector<CudnnTensor*> tensors;
  for (CudnnTensor* tensor : {&t.q, &t.k, &t.v, &t.o, &t.statistics, &t.scale, &t.query_lengths,
                              &t.key_lengths, &t.minus_infinity, &t.dq, &t.dk, &t.dv, &t.dout}) {
    if (tensor->exists() && !tensor->is_virtual) tensors.push_back(tensor);
  }
  return tensors;
}

int Capability() {
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
  return 10 * major + minor;
}

const CudnnDescriptor& OperationOf(const CudnnDescriptor& graph) {
  if (graph.type != CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
    FailOnHost("cuDNN: a descriptor of type %d is no operation graph", graph.type);
  }
  if (!graph.has(CUDNN_ATTR_OPERATIONGRAPH_HANDLE)) {
    FailOnHost("cuDNN: the operation graph has no handle");
  }
  return graph.other(CUDNN_ATTR_OPERATIONGRAPH_OPS);
}
}  // namespace

bool IsBackward(const CudnnDescriptor& operation) {
  return operation.type == CUDNN_BACKEND_OPERATION_SDPA_BWD_DESCRIPTOR;
}

namespace {

// Only the backward that adds up dQ in one order: engine 13 with 4 stages on Hopper, engine 14 with
// 2 on Blackwell, as cuDNN's front end asks for its deterministic option.
void CheckConfiguration(const CudnnDescriptor& configuration) {
  const CudnnDescriptor& engine = configuration.other(CUDNN_ATTR_ENGINECFG_ENGINE);
  const auto index = engine.value<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  const int major = Capability() / 10;
  const std::map<int, int64_t> hopper = {
      {CUDNN_KNOB_TYPE_TILE_M, 2},     {CUDNN_KNOB_TYPE_TILE_N, 1},
      {CUDNN_KNOB_TYPE_KERNEL_CFG, 2}, {CUDNN_KNOB_TYPE_STREAM_K, 0},
      {CUDNN_KNOB_TYPE_TILE_CGA_M, 0}, {CUDNN_KNOB_TYPE_STAGES, 4}};
  std::map<int, int64_t> wanted = hopper;
  if (major == 10) {
    wanted[CUDNN_KNOB_TYPE_TILE_M] = 3;
    wanted[CUDNN_KNOB_TYPE_TILE_N] = wanted[CUDNN_KNOB_TYPE_STAGES] = 2;
  }
  std::map<int, int64_t> knobs;
  if (configuration.has(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES)) {
    for (const SharedCudnnDescriptor& choice :
         configuration.values.at(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES).others) {
      knobs[choice->value<int>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE)] =
          choice->value<int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
    }
  }
  const bool engine_is_there = (major == 9 && index == 13) || (major == 10 && index == 14);
  if (!IsBackward(OperationOf(engine.other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH))) ||
      !engine_is_there || knobs != wanted) {
    FailOnHost("cuDNN: engine %ld with these knobs is not the deterministic backward of sm_%d",
               index, Capability());
  }
}

void CheckVariantPack(const CudnnDescriptor& pack) {
  if (pack.count<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS) !=
      pack.count<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)) {
    FailOnHost("cuDNN: a variant pack has more numbers than pointers, or fewer");
  }
}

}  // namespace

void CheckCudnnDescriptor(const CudnnDescriptor& descriptor) {
  switch (descriptor.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
      CheckTensor(TensorOf(descriptor));
      return;
    case CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_SDPA_BWD_DESCRIPTOR: {
      CudnnAttentionTensors tensors = AttentionOf(descriptor);
      CheckAttention(tensors, IsBackward(descriptor));
      std::set<int64_t> numbers;
      for (const CudnnTensor* tensor : TensorsInMemory(tensors)) {
        if (!numbers.insert(tensor->number).second) {
          FailOnHost("cuDNN: two tensors have the number %ld", tensor->number);
        }
      }
      return;
    }
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      if (IsBackward(OperationOf(descriptor.other(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)))) {
        FailOnHost("cuDNN: heuristics propose no deterministic backward");
      }
      return;
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
      CheckConfiguration(descriptor);
      return;
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
      CheckVariantPack(descriptor);
      return;
    default:
      return;
  }
}

// A plan's operation, by its configuration and that one's engine.
const CudnnDescriptor& PlannedOperation(const CudnnDescriptor& plan) {
  const CudnnDescriptor& engine =
      plan.other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).other(CUDNN_ATTR_ENGINECFG_ENGINE);
  return OperationOf(engine.other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH));
}

int64_t CudnnWorkspaceBytes(const CudnnDescriptor& plan) {
  const CudnnDescriptor& operation = PlannedOperation(plan);
  if (!IsBackward(operation)) return kForwardWorkspace;
  const auto sizes = AttentionOf(operation).q.sizes;
  return kForwardWorkspace + sizes[0] * sizes[1] * sizes[2] * sizes[3] * 4;  // dQ in fp32
}

// Puts the pack's pointers into the tensors.
void PlacePointers(const CudnnDescriptor& pack, CudnnAttentionTensors& tensors) {
  std::map<int64_t, void*> pointers;
  for (size_t i = 0; i < pack.count<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS); ++i) {
    const auto number = pack.value<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, i);
    if (!pointers.emplace(number, pack.value<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, i))
             .second) {
      FailOnHost("cuDNN: two pointers for tensor %ld", number);
    }
  }
  for (CudnnTensor* tensor : TensorsInMemory(tensors)) {
    const auto found = pointers.find(tensor->number);
    if (found == pointers.end()) FailOnHost("cuDNN: no pointer for tensor %ld", tensor->number);
    tensor->memory = found->second;
    const auto address = reinterpret_cast<uintptr_t>(tensor->memory);
    if (address % static_cast<uintptr_t>(tensor->alignment) != 0) {
      FailOnHost("cuDNN: tensor %ld, %p, is not %ld-byte aligned", tensor->number, tensor->memory,
                 tensor->alignment);
    }
    if (tensor->by_value && IsDeviceAddress(address)) {
      FailOnHost("cuDNN: tensor %ld is by value, but its pointer is the device's", tensor->number);
    }
    pointers.erase(found);
  }
  if (!pointers.empty()) {
    FailOnHost("cuDNN: a pointer for tensor %ld, which the plan does not have",
               pointers.begin()->first);
  }
  if (tensors.causal && *static_cast<const float*>(tensors.minus_infinity.memory) > -1e30f) {
    FailOnHost("cuDNN: masked scores become something that is not minus infinity");
  }
}

namespace {}  // namespace
}  // namespace sluice::emulator
