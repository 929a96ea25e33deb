// Device memory for a test's kernel.
#pragma once

#include <cuda_runtime.h>

#include <vector>

namespace sluice::emulator {

template <typename T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values) : count_(values.size()) {
    cudaMalloc(&memory_, count_ * sizeof(T));
    cudaMemcpy(memory_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  explicit OnDevice(size_t count) : OnDevice(std::vector<T>(count)) {}
  ~OnDevice() { cudaFree(memory_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* data() const { return memory_; }
  std::vector<T> Download() const {
    std::vector<T> values(count_);
    cudaMemcpy(values.data(), memory_, count_ * sizeof(T), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  T* memory_ = nullptr;
  size_t count_;
};

}  // namespace sluice::emulator
