// Kernels with one bug each, which the emulator must stop with the right reason.
#pragma once

#include <vector>

namespace sluice::emulator {

struct SeededBug {
  const char* name;
  void (*kernel)(const float* x, float* y, int n);  // y[i] = x[n - 1 - i], or so it should be
  unsigned blocks;                                  // of n threads
  unsigned dynamic_shared_bytes;
  const char* message;  // a regular expression for what the emulator says; null for the right one
};

constexpr int kBugThreads = 256;  // n

const std::vector<SeededBug>& SeededBugs();

// Launches it on 256 values 1, 2, …, and copies y back.
std::vector<float> RunBug(const SeededBug& bug);

}  // namespace sluice::emulator
