// One linear layer for the tests: operands in guarded memory, their products in double, and the
// backend's products.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"
#include "kernels/api/linear.h"
#include "support/backend.h"
#include "support/compare.h"

namespace sluice::testing {

struct LinearShape {
  int64_t N, K, M;
  int64_t padding = 0;       // elements between the rows of x, y, dy, dx
  int64_t misalignment = 0;  // elements that every pointer is away from a cache line
  bool bias = true;
};

inline std::string Name(const char* what, const LinearShape& s) {
  return std::string(what) + " " + std::to_string(s.N) + "x" + std::to_string(s.K) + "x" +
         std::to_string(s.M) + " padding " + std::to_string(s.padding);
}

// A matrix in guarded memory, NaN wherever nobody has written, and the same values in double.
template <typename T>
class Matrix {
 public:
  Matrix(int64_t rows, int64_t columns, const LinearShape& shape, int64_t padding)
      : rows_(rows),
        columns_(columns),
        stride_(columns + padding),
        buffer_(rows * stride_, shape.misalignment * static_cast<int64_t>(sizeof(T))) {}

  Matrix& FillRandom(uint64_t seed, double low = -1, double high = 1) {
    exact_ = RandomValues(rows_ * columns_, seed, low, high);
    for (int64_t i = 0; i < rows_ * columns_; ++i) {
      const T value(static_cast<float>(exact_[i]));
      exact_[i] = static_cast<double>(value);
      buffer_[i / columns_ * stride_ + i % columns_] = value;
    }
    return *this;
  }
  // Contiguous: what the reference reads and writes.
  std::vector<double>& exact() { return exact_; }
  std::vector<double> absolute() const {
    std::vector<double> values = exact_;
    for (double& value : values) value = std::abs(value);
    return values;
  }
  T* data() { return buffer_.data(); }
  int64_t stride() const { return stride_; }
  std::vector<T> Rows() const {
    std::vector<T> values;
    for (int64_t row = 0; row < rows_; ++row) {
      const T* begin = buffer_.data() + row * stride_;
      values.insert(values.end(), begin, begin + columns_);
    }
    return values;
  }
  void ExpectOnlyRowsWritten() const {
    buffer_.ExpectCanariesIntact();
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t i = columns_; i < stride_; ++i) {
        EXPECT_TRUE(std::isnan(static_cast<float>(buffer_[row * stride_ + i])));
      }
    }
  }

 private:
  int64_t rows_, columns_, stride_;
  PoisonedBuffer<T> buffer_;
  std::vector<double> exact_;
};

inline double Largest(const std::vector<double>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

// The products of the backend under test, with the state of its library.
class Products {
 public:
  Products() {
    if constexpr (kOnCuda) context_.SetWorkspace(Workspace());
  }
  template <typename T>
  absl::Status Forward(const LinearForwardArgs<T>& args) {
    if constexpr (!kOnCuda) return cpu::LinearForward(cache_, args);
    return OnCuda([&](auto stream) { return cuda::LinearForward(context_, args, stream); });
  }
  template <typename T>
  absl::Status Logits(const LinearLogitsArgs<T>& args) {
    if constexpr (!kOnCuda) return cpu::LinearLogits(cache_, args);
    return OnCuda([&](auto stream) { return cuda::LinearLogits(context_, args, stream); });
  }
  template <typename T>
  absl::Status BackwardInput(const LinearBackwardInputArgs<T>& args) {
    if constexpr (!kOnCuda) return cpu::LinearBackwardInput(cache_, args);
    return OnCuda([&](auto stream) { return cuda::LinearBackwardInput(context_, args, stream); });
  }
  template <typename T>
  absl::Status BackwardWeight(const LinearBackwardWeightArgs<T>& args) {
    if constexpr (!kOnCuda) return cpu::LinearBackwardWeight(cache_, args);
    return OnCuda([&](auto stream) { return cuda::LinearBackwardWeight(context_, args, stream); });
  }
  // On the CPU what ops make of the single kernels (src/ops/linear_activation.cc).
  template <typename T>
  absl::Status ActivationForward(const LinearActivationForwardArgs<T>& args) {
    if constexpr (kOnCuda) {
      return OnCuda(
          [&](auto stream) { return cuda::LinearActivationForward(context_, args, stream); });
    } else {
      LinearForwardArgs<T> linear = args.linear;
      if (args.pre_activation != nullptr) linear.y = args.pre_activation;
      RETURN_IF_ERROR(cpu::LinearForward(cache_, linear));
      return cpu::ActivationForward<T>(
          {linear.y, args.linear.y, linear.N * linear.M, args.activation});
    }
  }
  template <typename T>
  absl::Status ActivationBackward(const LinearActivationBackwardArgs<T>& args) {
    if constexpr (kOnCuda) {
      return OnCuda(
          [&](auto stream) { return cuda::LinearActivationBackward(context_, args, stream); });
    } else {
      const LinearBackwardInputArgs<T>& next = args.next;
      RETURN_IF_ERROR(cpu::LinearBackwardInput(cache_, next));
      RETURN_IF_ERROR(cpu::ActivationBackward<T>(
          {args.saved, next.dx, next.dx, next.N * next.K, args.activation}));
      const std::vector<T> x(next.N, T(1.0f));  // of a layer with one input, for its bias alone
      std::vector<float> dweight(next.K);
      return cpu::LinearBackwardWeight<T>(cache_, {.x = x.data(),
                                                   .dy = next.dx,
                                                   .dweight = dweight.data(),
                                                   .dbias = args.dbias,
                                                   .N = next.N,
                                                   .K = 1,
                                                   .M = next.K,
                                                   .x_stride = 1,
                                                   .dy_stride = next.K});
    }
  }
  // Bytes of packed weights: CUDA packs none.
  template <typename T>
  int64_t PackedForwardBytes(int64_t N, int64_t K, int64_t M) {
    if constexpr (kOnCuda) return 0;
    return cpu::PackedForwardBytes<T>(cache_, N, K, M);
  }
  template <typename T>
  int64_t PackedBackwardInputBytes(int64_t N, int64_t K, int64_t M) {
    if constexpr (kOnCuda) return 0;
    return cpu::PackedBackwardInputBytes<T>(cache_, N, K, M);
  }
  // What the library has made, and holds.
  int64_t made() const { return kOnCuda ? context_.product_count() : cache_.primitive_count(); }
  int64_t scratch_bytes() const { return kOnCuda ? 1 : cache_.scratch_bytes(); }

 private:
  template <typename Launch>
  static absl::Status OnCuda(const Launch& launch) {
    return RunOnBackend(launch);
  }
  static void* Workspace() {
    static auto* workspace = new PoisonedBuffer<uint8_t>(cuda::kLinearWorkspaceBytes + 256);
    const auto address = reinterpret_cast<uintptr_t>(workspace->data());
    return workspace->data() + (256 - address % 256) % 256;
  }
  cpu::LinearCache cache_;
  cuda::LinearContext context_;
};

// Room for a packed weight of `bytes`; null for none.
class PackedMemory {
 public:
  explicit PackedMemory(int64_t bytes) : bytes_(bytes), buffer_(bytes) {}
  void* get() { return bytes_ > 0 ? buffer_.data() : nullptr; }
  void ExpectCanariesIntact() const { buffer_.ExpectCanariesIntact(); }

 private:
  int64_t bytes_;
  PoisonedBuffer<uint8_t> buffer_;
};

constexpr int64_t kManyRows = 1 << 20;  // so many that packing pays

// The operands of one layer, random, and its products in double.
template <typename T>
struct Layer {
  explicit Layer(const LinearShape& s)
      : shape(s),
        x(s.N, s.K, s, s.padding),
        weight(s.M, s.K, s, 0),
        bias(1, s.M, s, 0),
        y(s.N, s.M, s, s.padding),
        dy(s.N, s.M, s, s.padding),
        dx(s.N, s.K, s, s.padding),
        dweight(s.M, s.K, s, 0),
        dbias(1, s.M, s, 0) {
    x.FillRandom(1);
    weight.FillRandom(2);
    bias.FillRandom(3);
    dy.FillRandom(4);
  }

  LinearForwardArgs<T> ForwardArgs(PackedWeight* packed = nullptr) {
    return {.x = x.data(),
            .weight = weight.data(),
            .bias = shape.bias ? bias.data() : nullptr,
            .y = y.data(),
            .N = shape.N,
            .K = shape.K,
            .M = shape.M,
            .x_stride = x.stride(),
            .y_stride = y.stride(),
            .packed = packed};
  }
  LinearBackwardInputArgs<T> BackwardInputArgs(bool accumulate, PackedWeight* packed = nullptr) {
    return {.dy = dy.data(),
            .weight = weight.data(),
            .dx = dx.data(),
            .accumulate = accumulate,
            .N = shape.N,
            .K = shape.K,
            .M = shape.M,
            .dy_stride = dy.stride(),
            .dx_stride = dx.stride(),
            .packed = packed};
  }
  LinearBackwardWeightArgs<T> BackwardWeightArgs() {
    return {.x = x.data(),
            .dy = dy.data(),
            .dweight = dweight.data(),
            .dbias = shape.bias ? dbias.data() : nullptr,
            .N = shape.N,
            .K = shape.K,
            .M = shape.M,
            .x_stride = x.stride(),
            .dy_stride = dy.stride()};
  }

  std::vector<double> ExpectedForward(bool absolute = false) {
    std::vector<double> result(shape.N * shape.M);
    const std::vector<double> x_values = absolute ? x.absolute() : x.exact();
    const std::vector<double> weight_values = absolute ? weight.absolute() : weight.exact();
    const std::vector<double> bias_values = absolute ? bias.absolute() : bias.exact();
    reference::LinearForward({.x = x_values.data(),
                              .weight = weight_values.data(),
                              .bias = shape.bias ? bias_values.data() : nullptr,
                              .y = result.data(),
                              .N = shape.N,
                              .K = shape.K,
                              .M = shape.M,
                              .x_stride = shape.K,
                              .y_stride = shape.M});
    return result;
  }
  // dx before the call: dx.exact().
  std::vector<double> ExpectedBackwardInput(bool accumulate, bool absolute = false) {
    std::vector<double> result(shape.N * shape.K);
    if (accumulate) result = absolute ? dx.absolute() : dx.exact();
    const std::vector<double> dy_values = absolute ? dy.absolute() : dy.exact();
    const std::vector<double> weight_values = absolute ? weight.absolute() : weight.exact();
    reference::LinearBackwardInput({.dy = dy_values.data(),
                                    .weight = weight_values.data(),
                                    .dx = result.data(),
                                    .accumulate = accumulate,
                                    .N = shape.N,
                                    .K = shape.K,
                                    .M = shape.M,
                                    .dy_stride = shape.M,
                                    .dx_stride = shape.K});
    return result;
  }
  struct Gradients {
    std::vector<double> dweight, dbias;
  };
  Gradients ExpectedBackwardWeight(bool absolute = false) {
    Gradients result = {absolute ? dweight.absolute() : dweight.exact(),
                        absolute ? dbias.absolute() : dbias.exact()};
    const std::vector<double> x_values = absolute ? x.absolute() : x.exact();
    const std::vector<double> dy_values = absolute ? dy.absolute() : dy.exact();
    reference::LinearBackwardWeight({.x = x_values.data(),
                                     .dy = dy_values.data(),
                                     .dweight = result.dweight.data(),
                                     .dbias = shape.bias ? result.dbias.data() : nullptr,
                                     .N = shape.N,
                                     .K = shape.K,
                                     .M = shape.M,
                                     .x_stride = shape.K,
                                     .dy_stride = shape.M});
    return result;
  }

  LinearShape shape;
  Matrix<T> x, weight, bias, y, dy, dx;
  Matrix<float> dweight, dbias;
};

}  // namespace sluice::testing
