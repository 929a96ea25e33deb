// Times the attention op alone, on random queries, keys, values and gates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/dtype.h"

namespace sluice {

struct AttentionBenchmarkOptions {
  int64_t batch = 16, length = 128, heads = 12, head_size = 64;
  DType dtype = DType::kBFloat16;
  bool causal = false;
  double dropout = 0.1;
  int64_t repetitions = 10;
  std::string device = "cpu";             // runtime.device
  std::string attention_kernel = "auto";  // runtime.attention_kernel
};

struct AttentionTiming {
  std::string variant;                   // vanilla, VGA query site, VGA key site
  double forward_s = 0, backward_s = 0;  // fastest of the repetitions, gate included
  double forward_gflops = 0,
         backward_gflops = 0;  // of 4·B·H·T²·D forward and 10·B·H·T²·D backward (half when causal)
};

// UsageError where options.attention_kernel is cudnn and cannot be; its message says why.
absl::StatusOr<std::vector<AttentionTiming>> BenchmarkAttention(
    const AttentionBenchmarkOptions& options);

}  // namespace sluice
