#include "kernels/api/processor.h"

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(ProcessorTest, FeaturesIncludeEachOther) {
  const ProcessorFeatures features = ReadProcessorFeatures();
  EXPECT_FALSE(features.model_name.empty());
  EXPECT_EQ(features.model_name.find('\n'), std::string::npos);
  EXPECT_GE(features.logical_cores, 1);
  EXPECT_LE(features.logical_cores, static_cast<int>(std::thread::hardware_concurrency()));
  EXPECT_TRUE(!features.avx512 || features.avx2);
  EXPECT_TRUE(!features.avx512_bf16 || features.avx512);
  EXPECT_TRUE(!features.amx_bf16 || features.avx512_bf16);
}

// A second opinion on what /proc/cpuinfo says.
TEST(ProcessorTest, FeaturesAgreeWithTheCompilersRuntime) {
  const ProcessorFeatures features = ReadProcessorFeatures();
  EXPECT_EQ(features.avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
  EXPECT_EQ(features.avx512,
            __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl"));
}

TEST(ProcessorTest, EveryOpHasAnImplementationForBothTypes) {
  const std::vector<OpImplementation> lines = cpu::Implementations();
  for (const char* op : {"linear", "attention", "attention_gate", "layer_norm", "embedding",
                         "activation", "dropout", "cross_entropy", "adamw"}) {
    for (const char* dtype : {"fp32", "bf16"}) {
      int found = 0;
      for (const OpImplementation& line : lines) {
        if (line.op != op || line.dtype != dtype) continue;
        ++found;
        EXPECT_THAT(line.implementation, AnyOf(StartsWith("oneDNN "), StartsWith("Highway ")));
      }
      EXPECT_EQ(found, 1) << op << " " << dtype;
    }
  }
  if (!ReadProcessorFeatures().avx512_bf16) {
    EXPECT_THAT(lines[1].implementation, HasSubstr("by way of fp32"));
  }
}

// No machine multiplies slower than this or faster than that; rates in other units would be out.
TEST(ProcessorTest, MeasuredRatesArePlausible) {
  for (const bool bf16 : {false, true}) {
    const double gflops = cpu::MeasureMatmulGflops(bf16, 128, 256, 256, 3);
    EXPECT_GT(gflops, 0.01);
    EXPECT_LT(gflops, 1e6);
  }
  const double bandwidth = cpu::MeasureMemoryGbPerSecond(1);
  EXPECT_GT(bandwidth, 0.01);
  EXPECT_LT(bandwidth, 1e5);
}

}  // namespace
}  // namespace sluice
