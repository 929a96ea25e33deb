// The capability list: a row for each reason that cuDNN cannot.
#include "ops/attention_kernel.h"

#include <functional>

#include "core/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::ops {
namespace {

using ::testing::HasSubstr;

const cuda::CudnnFacts kHopper = {.built = true, .version = 92801, .compute_capability = 90};

struct Row {
  const char* reason;
  std::function<void(AttentionNeeds&, cuda::CudnnFacts&)> change;
};

TEST(AttentionKernelTest, EveryReason) {
  const Row rows[] = {
      {"this build has no cuDNN", [](auto&, auto& facts) { facts = {}; }},
      {"cuDNN is 9.27.0, and 9.28.0 or newer", [](auto&, auto& facts) { facts.version = 92700; }},
      {"the GPU is sm_89", [](auto&, auto& facts) { facts.compute_capability = 89; }},
      {"one order of sums on sm_120", [](auto&, auto& facts) { facts.compute_capability = 120; }},
      {"end at 256 on sm_90", [](auto& needs, auto&) { needs.head_size = 264; }},
      {"end at 128 on sm_100",
       [](auto& needs, auto& facts) {
         needs.head_size = 136;
         needs.train = true;
         facts.compute_capability = 100;
       }},
      {"bf16 and fp16, not fp32", [](auto& needs, auto&) { needs.dtype = DType::kFloat32; }},
      {"clipped softmax",
       [](auto& needs, auto&) {
         needs.variant.clip = {-0.1f, 1};
       }},
      {"without a softmax",
       [](auto& needs, auto&) { needs.variant.weights = AttentionWeights::kRelu; }},
      {"softmax plus one", [](auto& needs, auto&) { needs.variant.sink = SoftmaxSink::kZero; }},
      {"learnable sink", [](auto& needs, auto&) { needs.variant.sink = SoftmaxSink::kLogit; }},
      {"sink token", [](auto& needs, auto&) { needs.variant.sink_token = true; }},
      {"register tokens", [](auto& needs, auto&) { needs.variant.registers = 2; }},
      {"mask by document", [](auto& needs, auto&) { needs.documents = true; }},
      {"documented function of seed and sample",
       [](auto& needs, auto&) {
         needs.dropout = 0.1;
         needs.train = true;
       }},
      {"multiples of 8, not 20", [](auto& needs, auto&) { needs.head_size = 20; }},
      {"rows of one token",
       [](auto& needs, auto&) {
         needs.length = 1;
         needs.train = true;
       }},
  };
  for (const Row& row : rows) {
    AttentionNeeds needs;
    cuda::CudnnFacts facts = kHopper;
    ASSERT_EQ(WhyNotCudnn(needs, facts), std::nullopt);
    row.change(needs, facts);
    const std::optional<std::string> why_not = WhyNotCudnn(needs, facts);
    ASSERT_TRUE(why_not.has_value()) << row.reason;
    EXPECT_THAT(*why_not, HasSubstr(row.reason));
    const auto choice = ChooseAttentionKernel("cudnn", needs, facts, /*on_cuda=*/true);
    EXPECT_EQ(ExitCodeOf(choice.status()), ExitCode::kUsage);
    EXPECT_THAT(std::string(choice.status().message()), HasSubstr(*why_not));
  }
}

TEST(AttentionKernelTest, WhatCudnnCan) {
  for (const GateSite site : {GateSite::kNone, GateSite::kQuery, GateSite::kKey}) {
    for (const int capability : {90, 100, 103}) {
      AttentionNeeds needs = {.head_size = 128, .train = true};
      needs.variant.gate_site = site;
      cuda::CudnnFacts facts = kHopper;
      facts.compute_capability = capability;
      EXPECT_EQ(WhyNotCudnn(needs, facts), std::nullopt);
    }
  }
  // Dropout does not matter where there is no training.
  EXPECT_EQ(WhyNotCudnn({.train = false, .dropout = 0.1}, kHopper), std::nullopt);
}

TEST(AttentionKernelTest, AutoIsOursAndSaysWhy) {
  const auto able = ChooseAttentionKernel("auto", {}, kHopper, true);
  ASSERT_TRUE(able.ok());
  EXPECT_EQ(able->kernel, AttentionKernel::kSluice);
  EXPECT_THAT(DescribeAttention(*able), HasSubstr("no measurement says that it is faster"));
  const auto unable = ChooseAttentionKernel("auto", {}, {}, true);
  ASSERT_TRUE(unable.ok());
  EXPECT_THAT(DescribeAttention(*unable), HasSubstr("this build has no cuDNN"));
}

TEST(AttentionKernelTest, WhatIsAskedFor) {
  const auto cudnn = ChooseAttentionKernel("cudnn", {}, kHopper, true);
  ASSERT_TRUE(cudnn.ok());
  EXPECT_EQ(cudnn->kernel, AttentionKernel::kCudnn);
  EXPECT_THAT(DescribeAttention(*cudnn), HasSubstr("version 9.28.1"));
  EXPECT_EQ(ChooseAttentionKernel("sluice", {}, kHopper, true)->kernel, AttentionKernel::kSluice);
  EXPECT_EQ(ExitCodeOf(ChooseAttentionKernel("cudnn", {}, kHopper, false).status()),
            ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(ChooseAttentionKernel("flash", {}, kHopper, true).status()),
            ExitCode::kUsage);
}

}  // namespace
}  // namespace sluice::ops
