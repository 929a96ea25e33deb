// Which attributes the descriptors of cuDNN's stand-in have: as cudnn_graph.h of 9.28 documents
// them, those that are used.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <map>
#include <vector>

namespace sluice::emulator {

// Of 9.21 and newer; the numbers are the ABI.
constexpr int kBandMask = 44;
constexpr int kBandMaskX = 3000, kBandMaskB = 3005, kBandMaskY = 3006, kBandMaskComparison = 3007;
constexpr int kForwardSubgraph = 2811;   // then the numbers of its input and its output
constexpr int kBackwardSubgraph = 2867;  // the same

struct CudnnAttribute {
  int name;
  int type;              // cudnnBackendAttributeType_t
  int64_t least, most;   // values
  bool required = true;  // before the descriptor is finalized
};

inline const std::map<int, std::vector<CudnnAttribute>>& CudnnAttributes() {
  constexpr int kOther = CUDNN_TYPE_BACKEND_DESCRIPTOR, kInteger = CUDNN_TYPE_INT64;
  constexpr int64_t kMany = 64;
#define SLUICE_BOTH(direction, subgraph)                                             \
  {CUDNN_ATTR_OPERATION_SDPA_##direction##_QDESC, kOther, 1, 1},                     \
      {CUDNN_ATTR_OPERATION_SDPA_##direction##_KDESC, kOther, 1, 1},                 \
      {CUDNN_ATTR_OPERATION_SDPA_##direction##_VDESC, kOther, 1, 1},                 \
      {CUDNN_ATTR_OPERATION_SDPA_##direction##_ODESC, kOther, 1, 1},                 \
      {CUDNN_ATTR_OPERATION_SDPA_##direction##_SCALEDESC, kOther, 1, 1},             \
      {CUDNN_ATTR_OPERATION_SDPA_##direction##_SEQ_LEN_QDESC, kOther, 1, 1, false},  \
      {CUDNN_ATTR_OPERATION_SDPA_##direction##_SEQ_LEN_KVDESC, kOther, 1, 1, false}, \
      {subgraph, kOther, 1, 1, false}, {subgraph + 1, kInteger, 1, 1, false}, {      \
    subgraph + 2, kInteger, 1, 1, false                                              \
  }
  static const std::map<int, std::vector<CudnnAttribute>> attributes = {
      {CUDNN_BACKEND_TENSOR_DESCRIPTOR,
       {{CUDNN_ATTR_TENSOR_UNIQUE_ID, kInteger, 1, 1},
        {CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, 1},
        {CUDNN_ATTR_TENSOR_DIMENSIONS, kInteger, 4, 4},
        {CUDNN_ATTR_TENSOR_STRIDES, kInteger, 4, 4},
        {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kInteger, 1, 1},
        {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, 1, false},
        {CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, 1, false}}},
      {kBandMask,
       {{kBandMaskX, kOther, 1, 1},
        {kBandMaskB, kOther, 1, 1},
        {kBandMaskY, kOther, 1, 1},
        {kBandMaskComparison, CUDNN_TYPE_POINTWISE_MODE, 1, 1}}},
      {CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR,
       {SLUICE_BOTH(FWD, kForwardSubgraph),
        {CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, kOther, 1, 1, false}}},
      {CUDNN_BACKEND_OPERATION_SDPA_BWD_DESCRIPTOR,
       {SLUICE_BOTH(BWD, kBackwardSubgraph),
        {CUDNN_ATTR_OPERATION_SDPA_BWD_STATSDESC, kOther, 1, 1},
        {CUDNN_ATTR_OPERATION_SDPA_BWD_DQDESC, kOther, 1, 1},
        {CUDNN_ATTR_OPERATION_SDPA_BWD_DKDESC, kOther, 1, 1},
        {CUDNN_ATTR_OPERATION_SDPA_BWD_DVDESC, kOther, 1, 1},
        {CUDNN_ATTR_OPERATION_SDPA_BWD_DODDESC, kOther, 1, 1}}},
      {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
       {{CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, 1, false},
        {CUDNN_ATTR_OPERATIONGRAPH_OPS, kOther, 1, 1}}},
      {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
       {{CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, kOther, 1, 1},
        {CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, 1}}},
      {CUDNN_BACKEND_ENGINE_DESCRIPTOR,
       {{CUDNN_ATTR_ENGINE_OPERATION_GRAPH, kOther, 1, 1},
        {CUDNN_ATTR_ENGINE_GLOBAL_INDEX, kInteger, 1, 1}}},
      {CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
       {{CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, 1},
        {CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, kInteger, 1, 1}}},
      {CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
       {{CUDNN_ATTR_ENGINECFG_ENGINE, kOther, 1, 1},
        {CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, kOther, 1, kMany, false}}},
      {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
       {{CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, 1},
        {CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, kOther, 1, 1}}},
      {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR,
       {{CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, kInteger, 1, kMany},
        {CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 1, kMany},
        {CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, 1}}},
  };
#undef SLUICE_BOTH
  return attributes;
}

}  // namespace sluice::emulator
