#include "runtime/arena.h"

#include "core/check.h"
#include "core/integer_math.h"
#include "core/status.h"

namespace sluice {
namespace {
constexpr int64_t kAlignment =
    256;  // of what a GPU moves at once, and more than any kernel asks for
}

absl::string_view MemoryPurposeName(MemoryPurpose purpose) {
  switch (purpose) {
    case MemoryPurpose::kMasterWeights:
      return "master weights";
    case MemoryPurpose::kWorkingWeights:
      return "working weights";
    case MemoryPurpose::kPackedWeights:
      return "packed weights";
    case MemoryPurpose::kGradients:
      return "gradients";
    case MemoryPurpose::kOptimizerState:
      return "optimizer state";
    case MemoryPurpose::kActivations:
      return "activations";
    case MemoryPurpose::kScratch:
      return "scratch";
  }
  CHECK(false) << "no such purpose";
  return "";
}

Arena::~Arena() {
  if (block_ != nullptr) device_->Free(block_, bytes_);
}

const TensorView* Arena::Reserve(absl::string_view name, MemoryPurpose purpose, DType dtype,
                                 const Shape& shape) {
  CHECK(!allocated()) << "slice " << name << " was reserved after the memory was allocated";
  slices_.push_back({std::string(name), purpose, bytes_, TensorView(nullptr, dtype, shape)});
  // What no machine has is planned all the same, and told by Allocate.
  bytes_ = SaturatingAdd(bytes_, RoundUp(slices_.back().view.bytes(), kAlignment));
  return &slices_.back().view;
}

absl::Status Arena::Allocate(ArenaFill fill, Device& device) {
  CHECK(!allocated());
  if (bytes_ == 0) bytes_ = kAlignment;
  const absl::StatusOr<void*> block = device.Allocate("arena", bytes_);
  if (!block.ok()) return block.status();
  device_ = &device;
  block_ = static_cast<char*>(*block);
  for (Slice& slice : slices_) {
    slice.view = TensorView(block_ + slice.offset, slice.view.dtype(), slice.view.shape());
    const bool state = slice.purpose == MemoryPurpose::kMasterWeights ||
                       slice.purpose == MemoryPurpose::kWorkingWeights ||
                       slice.purpose == MemoryPurpose::kGradients ||
                       slice.purpose == MemoryPurpose::kOptimizerState;
    // Fresh memory is zero already.
    if (fill == ArenaFill::kPoison && !state) {
      RETURN_IF_ERROR(device.Fill(slice.view.data(), 0xFF, slice.view.bytes()));
    }
  }
  return absl::OkStatus();
}

int64_t Arena::bytes(MemoryPurpose purpose) const {
  int64_t sum = 0;
  for (const Slice& slice : slices_) {
    if (slice.purpose == purpose) sum = SaturatingAdd(sum, RoundUp(slice.view.bytes(), kAlignment));
  }
  return sum;
}

}  // namespace sluice
