// What the trainer looks at between steps: perplexity, sinks, attention maps, quantization.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/log.h"
#include "core/status.h"
#include "train/attention_map_evaluation.h"
#include "train/bigram_backcopy_evaluation.h"
#include "train/trainer.h"

namespace sluice {

// `looked` is what came of other looks at this step's model. One that fails does not cost the
// training before it: the checkpoint is written, due or not, and deletes none, since this one may
// be what failed; weights that are not finite are refused there. Evaluations come first, since a
// checkpoint says whether it is the best.
absl::Status Trainer::EvaluateAndSave(absl::Status looked) {
  const int64_t every = config_.training.evaluate_every;
  const bool compares =
      every > 0 && due(config_.checkpoint.every) && config_.checkpoint.keep_best == "perplexity";
  const bool saves = saved_step_ != state_.step && (writes_checkpoint() || stop_agreed_);
  if (looked.ok() && (due(every) || compares || at_end())) looked = EvaluateAll();
  if (looked.ok() && saves) looked = ProbeQuantization();
  if (looked.ok()) return saves ? Save(/*delete_old=*/true) : absl::OkStatus();
  if (saved_step_ == state_.step) return looked;
  const absl::Status saved = Save(/*delete_old=*/false);
  if (!saved.ok()) {
    LogWarning(absl::StrCat("what was trained up to here cannot be saved: ",
                            std::string(saved.message())));
  }
  return looked;
}

absl::Status Trainer::EvaluateAll() {
  for (size_t i = 0; i < validation_data_.size(); ++i) {
    ASSIGN_OR_RETURN(const EvaluationResult result,
                     Evaluate(*engine_, *validation_data_[i], comm_, engine_->options().max_batch,
                              config_.training.evaluation_batches));
    if (i == 0 && writes_checkpoint() && config_.checkpoint.keep_best != "quantized_perplexity") {
      state_.RememberMetric(result.perplexity);
    }
    RETURN_IF_ERROR(comm_.Agree(RecordEvaluation(validation_data_[i]->name(), result)));
  }
  // Evaluation is not training: it counts in no step's time.
  report_time_ = std::chrono::steady_clock::now();
  report_step_ = state_.step;
  return absl::OkStatus();
}

absl::Status Trainer::RecordEvaluation(const std::string& data, const EvaluationResult& result) {
  if (comm_.rank() != 0) return absl::OkStatus();
  LogResult(absl::StrFormat(
      "evaluation at step %d  perplexity %.3f  loss %.4f  accuracy %.4f  %s (%d sequences, %.1fs)",
      state_.step, result.perplexity, result.loss, result.accuracy, data, result.sequences,
      result.seconds));
  return folder_.record().Write("evaluation", {{"step", state_.step},
                                               {"data", data},
                                               {"perplexity", result.perplexity},
                                               {"loss", result.loss},
                                               {"accuracy", result.accuracy},
                                               {"sequences", result.sequences},
                                               {"targets", result.targets},
                                               {"batch_size", result.batch_size}});
}

// Of the Bigram-Backcopy task alone.
absl::Status Trainer::MeasureSinks() {
  const BigramBackcopyDue due = DueAt(config_.telemetry, state_.step, config_.training.steps);
  if (!due.record) return absl::OkStatus();
  auto* source = dynamic_cast<BigramBackcopySource*>(validation_data_.at(0).get());
  CHECK(source != nullptr);
  ASSIGN_OR_RETURN(const BigramBackcopyMetrics metrics,
                   EvaluateBigramBackcopy(*engine_, *source, comm_, {.ablations = due.ablations}));
  MetricFields fields = {{"step", state_.step}};
  for (const auto& [name, value] : NamedValues(metrics)) fields.emplace_back(name, value);
  const BigramBackcopyLayer& layer = metrics.layers.front();
  LogResult(absl::StrFormat(
      "sinks at step %d  backcopy %.4g  bigram %.4g  attention to <s> %.3f  ‖W_O v_<s>‖ %.3g  "
      "Δlogit %.3g  (layer 0, %.1fs)",
      state_.step, metrics.risks.backcopy, metrics.risks.bigram, layer.attention_to_start,
      layer.output_value_norm_start, layer.delta_logit_type, metrics.seconds));
  // Nor is this training.
  report_time_ += std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(metrics.seconds));
  return comm_.Agree(comm_.rank() == 0 ? folder_.record().Write("bigram_backcopy", fields)
                                       : absl::OkStatus());
}

absl::Status Trainer::DrawAttentionMaps() {
  if (!due(config_.telemetry.attention_maps_every)) return absl::OkStatus();
  const auto start = std::chrono::steady_clock::now();
  const auto draw = [this] {
    const auto maps = EvaluateAttentionMaps(*engine_, *validation_data_.at(0), map_indices_,
                                            config_.telemetry.attention_map_tokens);
    return maps.ok() ? folder_.record().WriteAttentionMaps(state_.step, *maps) : maps.status();
  };
  RETURN_IF_ERROR(comm_.Agree(comm_.rank() == 0 ? draw() : absl::OkStatus()));
  report_time_ += std::chrono::steady_clock::now() - start;  // nor is this training
  return absl::OkStatus();
}

// Before the checkpoint is written, which may be the best one by it.
absl::Status Trainer::ProbeQuantization() {
  if (probe_ == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const QuantizationGap gap,
                   probe_->Measure(*engine_, *validation_data_.front(), comm_));
  if (writes_checkpoint() && config_.checkpoint.keep_best == "quantized_perplexity") {
    state_.RememberMetric(gap.quantized_perplexity);
  }
  LogResult(absl::StrCat("quantization at step ", state_.step, "  ", DescribeGap(gap)));
  return comm_.Agree(comm_.rank() == 0
                         ? folder_.record().Write("quantization", FieldsOf(gap, state_.step))
                         : absl::OkStatus());
}

}  // namespace sluice
