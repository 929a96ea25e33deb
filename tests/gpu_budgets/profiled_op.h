// What gpu_profile writes down of kernels that ran on the emulator, as JSON for profile_test.py.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "core/check.h"
#include "nlohmann/json.hpp"

namespace sluice::gpu_budgets {

// Memory of the device, filled from the host once.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) {
    const size_t bytes = values.size() * sizeof(T);
    void* memory = nullptr;
    CHECK(cudaMalloc(&memory, bytes) == cudaSuccess);
    CHECK(cudaMemcpy(memory, values.data(), bytes, cudaMemcpyHostToDevice) == cudaSuccess);
    memory_ = static_cast<T*>(memory);
  }
  // Numbers between -1 and 1 that look random.
  explicit DeviceArray(int64_t count) : DeviceArray(SomeValues(count)) {}
  ~DeviceArray() { CHECK(cudaFree(memory_) == cudaSuccess); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* get() const { return memory_; }

 private:
  static std::vector<T> SomeValues(int64_t count) {
    std::vector<T> values;
    uint32_t state = 12345;
    for (int64_t i = 0; i < count; ++i) {
      state = state * 1664525u + 1013904223u;
      values.push_back(static_cast<T>(static_cast<float>(state >> 8) / (1 << 23) - 1));
    }
    return values;
  }

  T* memory_;
};

// Counts of all kernels since the last call, as emulator/profile.h has them.
nlohmann::json TakeCounts();

// Runs each op of kernels/cuda by itself, in bf16: a list of {"op", "shape", "kernels"}.
nlohmann::json ProfileOps();
// Runs one training step of a small BERT and a small OPT: a list of {"model", "shape", "calls",
// "kernels"}; calls: of each op.
nlohmann::json ProfileSteps();

}  // namespace sluice::gpu_budgets
