#include "train/post_training_quantization.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "quantize/smoothing.h"
#include "train/outlier_evaluation.h"

namespace sluice {
namespace {

absl::Status RunThrough(Engine& engine, std::span<const Batch> batches, Observer& observer) {
  for (const Batch& batch : batches) {
    ModelLosses losses;
    RETURN_IF_ERROR(engine.Evaluate(batch, losses, &observer));
  }
  return absl::OkStatus();
}

int IndexOf(const ParameterStore& parameters, const std::string& name) {
  const std::vector<Parameter>& all = parameters.parameters();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Parameter& one) { return one.name == name; });
  CHECK(found != all.end()) << "no parameter " << name;
  return static_cast<int>(found - all.begin());
}

// The norms of a pre-LN model and what reads them. The last one, which the head reads, is left as
// it is: the head is not quantized.
std::vector<SmoothingGroup> GroupsOf(Engine& engine) {
  const Architecture& architecture = engine.model().architecture();
  const ModelConfig& config = engine.config().model;
  const GateConfig& gate = config.attention.gate;
  const bool gates_read_input = gate.source == "input" && gate.predictor != "free_scalar";
  const char* gate_weight = gate.predictor == "mlp" ? ".gate.hidden.weight" : ".gate.weight";
  const auto index = [&](const std::string& name, const char* kind) {
    return IndexOf(engine.parameters(), name + kind);
  };
  std::vector<SmoothingGroup> groups;
  const auto add = [&](int layer, absl::string_view tensor, const std::string& norm,
                       std::vector<int> weights) {
    groups.push_back({.layer = layer,
                      .tensor = std::string(tensor),
                      .gamma = index(norm, ".weight"),
                      .beta = index(norm, ".bias"),
                      .weights = std::move(weights)});
  };
  for (int layer = 0; layer < static_cast<int>(config.num_hidden_layers); ++layer) {
    const LayerNames names = architecture.layer_names(layer);
    std::vector<int> readers = {index(names.query, ".weight"), index(names.key, ".weight"),
                                index(names.value, ".weight")};
    if (gates_read_input && IsGated(config.attention, layer)) {
      readers.push_back(index(names.attention, gate_weight));
    }
    if (layer == 0) {
      add(-1, observed::kEmbeddingNorm, architecture.input_norm, readers);
    } else {
      add(layer - 1, observed::kFeedForwardNorm,
          architecture.layer_names(layer - 1).feed_forward_norm, readers);
    }
    add(layer, observed::kAttentionNorm, names.attention_norm, {index(names.up, ".weight")});
  }
  return groups;
}

// The linear layers of all blocks.
std::vector<QuantizedLayer> LayersOf(Engine& engine, bool context_before_gate) {
  const ModelConfig& config = engine.config().model;
  std::vector<QuantizedLayer> layers;
  const auto add = [&](std::vector<std::string> weights, int layer, absl::string_view input) {
    for (std::string& name : weights) name += ".weight";
    layers.push_back({std::move(weights), layer, std::string(input)});
  };
  for (int layer = 0; layer < static_cast<int>(config.num_hidden_layers); ++layer) {
    const LayerNames names = engine.model().architecture().layer_names(layer);
    // The product with a gate behind the context's quantizer is not quantized.
    const bool gated_at_query =
        IsGated(config.attention, layer) && config.attention.gate.site == "query";
    const bool reads_context = !(context_before_gate && gated_at_query);
    add({names.query, names.key, names.value}, layer - 1,
        layer == 0 ? observed::kEmbeddingNorm : observed::kFeedForwardNorm);
    add({names.attention_output}, layer, reads_context ? observed::kContext : "");
    add({names.up}, layer, observed::kAttentionNorm);
    add({names.down}, layer, observed::kActivated);
  }
  return layers;
}

// Gammas of the LayerNorms that `norms` means.
std::vector<std::string> GammasOf(Engine& engine, SixteenBitNorms norms) {
  const Architecture& architecture = engine.model().architecture();
  const auto layers = static_cast<int>(engine.config().model.num_hidden_layers);
  std::vector<std::string> names;
  if (norms == SixteenBitNorms::kAll) {
    names.push_back(architecture.input_norm);
    for (int layer = 0; layer < layers; ++layer) {
      names.push_back(architecture.layer_names(layer).attention_norm);
      names.push_back(architecture.layer_names(layer).feed_forward_norm);
    }
  } else if (norms == SixteenBitNorms::kFinal) {
    names.push_back(architecture.layer_names(layers - 1).feed_forward_norm);
  }
  for (std::string& name : names) name += ".weight";
  return names;
}

WeightQuantizerOptions WeightOptions(Engine& engine,
                                     const PostTrainingQuantizationOptions& options) {
  WeightQuantizerOptions weights = options.weights;
  weights.sixteen_bit = GammasOf(engine, options.activations.sixteen_bit_norms);
  return weights;
}

}  // namespace

bool QuantizesContextBeforeGate(const PostTrainingQuantizationOptions& options, bool pre_norm) {
  return options.gate_position == GatePosition::kByModel
             ? pre_norm
             : options.gate_position == GatePosition::kBehind;
}

QuantizationPreset BertPreset() {
  return {.options = {},
          .calibrates_on_training_data = false,
          .calibration_batches = 16,
          .calibration_batch_size = 32};
}

QuantizationPreset OptPreset() {
  QuantizationPreset preset = {.options = {},
                               .calibrates_on_training_data = true,
                               .calibration_batches = 4,
                               .calibration_batch_size = 8};
  preset.options.weights.ranges = WeightRanges::kLeastSquares;
  preset.options.activations.percentile = 99.999;
  return preset;
}

absl::StatusOr<std::vector<Batch>> ReadBatches(BatchSource& source, int64_t batches,
                                               int64_t batch_size) {
  const int64_t sequences = source.sequences_per_epoch();  // 0: they never end
  std::vector<Batch> read;
  for (int64_t b = 0; b < batches; ++b) {
    const int64_t first = b * batch_size;
    const int64_t count = sequences == 0 ? batch_size : std::min(batch_size, sequences - first);
    if (count <= 0) break;
    RETURN_IF_ERROR(source.Fill(first, count, &read.emplace_back()));
  }
  return read;
}

PostTrainingQuantization::PostTrainingQuantization(Engine& engine,
                                                   const PostTrainingQuantizationOptions& options)
    : engine_(engine), options_(options), weights_(WeightOptions(engine, options)) {}

absl::StatusOr<std::unique_ptr<PostTrainingQuantization>> PostTrainingQuantization::Apply(
    Engine& engine, std::span<const Batch> calibration,
    const PostTrainingQuantizationOptions& options) {
  CHECK(engine.options().dtype == DType::kFloat32) << "quantization is simulated in fp32";
  const Architecture& architecture = engine.model().architecture();
  if (architecture.embedding_size != engine.config().model.hidden_size) {
    return UsageError("quantization of a model with projected embeddings is not defined",
                      "model.word_embed_proj_dim");
  }
  auto quantized =
      std::unique_ptr<PostTrainingQuantization>(new PostTrainingQuantization(engine, options));
  quantized->quantizes_weights_ =
      options.weights.bits != PostTrainingQuantizationOptions::kNotQuantized;
  if (quantized->quantizes_weights_) {
    RETURN_IF_ERROR(quantized->weights_.Quantize(engine.device(), engine.parameters()));
    RETURN_IF_ERROR(engine.WeightsLoaded());
  }
  FakeQuantizerOptions activations = options.activations;
  activations.quantize_weights = quantized->quantizes_weights_;
  activations.quantize_activations =
      activations.bits != PostTrainingQuantizationOptions::kNotQuantized;
  activations.context_before_gate = QuantizesContextBeforeGate(options, IsPreNorm(engine));
  activations.last_layer = static_cast<int>(engine.config().model.num_hidden_layers) - 1;
  quantized->options_.activations = activations;
  quantized->activations_ =
      std::make_unique<FakeQuantizer>(activations, quantized->weights_.token_table());
  RETURN_IF_ERROR(RunThrough(engine, calibration, *quantized->activations_));
  RETURN_IF_ERROR(quantized->activations_->Freeze());
  return quantized;
}

PostTrainingQuantization::~PostTrainingQuantization() { StopIntegers(); }

void PostTrainingQuantization::StopIntegers() {
  if (integers_ == nullptr) return;
  engine_.context().set_linear_executor(nullptr);
  integers_.reset();
}

bool PostTrainingQuantization::AddLayer(const QuantizedLayer& layer) {
  if (layer.input.empty()) return false;
  const UniformQuantizer* input = activations_->Find(layer.input_layer, layer.input);
  CHECK(input != nullptr) << layer.input << " of layer " << layer.input_layer;
  std::vector<UniformQuantizer> rows;
  for (const std::string& name : layer.weights) {
    const std::vector<UniformQuantizer>& own = weights_.RowsOf(name);
    rows.insert(rows.end(), own.begin(), own.end());
  }
  const ParameterStore& parameters = engine_.parameters();
  const int first = IndexOf(parameters, layer.weights.front());
  const Shape shape = parameters.parameters()[first].shape;
  const auto joined = static_cast<int>(layer.weights.size());
  const TensorView weight =
      parameters.WorkingJoined(first, joined, {joined * shape.dim(0), shape.dim(1)});
  return integers_->Add({weight, std::move(rows), *input});
}

absl::StatusOr<IntegerCoverage> PostTrainingQuantization::UseIntegers() {
  CHECK(integers_ == nullptr) << "in use already";
  if (engine_.device().is_cuda()) {
    return UsageError("integer products run on the CPU", "runtime.device",
                      engine_.options().device);
  }
  if (options_.weights.bits != 8 || options_.activations.bits != 8) {
    return UsageError("integer products are of 8 bits", "",
                      absl::StrCat("W", options_.weights.bits, "A", options_.activations.bits));
  }
  integers_ = std::make_unique<IntegerLayers>();
  IntegerCoverage coverage;
  for (const QuantizedLayer& layer : LayersOf(engine_, options_.activations.context_before_gate)) {
    ++coverage.layers;
    if (AddLayer(layer)) {
      ++coverage.in_integers;
    } else {
      coverage.in_fp32.insert(coverage.in_fp32.end(), layer.weights.begin(), layer.weights.end());
    }
  }
  activations_->StopCounting();
  engine_.context().set_linear_executor(integers_.get());
  return coverage;
}

std::vector<QuantizationError> PostTrainingQuantization::activation_errors() const {
  return activations_->errors();
}

absl::Status PostTrainingQuantization::Remove() {
  StopIntegers();
  if (!quantizes_weights_) return absl::OkStatus();
  quantizes_weights_ = false;
  RETURN_IF_ERROR(weights_.Restore(engine_.device(), engine_.parameters()));
  return engine_.WeightsLoaded();
}

absl::Status SmoothModel(Engine& engine, std::span<const Batch> calibration, double alpha) {
  CHECK(engine.options().dtype == DType::kFloat32);
  if (!IsPreNorm(engine)) {
    return UsageError(
        "smoothing needs a pre-LN model: in a post-LN one the residual reads the LayerNorm too",
        engine.config().model.architecture);
  }
  ChannelMaxima maxima;
  RETURN_IF_ERROR(RunThrough(engine, calibration, maxima));
  RETURN_IF_ERROR(Smooth(GroupsOf(engine), maxima, alpha, engine.device(), engine.parameters()));
  return engine.WeightsLoaded();
}

}  // namespace sluice
