// Between the launchers of attention and its kernels, which are instantiated in files of their own,
// so that they compile side by side: what a kernel is given, and which tile serves a head size.
#pragma once

#include <cstdint>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "kernels/api/cuda_stream.h"
#include "kernels/cuda/attention_problem.cuh"

namespace sluice::cuda {

template <typename T>
struct ForwardProblem : AttentionProblem<T> {
  T* out;              // (B, T, H, D)
  float* log_sum_exp;  // (B, H, T) or null
  bool vector_out;     // rows of out begin at multiples of 16 bytes
};

template <typename T>
struct BackwardProblem : AttentionProblem<T> {
  const float* log_sum_exp;  // (B, H, T)
  const T* out;              // (B, T, H, D)
  const T* dout;             // (B, T, H, D)
  T* dq;                     // (B, T, H, D) at qkv_stride
  T* dk;
  T* dv;
  float* dgate;           // as gate
  float* dsink_logit;     // (H)
  float* dsink_key;       // (H, D)
  float* dsink_value;     // (H, D)
  bool vector_dout;       // rows of out and dout begin at multiples of 16 bytes
  bool vector_gradients;  // rows of dq, dk, dv
  // Workspace.
  float* mean_gradient;  // (B, H, T): D_i
  float* row_dsink_key;  // (B, H, D): each row's part
  float* row_dsink_value;
};

// Kernels whose tiles have kTile columns, of which a problem's D are used.
template <typename T, int kTile>
absl::Status LaunchAttentionForward(const ForwardProblem<T>& problem, Stream stream);
template <typename T, int kTile>
absl::Status LaunchAttentionBackwardQueries(const BackwardProblem<T>& problem, Stream stream);
template <typename T, int kTile>
absl::Status LaunchAttentionBackwardKeys(const BackwardProblem<T>& problem, Stream stream);

// Calls launch(std::integral_constant<int, kTile>) with the narrowest tile that holds D columns.
template <typename T, typename Launcher>
absl::Status WithTileOf(int64_t D, const Launcher& launch) {
  const auto with = [&]<int kTile>() { return launch(std::integral_constant<int, kTile>()); };
  if (D <= 32) return with.template operator()<32>();
  if (D <= 64) return with.template operator()<64>();
  if constexpr (sizeof(T) == 2) {
    if (D <= 80) return with.template operator()<80>();
    if (D <= 96) return with.template operator()<96>();
  }
  if (D <= 128) return with.template operator()<128>();
  if (D <= 256) return with.template operator()<256>();
  return DeviceError("the fused attention of CUDA has head sizes up to 256", "attention",
                     absl::StrCat("head size ", D));
}

}  // namespace sluice::cuda
