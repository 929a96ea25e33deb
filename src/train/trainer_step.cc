// One update of the training loop: load, forward, backward, reduce, update, record.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/check.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "model/operation_count.h"
#include "optim/learning_rate.h"
#include "train/trainer.h"

namespace sluice {
namespace {

// Nats a target, of both heads together; NaN, which is no number to draw, where there is no target.
double MeanLoss(const LossSums& language_model, const LossSums& next_sentence) {
  if (language_model.targets == 0) return std::numeric_limits<double>::quiet_NaN();
  const double loss = language_model.loss / static_cast<double>(language_model.targets);
  if (next_sentence.targets == 0) return loss;
  return loss + next_sentence.loss / static_cast<double>(next_sentence.targets);
}

}  // namespace

absl::Status Trainer::Step() {
  RETURN_IF_ERROR(
      comm_.Agree(RunMicroBatches()));  // 1 load  2 forward  3 backward, per micro-batch
  RETURN_IF_ERROR(Reduce());            // 4 reduce
  RETURN_IF_ERROR(ApplyUpdate());       // 5 update
  RETURN_IF_ERROR(RecordLooks());
  return Record();  // 6 record
}

absl::Status Trainer::RunMicroBatches() {
  language_model_ = next_sentence_ = LossSums();
  telemetry_->BeginUpdate(state_.step + 1);
  update_telemetry_->BeginUpdate(state_.step + 1);
  const int64_t parts = config_.training.gradient_accumulation_steps;
  for (int64_t part = 0; part < parts; ++part) {
    const absl::StatusOr<const Batch*> batch = prefetcher_->Next();
    RETURN_IF_ERROR(comm_.Agree(batch.status()));
    CHECK(*batch != nullptr);
    language_model_.targets += std::ssize((*batch)->targets);
    // From here on ranks meet in the buckets' reductions only.
    absl::Status status = ForwardBackward(**batch, part);
    // What is ready of the data is copied meanwhile; a disk is not waited for here.
    const Batch* next = prefetcher_->Peek();
    if (status.ok() && next != nullptr) status = engine_->Prefetch(*next);
    failed_alone_ = !status.ok();
    RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

absl::Status Trainer::ForwardBackward(const Batch& batch, int64_t part) {
  const int64_t parts = config_.training.gradient_accumulation_steps;
  ASSIGN_OR_RETURN(
      Observer* const observer,
      telemetry_->BeginBatch(batch, (comm_.rank() * parts + part) * engine_->options().max_batch));
  LanguageModel::GradientReady ready;
  if (part + 1 == parts) {
    ready = [this](int64_t begin, int64_t end) { return buckets_->MarkReady(begin, end); };
  }
  return engine_->ForwardBackward(batch,
                                  {.train = true,
                                   .seed = config_.training.seed,
                                   .next_sentence_weight = NextSentenceWeight(config_),
                                   .observer = update_telemetry_->Watch(observer)},
                                  ready);
}

absl::Status Trainer::FailAlone(const absl::Status& status) {
  failed_alone_ = !status.ok() && comm_.world_size() > 1;
  return status;
}

// One rank leaves its losses where they are until the update has been put on its way: of them, the
// update needs to know the number of targets alone, which the batches say.
absl::Status Trainer::FinishSums(ModelLosses* losses) {
  RETURN_IF_ERROR(buckets_->Finish());
  if (comm_.world_size() == 1) return absl::OkStatus();
  ASSIGN_OR_RETURN(*losses, engine_->ReadLosses());
  // A GPU's sums end behind Finish. By now they have: what failed in them meanwhile is told, and
  // nothing is left to wait for.
  return gpu_comm_ != nullptr ? gpu_comm_->WaitAll() : absl::OkStatus();
}

// A rank whose sums failed says so in the sum that all of them wait in, so that none applies what
// may be half a gradient.
absl::Status Trainer::Reduce() {
  ModelLosses losses;
  const absl::Status status = FinishSums(&losses);
  const auto number = [](int64_t count) { return static_cast<double>(count); };
  double sums[] = {losses.language_model.loss,
                   number(language_model_.targets),
                   number(losses.language_model.correct),
                   losses.next_sentence.loss,
                   number(losses.next_sentence.targets),
                   number(losses.next_sentence.correct),
                   stop_signal_->received() != 0 ? 1.0 : 0.0,
                   status.ok() ? 0.0 : 1.0};
  RETURN_IF_ERROR(FailAlone(comm_.AllReduceSum(std::span<double>(sums))));
  if (sums[7] > 0) return comm_.Agree(status);
  const auto count = [](double value) { return static_cast<int64_t>(value); };
  language_model_ = {.loss = sums[0], .targets = count(sums[1]), .correct = count(sums[2])};
  next_sentence_ = {.loss = sums[3], .targets = count(sums[4]), .correct = count(sums[5])};
  stop_agreed_ = sums[6] > 0;
  if (comm_.world_size() == 1) return absl::OkStatus();
  return FailAlone(engine_->SetLosses({language_model_, next_sentence_}));
}

absl::Status Trainer::ApplyUpdate() {
  const double scale = 1 / static_cast<double>(std::max<int64_t>(1, language_model_.targets));
  learning_rate_ = LearningRateAt(config_.schedule, config_.optimizer.learning_rate,
                                  config_.training.steps, state_.step);
  const absl::StatusOr<UpdateOutcome> updated =
      engine_->ClipAndUpdate(learning_rate_, scale, update_telemetry_->norms());
  RETURN_IF_ERROR(FailAlone(updated.status()));
  const UpdateOutcome& outcome = *updated;
  language_model_ = outcome.losses.language_model;
  next_sentence_ = outcome.losses.next_sentence;
  gradient_norm_ = outcome.gradient_norm;
  loss_scale_ = outcome.loss_scale;
  gradient_scale_ = scale / loss_scale_;
  if (!outcome.applied) RETURN_IF_ERROR(NotApplied(outcome));
  // A skipped update has used its data and its place in the schedule.
  ++state_.step;
  state_.next_sample += config_.training.global_batch_size;
  return absl::OkStatus();
}

absl::Status Trainer::NotApplied(const UpdateOutcome& outcome) const {
  const LossScale& scale = engine_->loss_scale();
  const double loss =
      language_model_.loss / static_cast<double>(std::max<int64_t>(1, language_model_.targets));
  if (outcome.may_go_on) {
    LogInfo(absl::StrFormat(
        "step %d: update skipped, %s; loss scale %.15g, now %.15g", state_.step + 1,
        std::isfinite(loss) ? "its gradients overflow in fp16" : "its loss is not finite in fp16",
        outcome.loss_scale, scale.value()));
    return absl::OkStatus();
  }
  std::string values = absl::StrFormat("loss %g, gradient norm %g, learning rate %g", loss,
                                       gradient_norm_, learning_rate_);
  if (scale.dynamic()) {
    absl::StrAppendFormat(&values, ", loss scale %.15g, its minimum", outcome.loss_scale);
  }
  constexpr size_t kMostNames = 8;
  const std::vector<std::string>& names = outcome.not_finite;
  if (!names.empty()) {
    const size_t shown = std::min(names.size(), kMostNames);
    absl::StrAppend(&values, "; gradients that are not finite, in the order of backward: ",
                    absl::StrJoin(names.begin(), names.begin() + shown, ", "));
    if (names.size() > shown) absl::StrAppend(&values, " and ", names.size() - shown, " more");
  }
  absl::StrAppend(&values, "; the weights of step ", state_.step, " are untouched");
  return DivergedError(absl::StrFormat("training diverged at step %d", state_.step + 1),
                       folder_.path(), values);
}

absl::Status Trainer::RecordLooks() {
  ASSIGN_OR_RETURN(const std::vector<UpdateTelemetry::Record> records,
                   update_telemetry_->Collect(gradient_scale_));
  absl::Status written;
  for (const auto& [event, fields] : records) {
    written.Update(folder_.record().Write(event, fields));
  }
  return update_telemetry_->due() ? comm_.Agree(written) : written;
}

absl::Status Trainer::Record() {
  RETURN_IF_ERROR(telemetry_->Record(state_.step, comm_, folder_.record()));
  const bool report =
      state_.step % config_.training.log_every == 0 || state_.step == config_.training.steps;
  if (!report) return absl::OkStatus();
  RETURN_IF_ERROR(comm_.Agree(telemetry_->CollectGates()));
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - report_time_).count();
  const auto steps = static_cast<double>(state_.step - report_step_);
  const int64_t T = config_.data.sequence_length;
  const double tokens = static_cast<double>(config_.training.global_batch_size * T);
  const double targets = static_cast<double>(language_model_.targets);
  const double operations =
      CountOperations(config_.model, T, targets / tokens).training() * tokens * steps / seconds;
  report_ = {.step = state_.step,
             .total_steps = config_.training.steps,
             .loss = MeanLoss(language_model_, next_sentence_),
             .accuracy = language_model_.targets > 0
                             ? static_cast<double>(language_model_.correct) / targets
                             : std::numeric_limits<double>::quiet_NaN(),
             .learning_rate = learning_rate_,
             .gradient_norm = gradient_norm_,
             .targets = language_model_.targets,
             .seconds = seconds / steps,
             .tokens_per_s = tokens * steps / seconds,
             .matmul_share = matmul_flops_ > 0 ? operations / matmul_flops_ : 0,
             .data_wait_s = prefetcher_->waited_seconds() - report_wait_,
             .gate_mean = telemetry_->last_gate_mean(),
             .loss_scale = engine_->loss_scale().dynamic() ? loss_scale_ : 0,
             .skipped_updates = engine_->loss_scale().state().skipped_updates,
             .eta_s = static_cast<double>(config_.training.steps - state_.step) * seconds / steps};
  report_time_ = now;
  report_step_ = state_.step;
  report_wait_ = prefetcher_->waited_seconds();
  LogResult(StepLine(report_));
  SetStatusLine(ProgressBar(report_));
  return comm_.Agree(comm_.rank() == 0 ? folder_.record().Write("train", StepFields(report_))
                                       : absl::OkStatus());
}

}  // namespace sluice
