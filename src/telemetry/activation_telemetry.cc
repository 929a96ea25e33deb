#include "telemetry/activation_telemetry.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/status.h"
#include "telemetry/outlier_metrics.h"
#include "telemetry/stream_tensors.h"

namespace sluice {
namespace {

constexpr int64_t kMoments = sizeof(RowMomentSums) / sizeof(double);

// What is kept of a sequence, before the squares of its channels.
enum Sum { kLargest, kSequenceKurtosis, kTokenKurtosis, kSums };

double Larger(double a, double b) { return std::isnan(b) || b > a ? b : a; }

int64_t SequencesLookedAt(const RunConfig& config) {
  return std::min(config.telemetry.statistics_sequences, config.training.global_batch_size);
}

}  // namespace

ActivationTelemetry::ActivationTelemetry(const RunConfig& config, const Share& share)
    : every_(config.telemetry.activation_statistics_every),
      layers_(config.model.num_hidden_layers),
      hidden_size_(config.model.hidden_size),
      row_length_(config.model.attention.register_tokens + config.data.sequence_length),
      micro_batch_(share.micro_batch),
      sequences_(SequencesLookedAt(config)),
      first_(share.rank * (config.training.global_batch_size / share.world_size)),
      own_(std::clamp<int64_t>(sequences_ - first_, 0,
                               config.training.global_batch_size / share.world_size)) {}

int64_t ActivationTelemetry::moments_per_slot() const { return rows() * kMoments; }

RowMomentSums* ActivationTelemetry::MomentsOf(void* memory, int64_t slot) const {
  const int64_t slot_size = moments_per_slot() + own_ * hidden_size_;
  return reinterpret_cast<RowMomentSums*>(static_cast<double*>(memory) + slot * slot_size);
}

double* ActivationTelemetry::SquaresOf(void* memory, int64_t slot) const {
  return reinterpret_cast<double*>(MomentsOf(memory, slot)) + moments_per_slot();
}

void ActivationTelemetry::Plan(Arena& arena) {
  if (!enabled() || own_ == 0) return;
  memory_ =
      arena.Reserve("activation statistics", MemoryPurpose::kScratch, DType::kFloat64,
                    {StreamTensorCount(layers_) * (moments_per_slot() + own_ * hidden_size_)});
}

bool ActivationTelemetry::BeginBatch(int64_t part) {
  offset_ = part * micro_batch_;
  looked_ = std::clamp<int64_t>(own_ - offset_, 0, micro_batch_);
  return looked_ > 0;
}

bool ActivationTelemetry::Wants(absl::string_view tensor) const {
  return looked_ > 0 && IsStreamTensor(tensor);
}

absl::StatusOr<bool> ActivationTelemetry::ObserveInPlace(ExecutionContext& context, int layer,
                                                         absl::string_view tensor,
                                                         const TensorView& view) {
  const int64_t slot = StreamTensorSlot(layer, tensor);
  if (slot < 0) return true;
  CHECK_EQ(view.dim(-1), hidden_size_);
  CHECK_EQ(view.rows() % row_length_, 0);
  RETURN_IF_ERROR(
      ops::Run(context, {.x = view.Rows(0, looked_ * row_length_),
                         .moments = MomentsOf(memory_->data(), slot) + offset_ * row_length_,
                         .squares = SquaresOf(memory_->data(), slot) + offset_ * hidden_size_,
                         .group = row_length_}));
  return true;
}

void ActivationTelemetry::Observe(int /*layer*/, absl::string_view tensor,
                                  const TensorView& /*view*/) {
  CHECK(false) << tensor << " was not shown in place";
}

void ActivationTelemetry::SumSequence(void* memory, int64_t slot, int64_t sequence,
                                      std::span<double> sums) const {
  const RowMomentSums* tokens = MomentsOf(memory, slot) + sequence * row_length_;
  const RowMomentSums all = MomentsOfRows(tokens, row_length_, hidden_size_);
  sums[kLargest] = all.largest;
  sums[kSequenceKurtosis] = Kurtosis(all, row_length_ * hidden_size_);
  sums[kTokenKurtosis] = 0;
  for (int64_t token = 0; token < row_length_; ++token) {
    sums[kTokenKurtosis] += Kurtosis(tokens[token], hidden_size_);
  }
  const double* squares = SquaresOf(memory, slot) + sequence * hidden_size_;
  std::copy(squares, squares + hidden_size_, sums.begin() + kSums);
}

// Ranks put what they have of each sequence beside zeros of all others, so that their sum changes
// no bit of it.
absl::StatusOr<std::vector<TensorActivations>> ActivationTelemetry::Collect(
    Device& device, Communicator& communicator) const {
  std::vector<double> found(memory_ == nullptr ? 0 : memory_->elements());
  RETURN_IF_ERROR(communicator.Agree(
      found.empty() ? absl::OkStatus()
                    : device.CopyToHost(found.data(), memory_->data(), memory_->bytes())));
  const int64_t width = kSums + hidden_size_;
  std::vector<TensorActivations> tensors;
  for (const StreamTensor& tensor : StreamTensors(layers_)) {
    std::vector<double> sums(sequences_ * width);
    for (int64_t sequence = 0; sequence < own_; ++sequence) {
      SumSequence(found.data(), StreamTensorSlot(tensor.layer, tensor.name), sequence,
                  std::span(sums).subspan((first_ + sequence) * width, width));
    }
    RETURN_IF_ERROR(communicator.AllReduceSum(std::span<double>(sums)));
    TensorActivations result = {.layer = tensor.layer, .tensor = std::string(tensor.name)};
    std::vector<double> squares(hidden_size_);
    for (int64_t sequence = 0; sequence < sequences_; ++sequence) {
      const double* of = sums.data() + sequence * width;
      result.max_abs = Larger(result.max_abs, of[kLargest]);
      result.kurtosis_per_sequence += of[kSequenceKurtosis];
      result.kurtosis_per_token += of[kTokenKurtosis];
      for (int64_t c = 0; c < hidden_size_; ++c) squares[c] += of[kSums + c];
    }
    result.kurtosis_per_sequence /= static_cast<double>(sequences_);
    result.kurtosis_per_token /= static_cast<double>(sequences_ * row_length_);
    result.top_channel_share = TopChannelShare(squares);
    tensors.push_back(std::move(result));
  }
  return tensors;
}

std::string PlaceName(int layer, const std::string& tensor) {
  return layer < 0 ? tensor : absl::StrCat("layer_", layer, ".", tensor);
}

MetricFields ActivationFields(int64_t step, const std::vector<TensorActivations>& tensors) {
  MetricFields fields = {{"step", step}};
  for (const TensorActivations& tensor : tensors) {
    const std::string place = PlaceName(tensor.layer, tensor.tensor);
    fields.emplace_back(place + ".max_abs", tensor.max_abs);
    fields.emplace_back(place + ".kurtosis_per_sequence", tensor.kurtosis_per_sequence);
    fields.emplace_back(place + ".kurtosis_per_token", tensor.kurtosis_per_token);
    fields.emplace_back(place + ".top_channel_share", tensor.top_channel_share);
  }
  return fields;
}

}  // namespace sluice
