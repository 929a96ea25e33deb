// Descriptors of cuDNN's stand-in, and what is checked of them.
#pragma once

#include <cudnn.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "emulator/cudnn_attention.h"
#include "emulator/machine.h"

namespace sluice::emulator {

struct CudnnDescriptor;
using SharedCudnnDescriptor = std::shared_ptr<CudnnDescriptor>;
struct CudnnValue {
  std::vector<u8> bytes;
  std::vector<SharedCudnnDescriptor> others;  // of attributes that are descriptors
};
struct CudnnDescriptor {
  int type;
  bool finalized = false;
  std::map<int, CudnnValue> values = {};

  bool has(int name) const { return values.count(name) != 0; }
  const CudnnDescriptor& other(int name) const { return *values.at(name).others[0]; }
  template <typename T>
  T value(int name, size_t i = 0) const {
    T result;
    std::memcpy(&result, values.at(name).bytes.data() + i * sizeof(T), sizeof(T));
    return result;
  }
  template <typename T>
  size_t count(int name) const {
    return values.at(name).bytes.size() / sizeof(T);
  }
};

// What its attributes say together, when it is finalized. Stops the program.
void CheckCudnnDescriptor(const CudnnDescriptor& descriptor);

// The attention of an operation, of a finalized plan's.
CudnnAttentionTensors AttentionOf(const CudnnDescriptor& operation);
const CudnnDescriptor& PlannedOperation(const CudnnDescriptor& plan);
bool IsBackward(const CudnnDescriptor& operation);
int64_t CudnnWorkspaceBytes(const CudnnDescriptor& plan);
// Puts the variant pack's pointers into the tensors: one for each that is in memory, aligned.
void PlacePointers(const CudnnDescriptor& pack, CudnnAttentionTensors& tensors);

}  // namespace sluice::emulator
