// One call of every op, on a shape that every vector path and tile fits: what profile_test.py
// judges one by one. Shapes are small, and large enough that what happens in a tile or a row is
// most of it.
#include <cxxabi.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "emulator/profile.h"
#include "gpu_budgets/profiled_op.h"
#include "kernels/api/activation.h"
#include "kernels/api/adamw.h"
#include "kernels/api/attention.h"
#include "kernels/api/attention_gate.h"
#include "kernels/api/cross_entropy.h"
#include "kernels/api/dropout.h"
#include "kernels/api/elementwise.h"
#include "kernels/api/embedding.h"
#include "kernels/api/embedding_layer_norm.h"
#include "kernels/api/layer_norm.h"
#include "kernels/api/row_gather.h"
#include "kernels/api/sgd.h"
#include "kernels/cuda/activation_bias.h"

namespace sluice::gpu_budgets {
namespace {

using nlohmann::json;

constexpr float kDropout = 0.1f;
constexpr cuda::Stream kStream = nullptr;

std::string Demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

json Pair(const emulator::Counts& counts) { return {counts.actual, counts.ideal}; }

// The counts of what `status` launched since the last entry.
json Entry(const char* op, const json& shape, const absl::Status& status) {
  CHECK(status.ok()) << op << ": " << status.ToString();
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  return {{"op", op}, {"shape", shape}, {"kernels", TakeCounts()}};
}

Dropout DropoutOf(const DeviceArray<int64_t>& samples, int64_t rows) {
  return {.probability = kDropout,
          .key = MakePhiloxKey(1, RandomPurpose::kDropout, 0),
          .sample_index = samples.get(),
          .rows_per_sample = rows};
}

struct AttentionCase {
  int64_t T, H, D;
  bool causal = false, drops = false;
  GateSite site = GateSite::kNone;

  json Shape() const {
    const char* gate = site == GateSite::kQuery ? "query" : site == GateSite::kKey ? "key" : "";
    return {{"B", 1},           {"T", T},         {"H", H},      {"D", D},
            {"causal", causal}, {"drops", drops}, {"gate", gate}};
  }
};

// Q, K and V lie as one packed projection, as in the model.
void ProfileAttention(const AttentionCase& c, json& entries) {
  const int64_t width = c.H * c.D;
  const DeviceArray<bf16> qkv(c.T * 3 * width), out(c.T * width);
  const DeviceArray<bf16> dout(c.T * width), dqkv(c.T * 3 * width);
  const DeviceArray<float> gate(c.T * c.H), dgate(c.T * c.H), log_sum_exp(c.T * c.H);
  const DeviceArray<int64_t> samples({7});
  const DeviceArray<char> workspace(cuda::AttentionBackwardWorkspaceBytes(1, c.T, c.H, c.D));
  const bool gated = c.site != GateSite::kNone;
  const float scale = 1 / std::sqrt(static_cast<float>(c.D));
  const Dropout dropout = c.drops ? DropoutOf(samples, 0) : Dropout{};
  const AttentionForwardArgs<bf16> forward = {.q = qkv.get(),
                                              .k = qkv.get() + width,
                                              .v = qkv.get() + 2 * width,
                                              .gate = gated ? gate.get() : nullptr,
                                              .out = out.get(),
                                              .log_sum_exp = log_sum_exp.get(),
                                              .B = 1,
                                              .T_ = c.T,
                                              .H = c.H,
                                              .D = c.D,
                                              .qkv_stride = 3 * width,
                                              .scale = scale,
                                              .gate_site = c.site,
                                              .mask = {.causal = c.causal},
                                              .dropout = dropout,
                                              .workspace = workspace.get()};
  entries.push_back(
      Entry("attention_forward", c.Shape(), cuda::AttentionForward(forward, kStream)));
  const AttentionBackwardArgs<bf16> backward = {.q = qkv.get(),
                                                .k = qkv.get() + width,
                                                .v = qkv.get() + 2 * width,
                                                .gate = forward.gate,
                                                .out = out.get(),
                                                .log_sum_exp = log_sum_exp.get(),
                                                .dout = dout.get(),
                                                .dq = dqkv.get(),
                                                .dk = dqkv.get() + width,
                                                .dv = dqkv.get() + 2 * width,
                                                .dgate = gated ? dgate.get() : nullptr,
                                                .B = 1,
                                                .T_ = c.T,
                                                .H = c.H,
                                                .D = c.D,
                                                .qkv_stride = 3 * width,
                                                .scale = scale,
                                                .gate_site = c.site,
                                                .mask = {.causal = c.causal},
                                                .dropout = dropout,
                                                .workspace = workspace.get()};
  entries.push_back(
      Entry("attention_backward", c.Shape(), cuda::AttentionBackward(backward, kStream)));
}

void ProfileAttentions(json& entries) {
  for (const int64_t D : {32, 64, 80, 96, 128, 256}) {
    ProfileAttention({.T = 256, .H = 2, .D = D}, entries);
  }
  // A tail: 200 rows are three tiles and an eighth.
  ProfileAttention({.T = 200, .H = 2, .D = 64}, entries);
  ProfileAttention({.T = 200, .H = 2, .D = 64, .causal = true}, entries);
  // BERT and OPT, vanilla and gated, at the paper's 12 heads of 64.
  for (const GateSite site : {GateSite::kNone, GateSite::kQuery}) {
    ProfileAttention({.T = 128, .H = 12, .D = 64, .drops = true, .site = site}, entries);
    ProfileAttention({.T = 256, .H = 12, .D = 64, .causal = true, .site = site}, entries);
  }
  ProfileAttention({.T = 128, .H = 12, .D = 64, .site = GateSite::kKey}, entries);
}

void ProfileGates(int64_t N, json& entries) {
  const int64_t C = 768, H = 12;
  const json shape = {{"N", N}, {"C", C}, {"H", H}};
  const DeviceArray<bf16> source(N * 3 * C), weight(H * C), dsource(N * 3 * C);
  const DeviceArray<float> gate(N * H), dgate(N * H), dweight(H * C);
  const DeviceArray<char> workspace(cuda::AttentionGateBackwardWorkspaceBytes(N, C, H));
  const AttentionGateForwardArgs<bf16> forward = {.source = source.get() + 2 * C,
                                                  .weight = weight.get(),
                                                  .bias = nullptr,
                                                  .gate = gate.get(),
                                                  .N = N,
                                                  .C = C,
                                                  .H = H,
                                                  .source_stride = 3 * C};
  entries.push_back(
      Entry("attention_gate_forward", shape, cuda::AttentionGateForward(forward, kStream)));
  const AttentionGateBackwardArgs<bf16> backward = {.source = source.get() + 2 * C,
                                                    .weight = weight.get(),
                                                    .gate = gate.get(),
                                                    .dgate = dgate.get(),
                                                    .dsource = dsource.get() + 2 * C,
                                                    .dweight = dweight.get(),
                                                    .dbias = nullptr,
                                                    .workspace = workspace.get(),
                                                    .N = N,
                                                    .C = C,
                                                    .H = H,
                                                    .source_stride = 3 * C,
                                                    .dsource_stride = 3 * C};
  entries.push_back(
      Entry("attention_gate_backward", shape, cuda::AttentionGateBackward(backward, kStream)));
}

void ProfileSigmoids(json& entries) {
  const int64_t count = int64_t{1} << 18;
  const json elements = {{"count", count}};
  const DeviceArray<float> gate(count), dgate(count);
  const DeviceArray<bf16> dlogits(count);
  entries.push_back(Entry("gate_sigmoid_forward", elements,
                          cuda::GateSigmoidForward<bf16>({gate.get(), count}, kStream)));
  entries.push_back(Entry(
      "gate_sigmoid_backward", elements,
      cuda::GateSigmoidBackward<bf16>({gate.get(), dgate.get(), dlogits.get(), count}, kStream)));
}

// With dropout and a residual. stream_goes_on: the residual is not the result of this LayerNorm but
// its input (OPT), so that backward adds another gradient.
void ProfileLayerNorm(bool stream_goes_on, json& entries) {
  const int64_t N = 512, C = 768;
  json shape = {{"N", N}, {"C", C}, {"drops", true}, {"residual", true}};
  const DeviceArray<bf16> x(N * C), residual(N * C), weight(C), bias(C), sum(N * C), y(N * C),
      dx(N * C);
  const DeviceArray<float> mean(N), rstd(N), dweight(C), dbias(C);
  const DeviceArray<int64_t> samples({0, 1, 2, 3});
  const DeviceArray<char> workspace(cuda::LayerNormBackwardWorkspaceBytes(N, C));
  const Dropout dropout = DropoutOf(samples, 128);
  if (!stream_goes_on) {
    entries.push_back(Entry("layer_norm_forward", shape,
                            cuda::LayerNormForward<bf16>({.x = x.get(),
                                                          .residual = residual.get(),
                                                          .weight = weight.get(),
                                                          .bias = bias.get(),
                                                          .sum = sum.get(),
                                                          .y = y.get(),
                                                          .mean = mean.get(),
                                                          .rstd = rstd.get(),
                                                          .N = N,
                                                          .C = C,
                                                          .eps = 1e-5f,
                                                          .dropout = dropout},
                                                         kStream)));
  }
  shape["stream_goes_on"] = stream_goes_on;
  entries.push_back(
      Entry("layer_norm_backward", shape,
            cuda::LayerNormBackward<bf16>({.dy = y.get(),
                                           .dsum_in = stream_goes_on ? residual.get() : nullptr,
                                           .sum = sum.get(),
                                           .weight = weight.get(),
                                           .mean = mean.get(),
                                           .rstd = rstd.get(),
                                           .dsum = x.get(),
                                           .dx = dx.get(),
                                           .dweight = dweight.get(),
                                           .dbias = dbias.get(),
                                           .workspace = workspace.get(),
                                           .N = N,
                                           .C = C,
                                           .dropout = dropout},
                                          kStream)));
}

// With the dropout of BERT, or without, as OPT has it.
void ProfileEmbeddingLayerNorm(const EmbeddingForwardArgs<bf16>& embedding, bool drops, json shape,
                               json& entries) {
  const int64_t N = embedding.N, C = embedding.C;
  const DeviceArray<bf16> weight(C), bias(C), y(N * C);
  const DeviceArray<float> mean(N), rstd(N);
  const DeviceArray<int64_t> samples({0, 1, 2, 3});
  const Dropout dropout = drops ? DropoutOf(samples, embedding.T_) : Dropout{};
  shape["drops"] = drops;
  entries.push_back(Entry("embedding_layer_norm", shape,
                          cuda::EmbeddingLayerNorm<bf16>({.embedding = embedding,
                                                          .weight = weight.get(),
                                                          .bias = bias.get(),
                                                          .y = y.get(),
                                                          .mean = mean.get(),
                                                          .rstd = rstd.get(),
                                                          .eps = 1e-5f,
                                                          .dropout = dropout},
                                                         kStream)));
}

// Tokens of which a few are frequent, as in text.
void ProfileEmbedding(json& entries) {
  const int64_t N = 512, T = 128, C = 768, V = 2048, S = 2;
  std::vector<int32_t> ids, second;
  std::vector<bool> seen(V);
  for (int32_t n = 0; n < N; ++n) {
    ids.push_back(n % 8 == 0 ? 103 : n * 37 % V);
    second.push_back(n % T < T / 2 ? 0 : 1);
    seen[ids.back()] = true;
  }
  const json shape = {{"N", N},
                      {"T", T},
                      {"C", C},
                      {"S", S},
                      {"distinct", std::count(seen.begin(), seen.end(), true)}};
  const DeviceArray<int32_t> tokens(ids), segments(second);
  const DeviceArray<bf16> table(V * C), positions(T * C), segment_table(S * C), y(N * C);
  const DeviceArray<float> dtable(V * C), dpositions(T * C), dsegments(S * C);
  const DeviceArray<char> workspace(cuda::EmbeddingBackwardWorkspaceBytes(N, C, S));
  const EmbeddingForwardArgs<bf16> embedding = {.tokens = tokens.get(),
                                                .segments = segments.get(),
                                                .token_table = table.get(),
                                                .projected = nullptr,
                                                .position_table = positions.get(),
                                                .segment_table = segment_table.get(),
                                                .register_table = nullptr,
                                                .y = y.get(),
                                                .N = N,
                                                .T_ = T,
                                                .C = C,
                                                .R = 0,
                                                .position_offset = 0};
  entries.push_back(
      Entry("embedding_forward", shape, cuda::EmbeddingForward<bf16>(embedding, kStream)));
  for (const bool drops : {true, false}) {
    ProfileEmbeddingLayerNorm(embedding, drops, shape, entries);
  }
  entries.push_back(Entry("embedding_backward", shape,
                          cuda::EmbeddingBackward<bf16>({.tokens = tokens.get(),
                                                         .segments = segments.get(),
                                                         .dy = y.get(),
                                                         .dtoken_table = dtable.get(),
                                                         .dprojected = nullptr,
                                                         .dposition_table = dpositions.get(),
                                                         .dsegment_table = dsegments.get(),
                                                         .dregister_table = nullptr,
                                                         .workspace = workspace.get(),
                                                         .N = N,
                                                         .T_ = T,
                                                         .C = C,
                                                         .V = V,
                                                         .S = S,
                                                         .R = 0,
                                                         .position_offset = 0},
                                                        kStream)));
}

void ProfileCrossEntropy(int64_t V, json& entries) {
  const int64_t M = 16;
  std::vector<int32_t> wanted(M);
  std::iota(wanted.begin(), wanted.end(), 100);
  const DeviceArray<int32_t> targets(wanted);
  const DeviceArray<float> logits(M * V);
  const DeviceArray<bf16> dlogits(M * V);
  const DeviceArray<double> loss(1);
  const DeviceArray<int64_t> counts({0, 0});
  const DeviceArray<char> workspace(cuda::CrossEntropyWorkspaceBytes(M));
  entries.push_back(Entry("cross_entropy", {{"M", M}, {"V", V}},
                          cuda::CrossEntropy<bf16>({.logits = logits.get(),
                                                    .targets = targets.get(),
                                                    .dlogits = dlogits.get(),
                                                    .loss_sum = loss.get(),
                                                    .target_count = counts.get(),
                                                    .correct_count = counts.get() + 1,
                                                    .row_loss = nullptr,
                                                    .gradient_scale = 1,
                                                    .M = M,
                                                    .V = V,
                                                    .workspace = workspace.get()},
                                                   kStream)));
}

void ProfileUpdate(json& entries) {
  const int64_t count = int64_t{1} << 18;
  const json shape = {{"count", count}};
  const DeviceArray<float> master(count), gradient(count), m(count),
      v(std::vector<float>(count, 0.5f));
  const DeviceArray<bf16> working(count);
  const DeviceArray<UpdateSegment> segments({{0, count, 0.01f}});
  const DeviceArray<double> sum(1);
  const DeviceArray<char> workspace(cuda::SumOfSquaresWorkspaceBytes());
  entries.push_back(Entry(
      "sum_of_squares", shape,
      cuda::SumOfSquares<float>({gradient.get(), count, sum.get(), workspace.get()}, kStream)));
  entries.push_back(Entry("adamw", shape,
                          cuda::AdamW<bf16>({.master = master.get(),
                                             .gradient = gradient.get(),
                                             .m = m.get(),
                                             .v = v.get(),
                                             .working = working.get(),
                                             .segments = segments.get(),
                                             .segment_count = 1,
                                             .gradient_scale = 1,
                                             .learning_rate = 1e-4f,
                                             .beta1 = 0.9f,
                                             .beta2 = 0.999f,
                                             .eps = 1e-8f,
                                             .t = 1},
                                            {count, nullptr, nullptr}, kStream)));
  entries.push_back(Entry("sgd", shape,
                          cuda::Sgd<bf16>({.master = master.get(),
                                           .gradient = gradient.get(),
                                           .momentum_buffer = m.get(),
                                           .working = working.get(),
                                           .segments = segments.get(),
                                           .segment_count = 1,
                                           .gradient_scale = 1,
                                           .learning_rate = 0.03f,
                                           .momentum = 0.9f},
                                          {count, nullptr, nullptr}, kStream)));
  entries.push_back(Entry("convert", shape,
                          cuda::Convert<float, bf16>(master.get(), working.get(), count, kStream)));
}

void ProfileElementwise(json& entries) {
  const int64_t N = 512, C = 768, count = N * C, M = 77;
  const json shape = {{"count", count}};
  const DeviceArray<bf16> x(count), y(count), dy(count);
  const DeviceArray<int64_t> samples({0, 1, 2, 3});
  entries.push_back(Entry("add", shape, cuda::AddInPlace<bf16>(x.get(), y.get(), count, kStream)));
  for (const auto& [name, activation] : std::map<std::string, Activation>{
           {"gelu_erf", Activation::kGeluErf}, {"relu", Activation::kRelu}}) {
    const json with = {{"count", count}, {"activation", name}};
    entries.push_back(
        Entry("activation_forward", with,
              cuda::ActivationForward<bf16>({x.get(), y.get(), count, activation}, kStream)));
    entries.push_back(Entry(
        "activation_backward", with,
        cuda::ActivationBackward<bf16>({x.get(), dy.get(), y.get(), count, activation}, kStream)));
    const DeviceArray<float> sums(C), workspace(N * C);
    entries.push_back(Entry("activation_backward_bias",
                            {{"N", N}, {"outputs", C}, {"activation", name}},
                            cuda::ActivationBackwardBias<bf16>({.x = x.get(),
                                                                .dx = y.get(),
                                                                .sums = sums.get(),
                                                                .N = N,
                                                                .M = C,
                                                                .activation = activation,
                                                                .workspace = workspace.get(),
                                                                .workspace_values = N * C},
                                                               kStream)));
  }
  entries.push_back(Entry(
      "dropout", {{"N", N}, {"C", C}},
      cuda::DropoutForward<bf16>({x.get(), y.get(), N, C, DropoutOf(samples, 128)}, kStream)));
  std::vector<int32_t> picked;
  for (int32_t m = 0; m < M; ++m) picked.push_back(m * 6);
  const DeviceArray<int32_t> rows(picked);
  const json gather = {{"M", M}, {"C", C}};
  entries.push_back(Entry("row_gather", gather,
                          cuda::RowGather<bf16>({x.get(), rows.get(), y.get(), N, M, C}, kStream)));
  entries.push_back(
      Entry("row_scatter", gather,
            cuda::RowScatter<bf16>({y.get(), rows.get(), x.get(), N, M, C}, kStream)));
}

}  // namespace

json TakeCounts() {
  json kernels = json::array();
  for (const emulator::KernelProfile& kernel : emulator::TakeProfile()) {
    kernels.push_back({{"name", Demangled(kernel.name)},
                       {"file", kernel.file},
                       {"launches", kernel.launches},
                       {"instructions", kernel.warp_instructions},
                       {"tensor", kernel.tensor_instructions},
                       {"multiplications", kernel.integer_multiplications},
                       {"special", kernel.special_functions},
                       {"shared", Pair(kernel.shared)},
                       {"shared_in_loops", Pair(kernel.shared_in_loops)},
                       {"global", Pair(kernel.global)},
                       {"sectors", {kernel.sectors_read, kernel.sectors_written}}});
  }
  return kernels;
}

json ProfileOps() {
  emulator::StartProfile();
  json entries = json::array();
  ProfileAttentions(entries);
  // Both as 128 parts of the tokens, so that the difference is what tokens cost.
  ProfileGates(1024, entries);
  ProfileGates(4096, entries);
  ProfileSigmoids(entries);
  ProfileLayerNorm(/*stream_goes_on=*/true, entries);
  ProfileLayerNorm(/*stream_goes_on=*/false, entries);
  ProfileEmbedding(entries);
  ProfileCrossEntropy(30522, entries);
  ProfileCrossEntropy(50272, entries);
  ProfileUpdate(entries);
  ProfileElementwise(entries);
  return entries;
}

}  // namespace sluice::gpu_budgets
