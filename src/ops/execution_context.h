// What every op needs besides its tensors: the device that it runs on, the GEMM libraries' state,
// scratch memory, and, when asked, a stopwatch. One per rank; nothing of it is global, so two
// models can live in one process.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/api/cudnn_attention.h"
#include "kernels/api/linear.h"
#include "runtime/arena.h"
#include "runtime/device.h"

namespace sluice {

// Time spent in each op since the last Reset, in the order in which ops were first seen.
class OpTimes {
 public:
  struct Entry {
    absl::string_view op;  // a string literal
    double seconds = 0;
    int64_t calls = 0;
  };
  OpTimes() { entries_.reserve(64); }
  void Add(absl::string_view op, double seconds);
  void Reset() { entries_.clear(); }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

class ExecutionContext;

// Who runs forward products of linear layers in the place of ops::Linear's kernels, where it knows
// the layer: inference in integers. Models know nothing of it
// (docs/decisions/0014-integer-products-through-the-context.md).
class LinearExecutor {
 public:
  virtual ~LinearExecutor() = default;
  // y (N, M) = x (N, K) · weightᵀ + bias; bias may be null. weight is the layer's working weight,
  // by whose memory it is known.
  struct Product {
    TensorView x, weight, bias, y;
  };
  // Overwrites y and returns true; or false, and has done nothing: the layer is none of its own.
  virtual absl::StatusOr<bool> Run(ExecutionContext& context, const Product& product) = 0;
};

class ExecutionContext {
 public:
  // `device` outlives the context.
  explicit ExecutionContext(Device& device) : device_(device) {}

  Device& device() const { return device_; }
  bool on_cuda() const { return device_.is_cuda(); }
  cuda::Stream stream() const { return device_.stream(); }

  // Planning: says that some op will need this much scratch. One region serves all ops, since they
  // run one after the other.
  void NeedWorkspace(int64_t bytes);
  // Planning, after every NeedWorkspace: reserves the region.
  void ReserveWorkspace(Arena& arena);

  int64_t workspace_bytes() const { return workspace_bytes_; }
  // The region, always from its beginning, 256-byte aligned; CHECKs that it is at least `bytes`
  // long. Who calls an op while it uses the region puts its own behind what that op uses.
  void* workspace(int64_t bytes) const;

  cpu::LinearCache& linear_cache() { return linear_cache_; }
  cuda::LinearContext& cuda_linear();  // once memory has been allocated
  // Who runs attention on a GPU: our kernel, until use_cudnn. Before planning.
  void use_cudnn() { cudnn_ = std::make_unique<cuda::CudnnAttention>(); }
  cuda::CudnnAttention* cudnn() const { return cudnn_.get(); }  // null: our kernel
  // For passes without backward; null: none. It outlives what is run with it.
  void set_linear_executor(LinearExecutor* executor) { linear_executor_ = executor; }
  LinearExecutor* linear_executor() const { return linear_executor_; }
  void set_op_times(OpTimes* times) { op_times_ = times; }  // null: off
  OpTimes* op_times() const { return op_times_; }

 private:
  Device& device_;
  cpu::LinearCache linear_cache_;
  cuda::LinearContext cuda_linear_;
  std::unique_ptr<cuda::CudnnAttention> cudnn_;
  int64_t workspace_bytes_ = 0;
  const TensorView* workspace_ = nullptr;
  // cuBLASLt's own: ops keep what products read in the other one.
  const TensorView* linear_workspace_ = nullptr;
  OpTimes* op_times_ = nullptr;
  LinearExecutor* linear_executor_ = nullptr;
};

// Adds its lifetime to the context's OpTimes, if any; then a GPU is waited for, so that the time is
// the op's own.
class OpTimer {
 public:
  OpTimer(const ExecutionContext& context, absl::string_view op)
      : context_(context), times_(context.op_times()), op_(op) {
    if (times_ != nullptr) start_ = std::chrono::steady_clock::now();
  }
  ~OpTimer() {
    if (times_ == nullptr) return;
    context_.device().Synchronize().IgnoreError();  // the next wait says it again
    times_->Add(op_,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
  }
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

 private:
  const ExecutionContext& context_;
  OpTimes* times_;
  absl::string_view op_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace sluice
