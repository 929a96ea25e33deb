// All memory of a run, planned before any of it exists: first every module reserves named slices,
// then one allocation is made, and nothing is allocated in a step. The table of slices is what
// `--dry-run` prints.
//
//   Arena arena;
//   const TensorView* hidden = arena.Reserve("layer.0.hidden", MemoryPurpose::kActivations,
//   DType::kBFloat16, {2048, 768}); RETURN_IF_ERROR(arena.Allocate(ArenaFill::kZero, device));
//   hidden->as<bf16>()[0] …  on the CPU; elsewhere only kernels of the device may follow it
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/device.h"
#include "runtime/tensor.h"

namespace sluice {

enum class MemoryPurpose {
  kMasterWeights,   // fp32 parameters
  kWorkingWeights,  // their rounded copy, when there is one
  kPackedWeights,   // weights re-laid for the GEMM library
  kGradients,       // fp32
  kOptimizerState,
  kActivations,  // what forward saves for backward
  kScratch,      // gradients of activations, logits, kernels' workspaces: re-used within a step
};
constexpr int kMemoryPurposes = 7;
absl::string_view MemoryPurposeName(MemoryPurpose purpose);

// What fresh memory holds. The results of a run must not depend on it; tests run with both.
enum class ArenaFill { kZero, kPoison /* 0xFF: NaN in every floating-point type */ };

class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // A slice of its own, aligned to 256 bytes. The view's address stays valid; its data is null
  // until Allocate.
  const TensorView* Reserve(absl::string_view name, MemoryPurpose purpose, DType dtype,
                            const Shape& shape);

  // Gives every slice its memory, of `device`, which outlives the arena (parameters' purposes are
  // always zeroed first). Call once. DeviceError when there is none.
  absl::Status Allocate(ArenaFill fill, Device& device);

  bool allocated() const { return block_ != nullptr; }
  int64_t bytes() const { return bytes_; }
  int64_t bytes(MemoryPurpose purpose) const;

  struct Slice {
    std::string name;
    MemoryPurpose purpose;
    int64_t offset;  // bytes
    TensorView view;
  };
  const std::deque<Slice>& slices() const { return slices_; }

 private:
  std::deque<Slice> slices_;  // a deque: growing it moves nothing
  int64_t bytes_ = 0;
  Device* device_ = nullptr;
  char* block_ = nullptr;
};

}  // namespace sluice
