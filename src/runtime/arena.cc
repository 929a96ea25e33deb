#include "runtime/arena.h"

#include <sys/mman.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/integer_math.h"

namespace sluice {
namespace {
constexpr int64_t kAlignment = 64;
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
  if (block_ != nullptr) munmap(block_, bytes_);
}

const TensorView* Arena::Reserve(absl::string_view name, MemoryPurpose purpose, DType dtype,
                                 const Shape& shape) {
  CHECK(!allocated()) << "slice " << name << " was reserved after the memory was allocated";
  slices_.push_back({std::string(name), purpose, bytes_, TensorView(nullptr, dtype, shape)});
  // What no machine has is planned all the same, and told by Allocate.
  bytes_ = SaturatingAdd(bytes_, RoundUp(slices_.back().view.bytes(), kAlignment));
  return &slices_.back().view;
}

absl::Status Arena::Allocate(ArenaFill fill) {
  CHECK(!allocated());
  if (bytes_ == 0) bytes_ = kAlignment;
  void* block = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) {
    return DeviceError("out of memory", "arena",
                       absl::StrCat(bytes_, " bytes: ", std::strerror(errno)));
  }
#ifdef MADV_HUGEPAGE
  madvise(block, bytes_, MADV_HUGEPAGE);  // fewer TLB misses; a refusal costs nothing
#endif
  block_ = static_cast<char*>(block);
  for (Slice& slice : slices_) {
    slice.view = TensorView(block_ + slice.offset, slice.view.dtype(), slice.view.shape());
    const bool state = slice.purpose == MemoryPurpose::kMasterWeights ||
                       slice.purpose == MemoryPurpose::kWorkingWeights ||
                       slice.purpose == MemoryPurpose::kGradients ||
                       slice.purpose == MemoryPurpose::kOptimizerState;
    // Fresh pages are zero already, so kZero touches nothing and unused slices cost nothing.
    if (fill == ArenaFill::kPoison && !state)
      std::memset(slice.view.data(), 0xFF, slice.view.bytes());
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
