#include "train/telemetry_benchmark.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "comm/single_communicator.h"
#include "core/status.h"

namespace sluice {
namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Adds up the time that another observer takes.
class TimedObserver : public Observer {
 public:
  explicit TimedObserver(Observer& timed) : timed_(timed) {}
  double seconds() const { return seconds_; }

  bool Wants(absl::string_view tensor) const override { return timed_.Wants(tensor); }
  absl::StatusOr<bool> ObserveInPlace(ExecutionContext& context, int layer,
                                      absl::string_view tensor, const TensorView& view) override {
    return timed_.ObserveInPlace(context, layer, tensor, view);
  }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override {
    const double start = Seconds();
    timed_.Observe(layer, tensor, view);
    seconds_ += Seconds() - start;
  }
  AttentionLook attention_look() const override { return timed_.attention_look(); }
  int64_t attention_sequences(int64_t B) const override { return timed_.attention_sequences(B); }
  absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override {
    const double start = Seconds();
    RETURN_IF_ERROR(timed_.ObserveAttention(layer, attention));
    seconds_ += Seconds() - start;
    return absl::OkStatus();
  }

 private:
  Observer& timed_;
  double seconds_ = 0;
};

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

RunConfig OfGlobalBatch(RunConfig config, int64_t sequences) {
  config.training.global_batch_size = sequences;
  return config;
}

TokenizerIdentity TokenizerOf(const RunConfig& config) {
  TokenizerIdentity tokenizer;
  tokenizer.vocabulary_size = config.model.vocab_size;
  return tokenizer;
}

}  // namespace

double TelemetryCost::seconds_a_step() const {
  const auto share = [](double seconds, int64_t every) {
    return every == 0 ? 0 : seconds / static_cast<double>(every);
  };
  return share(gates_s, gates_every) + share(attention_s, attention_every);
}

TelemetryBenchmark::TelemetryBenchmark(const RunConfig& config, int64_t sequences, Engine& engine)
    : config_(OfGlobalBatch(config, sequences)),
      engine_(engine),
      gates_(config_, TokenizerOf(config), nullptr),
      attention_(config_, TokenizerOf(config)) {
  gates_.Plan(engine.arena(), engine.device(), sequences, engine.options().length);
}

absl::StatusOr<double> TelemetryBenchmark::TimePass(const Batch& batch, Observer* observer) {
  const double start = Seconds();
  RETURN_IF_ERROR(engine_.ForwardBackward(batch, {.train = true, .seed = 1, .observer = observer}));
  RETURN_IF_ERROR(engine_.ReadLosses().status());  // waits for a GPU
  return Seconds() - start;
}

absl::StatusOr<double> TelemetryBenchmark::Median(const Batch& batch, int looks, Observer& observer,
                                                  const std::function<absl::Status()>& begin,
                                                  const std::function<absl::Status()>& end) {
  std::vector<double> with, without, around;
  for (int look = 0; look < looks; ++look) {
    double start = Seconds();
    RETURN_IF_ERROR(begin());
    double outside = Seconds() - start;
    TimedObserver timed(observer);
    ASSIGN_OR_RETURN(const double pass, TimePass(batch, &timed));
    start = Seconds();
    RETURN_IF_ERROR(end());
    around.push_back(outside + Seconds() - start);
    if (!engine_.device().is_cuda()) {
      with.push_back(timed.seconds());
      continue;
    }
    with.push_back(pass);
    ASSIGN_OR_RETURN(const double plain, TimePass(batch, nullptr));
    without.push_back(plain);
  }
  const double plain = without.empty() ? 0 : MedianOf(without);
  return MedianOf(around) + std::max(0.0, MedianOf(with) - plain);
}

absl::StatusOr<TelemetryCost> TelemetryBenchmark::Measure(const Batch& batch, int looks) {
  SingleCommunicator alone;
  TelemetryCost cost;
  if (gates_.enabled()) {
    RETURN_IF_ERROR(gates_.Start());
    cost.gates_every = config_.telemetry.gate_statistics_every;
    ASSIGN_OR_RETURN(cost.gates_s,
                     Median(
                         batch, looks, gates_, [&] { return gates_.BeginBatch(batch); },
                         [&] { return gates_.Merge(alone); }));
  }
  if (attention_.enabled()) {
    cost.attention_every = config_.telemetry.attention_statistics_every;
    ASSIGN_OR_RETURN(cost.attention_s, Median(
                                           batch, looks, attention_,
                                           [&] {
                                             attention_.BeginUpdate();
                                             attention_.BeginBatch(batch, 0);
                                             return absl::OkStatus();
                                           },
                                           [&] { return attention_.EndUpdate(alone); }));
  }
  return cost;
}

}  // namespace sluice
