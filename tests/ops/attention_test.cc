// The checked call hands every argument of every variant over: it gives the bits of the kernel that
// it chooses.
#include "ops/attention.h"

#include <vector>

#include "gtest/gtest.h"
#include "kernels/attention_problem.h"
#include "ops/tensor_arena.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::AttentionInputs;
using testing::AttentionProblem;
using testing::AttentionResults;
using testing::FillTensor;
using testing::RunAttention;
using testing::TensorValues;

// (B·T, 3·H·D) of three (B·T, H·D).
std::vector<double> Joined(const AttentionProblem& problem, const AttentionInputs& inputs) {
  const int64_t C = problem.H * problem.D;
  std::vector<double> joined;
  for (int64_t token = 0; token < problem.tokens(); ++token) {
    for (const auto* values : {&inputs.q, &inputs.k, &inputs.v}) {
      joined.insert(joined.end(), values->begin() + token * C, values->begin() + (token + 1) * C);
    }
  }
  return joined;
}

template <typename T>
class CheckedAttention {
 public:
  CheckedAttention(const AttentionProblem& problem, const AttentionInputs& inputs)
      : problem_(problem), inputs_(inputs) {
    const int64_t N = problem.tokens(), H = problem.H, D = problem.D;
    const DType kept = DTypeOf<Accumulator<T>>();
    qkv_ = Reserve(DTypeOf<T>(), {N, 3 * H * D});
    dqkv_ = Reserve(DTypeOf<T>(), {N, 3 * H * D});
    out_ = Reserve(DTypeOf<T>(), {N, H * D});
    dout_ = Reserve(DTypeOf<T>(), {N, H * D});
    gate_ = Reserve(kept, {N, problem.gates() / N});
    dgate_ = Reserve(kept, {N, problem.gates() / N});
    log_sum_exp_ = Reserve(kept, {problem.B, H, problem.T});
    sink_logit_ = Reserve(DTypeOf<T>(), {H});
    sink_key_ = Reserve(DTypeOf<T>(), {H, D});
    sink_value_ = Reserve(DTypeOf<T>(), {H, D});
    dsink_logit_ = Reserve(kept, {H});
    dsink_key_ = Reserve(kept, {H, D});
    dsink_value_ = Reserve(kept, {H, D});
    ops::PlanAttention(context_, Dims(), /*train=*/true,
                       {.sink = problem.sink, .sink_token = problem.sink_token});
    context_.ReserveWorkspace(arena_);
    CHECK(arena_.Allocate(ArenaFill::kPoison, *device_).ok());
    FillTensor(*qkv_, Joined(problem, inputs));
    FillTensor(*dout_, inputs.dout);
    FillTensor(*gate_, inputs.gate);
    FillTensor(*sink_logit_, inputs.sink_logit);
    FillTensor(*sink_key_, inputs.sink_key);
    FillTensor(*sink_value_, inputs.sink_value);
    FillTensor(*dsink_logit_, inputs.dsink_logit);
    FillTensor(*dsink_key_, inputs.dsink_key);
    FillTensor(*dsink_value_, inputs.dsink_value);
  }

  void ExpectBitsOf(const AttentionResults<T>& expected) {
    ASSERT_TRUE(ops::Run(context_, Forward()).ok());
    ASSERT_TRUE(ops::Run(context_, Backward()).ok());
    const int64_t C = problem_.H * problem_.D;
    Expect("out", *out_, expected.out);
    Expect("log_sum_exp", *log_sum_exp_, expected.log_sum_exp);
    Expect("dq", dqkv_->Columns(0, C), expected.dq);
    Expect("dk", dqkv_->Columns(C, C), expected.dk);
    Expect("dv", dqkv_->Columns(2 * C, C), expected.dv);
    if (problem_.site != GateSite::kNone) Expect("dgate", *dgate_, expected.dgate);
    Expect("dsink_logit", *dsink_logit_, expected.dsink_logit);
    Expect("dsink_key", *dsink_key_, expected.dsink_key);
    Expect("dsink_value", *dsink_value_, expected.dsink_value);
  }

 private:
  const TensorView* Reserve(DType dtype, const Shape& shape) {
    return arena_.Reserve("tensor", MemoryPurpose::kScratch, dtype, shape);
  }
  ops::AttentionDims Dims() const { return {problem_.B, problem_.T, problem_.H, problem_.D}; }
  AttentionMask Mask() const {
    return {.causal = problem_.causal,
            .lengths = problem_.lengths.data(),
            .documents = problem_.documents.data(),
            .registers = problem_.registers};
  }
  TensorView If(bool there, const TensorView* view) const { return there ? *view : TensorView(); }
  bool Gated() const { return problem_.site != GateSite::kNone; }
  bool Logit() const { return problem_.sink == SoftmaxSink::kLogit; }
  Dropout DropoutOf() const {
    Dropout dropout = inputs_.dropout;
    dropout.sample_index = inputs_.sample_index.data();
    return dropout;
  }
  ops::AttentionForward Forward() const {
    return {.dims = Dims(),
            .qkv = *qkv_,
            .gate = If(Gated(), gate_),
            .out = *out_,
            .log_sum_exp = *log_sum_exp_,
            .gate_site = problem_.site,
            .gate_per_channel = problem_.per_channel,
            .weights = problem_.weights,
            .clip = problem_.clip,
            .sink = problem_.sink,
            .sink_logit = If(Logit(), sink_logit_),
            .sink_key = If(problem_.sink_token, sink_key_),
            .sink_value = If(problem_.sink_token, sink_value_),
            .mask = Mask(),
            .dropout = DropoutOf()};
  }
  ops::AttentionBackward Backward() const {
    return {.dims = Dims(),
            .qkv = *qkv_,
            .gate = If(Gated(), gate_),
            .out = *out_,
            .log_sum_exp = *log_sum_exp_,
            .dout = *dout_,
            .dqkv = *dqkv_,
            .dgate = If(Gated(), dgate_),
            .gate_site = problem_.site,
            .gate_per_channel = problem_.per_channel,
            .weights = problem_.weights,
            .clip = problem_.clip,
            .sink = problem_.sink,
            .sink_logit = If(Logit(), sink_logit_),
            .sink_key = If(problem_.sink_token, sink_key_),
            .sink_value = If(problem_.sink_token, sink_value_),
            .dsink_logit = If(Logit(), dsink_logit_),
            .dsink_key = If(problem_.sink_token, dsink_key_),
            .dsink_value = If(problem_.sink_token, dsink_value_),
            .mask = Mask(),
            .dropout = DropoutOf()};
  }
  template <typename V>
  static void Expect(const char* name, const TensorView& actual, const std::vector<V>& expected) {
    const std::vector<double> widened = testing::Widen(expected);
    testing::ExpectSameBits<double>(name, TensorValues(actual), widened);
  }

  AttentionProblem problem_;
  AttentionInputs inputs_;
  const std::unique_ptr<Device> device_ = Device::OpenCpu();
  Arena arena_;
  ExecutionContext context_{*device_};
  const TensorView *qkv_, *dqkv_, *out_, *dout_, *gate_, *dgate_, *log_sum_exp_;
  const TensorView *sink_logit_, *sink_key_, *sink_value_;
  const TensorView *dsink_logit_, *dsink_key_, *dsink_value_;
};

template <typename T>
void ExpectHandedOver(const AttentionProblem& problem) {
  SCOPED_TRACE(problem.Name());
  const AttentionInputs inputs = AttentionInputs::Make<T>(problem, 1);
  AttentionResults<T> expected = RunAttention<T>(problem, inputs);
  CheckedAttention<T>(problem, inputs).ExpectBitsOf(expected);
}

TEST(OpsAttentionTest, HandsEveryVariantOver) {
  const AttentionProblem variants[] = {
      {},
      {.site = GateSite::kKey},
      {.site = GateSite::kQuery, .per_channel = true, .clip = {.gamma = -0.02f, .zeta = 1.1f}},
      {.sink = SoftmaxSink::kZero, .registers = 2},
      {.site = GateSite::kKey, .per_channel = true, .sink = SoftmaxSink::kLogit},
      {.sink = SoftmaxSink::kLogit, .sink_token = true, .registers = 3},
      {.clip = {.gamma = -0.02f, .zeta = 1}, .sink_token = true},
      {.site = GateSite::kQuery, .weights = AttentionWeights::kRelu, .registers = 2},
  };
  for (AttentionProblem problem : variants) {
    problem.B = 2;
    problem.T = 9;
    problem.H = 3;
    problem.D = 16;  // 1 / sqrt(16) is exact in every type
    problem.causal = problem.registers == 0;
    problem.lengths = {9, 6};
    problem.documents = testing::Documents(2, 9, {4, 7});
    problem.dropout = problem.sink_token ? 0.3f : 0;
    ExpectHandedOver<double>(problem);
    ExpectHandedOver<float>(problem);
    ExpectHandedOver<bf16>(problem);
  }
}

TEST(OpsAttentionDeathTest, MismatchedArgumentsAreOurMistake) {
  const auto device = Device::OpenCpu();
  ExecutionContext context(*device);
  std::vector<float> qkv(4 * 3 * 8), other(4 * 8);
  ops::AttentionForward call = {.dims = {1, 4, 2, 4},
                                .qkv = TensorView::Of(qkv.data(), {4, 24}),
                                .gate = {},
                                .out = TensorView::Of(other.data(), {4, 8}),
                                .log_sum_exp = {}};
  ops::AttentionForward bad = call;
  bad.gate_site = GateSite::kQuery;
  EXPECT_DEATH((void)ops::Run(context, bad).ok(), "gate");
  bad = call;
  bad.sink = SoftmaxSink::kLogit;
  EXPECT_DEATH((void)ops::Run(context, bad).ok(), "sink_logit");
  bad = call;
  bad.sink_key = TensorView::Of(other.data(), {2, 4});
  EXPECT_DEATH((void)ops::Run(context, bad).ok(), "sink_value");
  bad = call;
  bad.clip = {.gamma = 0.1f, .zeta = 1};
  EXPECT_DEATH((void)ops::Run(context, bad).ok(), "gamma");
  bad = call;
  bad.mask.registers = 5;
  EXPECT_DEATH((void)ops::Run(context, bad).ok(), "registers");
}

}  // namespace
}  // namespace sluice
