// One training step of small models with runtime.device cuda: what all kernels of a step move.
#include "emulator/profile.h"
#include "gpu_budgets/profiled_op.h"
#include "train/engine.h"

namespace sluice::gpu_budgets {
namespace {

using nlohmann::json;

// Two sequences of 64 tokens, all different. The loss looks at every other one (BERT) or at all
// (OPT): multiples of 64, so that no row is there only to fill up.
Batch SomeBatch(bool causal, int64_t vocabulary) {
  Batch batch;
  batch.B = 2;
  batch.T = 64;
  for (int32_t n = 0; n < batch.B * batch.T; ++n) {
    const auto token = static_cast<int32_t>(n * 37 % vocabulary);
    batch.tokens.push_back(token);
    if (causal || n % 2 == 0) {
      batch.target_positions.push_back(n);
      batch.targets.push_back(token);
    }
  }
  batch.sample_index = {0, 1};
  return batch;
}

RunConfig SmallModel(const std::string& architecture, bool gated) {
  RunConfig config;
  config.model.architecture = architecture;
  config.model.hidden_size = 128;
  config.model.num_hidden_layers = 2;
  config.model.num_attention_heads = 2;
  config.model.intermediate_size = 512;
  config.model.max_position_embeddings = 64;
  config.model.vocab_size = 512;
  if (architecture == "opt") {
    config.model.hidden_act = "relu";
    config.model.attention_probs_dropout_prob = 0;
  }
  config.model.attention.variant = gated ? "gated" : "vanilla";
  config.training.precision = "bf16";
  config.runtime.device = "cuda";
  return config;
}

json ProfileStep(const std::string& architecture, bool gated) {
  const RunConfig config = SmallModel(architecture, gated);
  const Batch batch = SomeBatch(architecture == "opt", config.model.vocab_size);
  auto engine = Engine::Create(config, {.dtype = DType::kBFloat16,
                                        .max_batch = batch.B,
                                        .length = batch.T,
                                        .train = true,
                                        .device = "cuda"});
  CHECK(engine.ok()) << engine.status().ToString();
  CHECK((*engine)->Allocate().ok());
  OpTimes ops;
  (*engine)->context().set_op_times(&ops);
  TakeCounts();
  CHECK((*engine)->ForwardBackward(batch, {.train = true, .seed = 1}).ok());
  CHECK((*engine)->ClipAndUpdate(1e-4, 1.0 / static_cast<double>(batch.targets.size())).ok());
  json calls;
  for (const OpTimes::Entry& entry : ops.entries()) calls[std::string(entry.op)] = entry.calls;
  const ModelConfig& model = config.model;
  const json shape = {{"B", batch.B},
                      {"T", batch.T},
                      {"C", model.hidden_size},
                      {"H", model.num_attention_heads},
                      {"I", model.intermediate_size},
                      {"L", model.num_hidden_layers},
                      {"V", model.vocab_size},
                      {"M", batch.targets.size()},
                      {"parameters", (*engine)->parameters().parameter_count()}};
  return {{"model", architecture},
          {"gated", gated},
          {"shape", shape},
          {"calls", calls},
          {"kernels", TakeCounts()}};
}

}  // namespace

json ProfileSteps() {
  json steps = json::array();
  for (const char* architecture : {"bert", "opt"}) {
    for (const bool gated : {false, true}) steps.push_back(ProfileStep(architecture, gated));
  }
  return steps;
}

}  // namespace sluice::gpu_budgets
