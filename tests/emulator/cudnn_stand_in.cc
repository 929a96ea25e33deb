// cuDNN on the emulator: exactly the calls of its backend API that kernels/cuda/cudnn_plan.cc
// makes, as cuDNN 9.28 documents them (cudnn_graph.h). Each checks types and counts of attributes,
// that what is used was finalized and what is finalized is not changed, shapes, alignment,
// workspace and pointers, and stops the program with a sentence where the library would return an
// error or compute nonsense. What it computes is in cudnn_attention.cc.
#include <cudnn.h>

#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "emulator/cudnn_attributes.h"
#include "emulator/cudnn_descriptors.h"
#include "emulator/report.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

namespace sluice::emulator {
namespace {

constexpr size_t kVersion = 92801;

using Descriptor = CudnnDescriptor;
using Shared = SharedCudnnDescriptor;

std::set<cudnnHandle_t>& Handles() {
  static std::set<cudnnHandle_t> handles;
  return handles;
}
std::map<void*, Shared>& Descriptors() {
  static std::map<void*, Shared> descriptors;
  return descriptors;
}
cudnnHandle_t Known(cudnnHandle_t handle) {
  if (Handles().count(handle) == 0) FailOnHost("cuDNN: the handle does not exist");
  return handle;
}
Shared Known(cudnnBackendDescriptor_t descriptor) {
  const auto known = Descriptors().find(descriptor);
  if (known == Descriptors().end()) FailOnHost("cuDNN: the descriptor does not exist");
  return known->second;
}
Shared Finalized(cudnnBackendDescriptor_t descriptor) {
  Shared known = Known(descriptor);
  if (!known->finalized) {
    FailOnHost("cuDNN: a descriptor of type %d is used before it is finalized", known->type);
  }
  return known;
}

size_t SizeOfAttribute(int type) {
  switch (type) {
    case CUDNN_TYPE_INT64:
      return sizeof(int64_t);
    case CUDNN_TYPE_BOOLEAN:
      return sizeof(bool);
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return sizeof(void*);
    default:
      return sizeof(int);  // enumerations
  }
}

const CudnnAttribute& RuleOf(const Descriptor& descriptor, int name) {
  for (const CudnnAttribute& rule : CudnnAttributes().at(descriptor.type)) {
    if (rule.name == name) return rule;
  }
  FailOnHost("cuDNN: attribute %d of a descriptor of type %d is not stood in for", name,
             descriptor.type);
}

}  // namespace
}  // namespace sluice::emulator

using Descriptor = sluice::emulator::CudnnDescriptor;
using sluice::emulator::FailOnHost;
using sluice::emulator::Known;
using Shared = sluice::emulator::SharedCudnnDescriptor;

extern "C" {

size_t cudnnGetVersion() { return sluice::emulator::kVersion; }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS ? "CUDNN_STATUS_SUCCESS" : "an error";
}
void cudnnGetLastErrorString(char* message, size_t size) {
  if (size > 0) message[0] = '\0';
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext();
  sluice::emulator::Handles().insert(*handle);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  sluice::emulator::Handles().erase(Known(handle));
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  Known(handle)->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* descriptor) {
  if (sluice::emulator::CudnnAttributes().count(type) == 0) {
    FailOnHost("cuDNN: descriptors of type %d are not stood in for", type);
  }
  auto made = std::make_shared<Descriptor>(Descriptor{type});
  *descriptor = made.get();
  sluice::emulator::Descriptors()[*descriptor] = std::move(made);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  Known(descriptor);
  sluice::emulator::Descriptors().erase(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void* values) {
  const Shared known = Known(descriptor);
  if (known->finalized) FailOnHost("cuDNN: attribute %d is set after it was finalized", name);
  const auto& rule = sluice::emulator::RuleOf(*known, name);
  if (rule.type != type || count < rule.least || count > rule.most || values == nullptr) {
    FailOnHost("cuDNN: attribute %d: %ld values of type %d, not %ld to %ld of type %d", name, count,
               type, rule.least, rule.most, rule.type);
  }
  sluice::emulator::CudnnValue value;
  const auto* bytes = static_cast<const sluice::emulator::u8*>(values);
  value.bytes.assign(bytes,
                     bytes + static_cast<size_t>(count) * sluice::emulator::SizeOfAttribute(type));
  for (int64_t i = 0; i < count; ++i) {
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
      value.others.push_back(
          sluice::emulator::Finalized(static_cast<const cudnnBackendDescriptor_t*>(values)[i]));
    }
    if (type == CUDNN_TYPE_HANDLE) Known(static_cast<const cudnnHandle_t*>(values)[i]);
  }
  known->values[name] = std::move(value);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  const Shared known = Known(descriptor);
  if (known->finalized) FailOnHost("cuDNN: a descriptor is finalized twice");
  for (const auto& rule : sluice::emulator::CudnnAttributes().at(known->type)) {
    if (rule.required && !known->has(rule.name)) {
      FailOnHost("cuDNN: a descriptor of type %d lacks attribute %d", known->type, rule.name);
    }
  }
  sluice::emulator::CheckCudnnDescriptor(*known);
  known->finalized = true;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t most,
                                       int64_t* count, void* values) {
  const Shared known = sluice::emulator::Finalized(descriptor);
  if (most < 1) FailOnHost("cuDNN: attribute %d is asked for without room", name);
  *count = 1;
  if (known->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && name == CUDNN_ATTR_ENGINEHEUR_RESULTS &&
      type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    // One proposal, in the first of the caller's descriptors.
    const Shared result = Known(*static_cast<cudnnBackendDescriptor_t*>(values));
    if (result->type != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR || result->finalized) {
      FailOnHost("cuDNN: the heuristics' results want fresh engine configurations");
    }
    auto engine = std::make_shared<Descriptor>(Descriptor{CUDNN_BACKEND_ENGINE_DESCRIPTOR, true});
    engine->values[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] =
        known->values.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    result->values[CUDNN_ATTR_ENGINECFG_ENGINE].others = {std::move(engine)};
    result->finalized = true;
    return CUDNN_STATUS_SUCCESS;
  }
  if (known->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR &&
      name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE && type == CUDNN_TYPE_INT64) {
    *static_cast<int64_t*>(values) = sluice::emulator::CudnnWorkspaceBytes(*known);
    return CUDNN_STATUS_SUCCESS;
  }
  FailOnHost("cuDNN: getting attribute %d is not stood in for", name);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  const Shared planned = sluice::emulator::Finalized(plan);
  const Shared packed = sluice::emulator::Finalized(pack);
  if (planned->type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR ||
      packed->type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) {
    FailOnHost("cudnnBackendExecute: not a plan and a variant pack");
  }
  if (planned->value<cudnnHandle_t>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) != Known(handle)) {
    FailOnHost("cudnnBackendExecute: the plan was made with another handle");
  }
  const Descriptor& operation = sluice::emulator::PlannedOperation(*planned);
  auto tensors = sluice::emulator::AttentionOf(operation);
  sluice::emulator::PlacePointers(*packed, tensors);
  const auto task = sluice::emulator::BeginTask(handle->stream, "cudnnBackendExecute");
  auto* workspace = packed->value<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  if (reinterpret_cast<uintptr_t>(workspace) % 16 != 0) {
    FailOnHost("cudnnBackendExecute: workspace is not 16-byte aligned");
  }
  const auto bytes = static_cast<size_t>(sluice::emulator::CudnnWorkspaceBytes(*planned));
  std::memset(sluice::emulator::ReachFromLibrary(task, workspace, bytes,
                                                 sluice::emulator::Access::kWrite, "workspace"),
              0xFF, bytes);
  if (sluice::emulator::IsBackward(operation)) {
    RunCudnnBackward(task, tensors);
  } else {
    RunCudnnForward(task, tensors);
  }
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
