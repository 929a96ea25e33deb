// What linear.cc and linear_backward_weight.cc share: the state behind LinearCache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/bf16.h"
#include "core/error.h"
#include "core/integer_math.h"
#include "kernels/api/linear.h"
#include "kernels/cpu/onednn_cache.h"

namespace sluice::cpu {

// Memory that grows and never shrinks; its contents do not survive a call of the kernel.
class Scratch {
 public:
  // 64-byte aligned. Earlier pointers are invalid when it grows.
  absl::StatusOr<char*> Reserve(int64_t bytes) {
    if (bytes > bytes_) {
      memory_.reset();  // first, so that old and new never exist together
      memory_.reset(std::aligned_alloc(kAlignment, RoundUp(bytes, kAlignment)));
      bytes_ = memory_ != nullptr ? bytes : 0;
      if (memory_ == nullptr) {
        return DeviceError("no memory for the scratch space of a linear layer", "",
                           absl::StrCat(bytes, " bytes"));
      }
    }
    return static_cast<char*>(memory_.get());
  }
  int64_t bytes() const { return bytes_; }

  static constexpr int64_t kAlignment = 64;

 private:
  std::unique_ptr<void, decltype(&std::free)> memory_{nullptr, &std::free};
  int64_t bytes_ = 0;
};

// Cuts scratch memory into aligned pieces: Add each, reserve bytes() at once.
class ScratchPlan {
 public:
  // Returns the piece's offset.
  int64_t Add(int64_t bytes) {
    const int64_t offset = bytes_;
    bytes_ += RoundUp(std::max<int64_t>(bytes, 1), Scratch::kAlignment);
    return offset;
  }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

struct LinearCache::State {
  OneDnnCache library;
  Scratch scratch;  // of the product itself
  Scratch widened;  // fp32 copies of bf16 operands, where the processor has no bf16 product
};

template <typename T>
constexpr ElementType kElementType =
    std::is_same_v<T, bf16> ? ElementType::kBf16 : ElementType::kFloat;

constexpr int64_t SizeOf(ElementType type) { return type == ElementType::kBf16 ? 2 : 4; }

inline absl::Status NoProductError(const MatmulShape& shape) {
  return DeviceError("oneDNN has no product for this shape", "",
                     absl::StrCat(shape.rows, " x ", shape.b.inner, " x ", shape.b.columns));
}

}  // namespace sluice::cpu
