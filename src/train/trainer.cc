#include "train/trainer.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "comm/nccl_communicator.h"
#include "config/validate.h"
#include "core/check.h"
#include "core/error.h"
#include "core/log.h"
#include "core/parallel.h"
#include "core/status.h"
#include "data/open_batch_source.h"
#include "model/operation_count.h"
#include "optim/learning_rate.h"
#include "train/bigram_backcopy_evaluation.h"
#include "train/compute_threads.h"
#include "train/matmul_rate.h"

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

Trainer::Trainer(const TrainOptions& options, Communicator& communicator)
    : config_(options.config),
      options_(options),
      comm_(communicator),
      folder_(options.run_folder.empty() ? "runs/" + options.config.name : options.run_folder) {}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const TrainOptions& options,
                                                         Communicator& communicator) {
  RETURN_IF_ERROR(ValidateWorldSize(options.config, communicator.world_size()));
  auto trainer = std::unique_ptr<Trainer>(new Trainer(options, communicator));
  ASSIGN_OR_RETURN(trainer->threads_,
                   ChooseComputeThreads(communicator, options.config.runtime.threads));
  SetComputeThreads(trainer->threads_);
  RETURN_IF_ERROR(communicator.Agree(trainer->OpenData()));
  RETURN_IF_ERROR(communicator.Agree(trainer->PlanEngine()));
  return trainer;
}

absl::Status Trainer::OpenData() {
  ASSIGN_OR_RETURN(train_data_, OpenTrainingSource(config_));
  ASSIGN_OR_RETURN(validation_data_, OpenValidationSources(config_));
  for (const std::unique_ptr<BatchSource>& source : validation_data_) {
    const std::string difference =
        DescribeDifference(train_data_->tokenizer(), source->tokenizer());
    if (!difference.empty()) {
      return DataError("training and validation data were made with different tokenizers",
                       source->name(), difference);
    }
  }
  int64_t& vocab_size = config_.model.vocab_size;
  if (vocab_size == 0) vocab_size = train_data_->vocabulary_size();
  if (vocab_size < train_data_->vocabulary_size()) {
    return DataError("the data's vocabulary is larger than model.vocab_size", train_data_->name(),
                     absl::StrCat(train_data_->vocabulary_size(), " > ", vocab_size));
  }
  return absl::OkStatus();
}

absl::Status Trainer::PlanEngine() {
  ASSIGN_OR_RETURN(const DType dtype, ParsePrecision(config_.training.precision));
  const int64_t micro_batch = config_.training.global_batch_size / comm_.world_size() /
                              config_.training.gradient_accumulation_steps;
  ASSIGN_OR_RETURN(engine_,
                   Engine::Create(config_, {.dtype = dtype,
                                            .max_batch = micro_batch,
                                            .length = config_.data.sequence_length,
                                            .train = true,
                                            .device = config_.runtime.device,
                                            .local_rank = comm_.local_rank(),
                                            .attention_kernel = config_.runtime.attention_kernel}));
  telemetry_ =
      std::make_unique<RunTelemetry>(config_, train_data_->tokenizer(), train_data_->manifest());
  telemetry_->Plan(engine_->arena(), engine_->device(), micro_batch, config_.data.sequence_length);
  update_telemetry_ = std::make_unique<UpdateTelemetry>(config_, *engine_, comm_);
  ASSIGN_OR_RETURN(probe_, QuantizationProbe::Create(config_, engine_->options()));
  return absl::OkStatus();
}

std::string Trainer::Describe() const {
  return absl::StrCat("training data: ", train_data_->Summary(),
                      "\ndevice: ", engine_->device().Description(), "\n",
                      engine_->device().is_cuda()
                          ? absl::StrCat(ops::DescribeAttention(engine_->attention()), "\n")
                          : "",
                      DescribePlan(*engine_, {.world_size = comm_.world_size(),
                                              .threads = threads_,
                                              .train_sequences = train_data_->sequences_per_epoch(),
                                              .data_bytes = train_data_->memory_bytes()}),
                      probe_ == nullptr ? "" : probe_->DescribePlan());
}

absl::Status Trainer::Prepare() {
  if (!validation_data_.empty()) {
    state_.best_metric_data =
        MeasuredData(config_, *validation_data_.front(), engine_->options().max_batch);
  }
  RETURN_IF_ERROR(comm_.Agree(engine_->Allocate()));
  RETURN_IF_ERROR(comm_.Agree(telemetry_->Start()));
  RETURN_IF_ERROR(comm_.Agree(update_telemetry_->Start()));
  if (probe_ != nullptr) {
    RETURN_IF_ERROR(comm_.Agree(probe_->Start(*train_data_, *validation_data_.front())));
  }
  RETURN_IF_ERROR(Resume());
  RETURN_IF_ERROR(comm_.Agree(comm_.rank() == 0 ? OpenFolder() : absl::OkStatus()));
  const TensorView gradient = engine_->parameters().flat_gradient();  // memory of the device
  if (engine_->device().is_cuda()) {
    ASSIGN_OR_RETURN(gpu_comm_, MakeNcclCommunicator(comm_, engine_->device().stream()));
  }
  buckets_ =
      std::make_unique<GradientBuckets>(gpu_comm_ != nullptr ? *gpu_comm_ : comm_,
                                        std::span<float>(gradient.as<float>(), gradient.elements()),
                                        config_.runtime.gradient_bucket_bytes);
  RETURN_IF_ERROR(MeasureMatmulRate());
  stop_signal_ = std::make_unique<StopSignal>();
  StartPrefetcher();
  LogStart();
  report_time_ = std::chrono::steady_clock::now();
  report_step_ = state_.step;
  return absl::OkStatus();
}

void Trainer::StartPrefetcher() {
  const int64_t count = engine_->options().max_batch,
                parts = config_.training.gradient_accumulation_steps;
  const int64_t global = config_.training.global_batch_size, first = state_.next_sample;
  const int64_t updates = config_.training.steps - state_.step, rank = comm_.rank();
  prefetcher_ = std::make_unique<Prefetcher>(PrefetcherSettings{
      .depth = config_.data.prefetch_batches,
      // Batch k is micro-batch k mod parts of update k / parts: rows of the global batch from this
      // rank's share.
      .range =
          [=](int64_t k) {
            if (k / parts >= updates) return BatchRange{};
            return BatchRange{first + k / parts * global + (rank * parts + k % parts) * count,
                              count};
          },
      .fill =
          [this](BatchRange range, Batch* batch) {
            return train_data_->Fill(range.first_sample, range.count, batch);
          }});
}

absl::Status Trainer::MeasureMatmulRate() {
  RETURN_IF_ERROR(comm_.Barrier());
  // A GPU's rate depends on the shape: that of the model's own largest products.
  const int64_t rows = engine_->options().max_batch * engine_->options().length;
  const MatmulShape shape =
      engine_->device().is_cuda()
          ? MatmulShape{rows, config_.model.hidden_size, config_.model.intermediate_size}
          : MatmulShape{2048, 768, 3072};
  absl::StatusOr<double> measured =
      MeasureMatmulGflops(engine_->device(), engine_->options().dtype, shape, 5);
  RETURN_IF_ERROR(comm_.Agree(measured.status()));
  double gflops = *measured;
  RETURN_IF_ERROR(comm_.AllReduceSum(std::span<double>(&gflops, 1)));
  matmul_flops_ = 1e9 * gflops;
  return absl::OkStatus();
}

void Trainer::LogStart() const {
  LogInfo(absl::StrCat("training data: ", train_data_->Summary()));
  LogInfo(absl::StrFormat("model: %s, %s attention, %d parameters, %s", config_.model.architecture,
                          config_.model.attention.variant, engine_->parameters().parameter_count(),
                          config_.training.precision));
  if (!initial_weights_.empty()) LogInfo(initial_weights_);
  if (engine_->device().is_cuda()) LogInfo(ops::DescribeAttention(engine_->attention()));
  LogInfo(absl::StrFormat(
      "%d ranks (%s) x %d threads on %s, %.0f GFLOP/s measured matmul rate, %.0f MiB planned a "
      "rank",
      comm_.world_size(), comm_.name(), threads_, engine_->device().Description(),
      matmul_flops_ / 1e9, static_cast<double>(engine_->arena().bytes()) / (1 << 20)));
  LogInfo(absl::StrCat("run folder: ", folder_.path()));
}

absl::Status Trainer::Run() {
  RETURN_IF_ERROR(Prepare());
  if (state_.step == 0) {
    RETURN_IF_ERROR(MeasureSinks());
    RETURN_IF_ERROR(DrawAttentionMaps());
  }
  // A finished run, once more: it is evaluated, and there is nothing to save.
  if (state_.step == config_.training.steps) return EvaluateAndSave(absl::OkStatus());
  while (state_.step < config_.training.steps && !stop_agreed_) {
    RETURN_IF_ERROR(Step());
    absl::Status looked = MeasureSinks();
    if (looked.ok()) looked = DrawAttentionMaps();
    RETURN_IF_ERROR(EvaluateAndSave(looked));
  }
  SetStatusLine("");
  if (state_.step == config_.training.steps) return absl::OkStatus();
  return StoppedOnRequest(absl::StrCat("stopped on request after step ", state_.step,
                                       "; the same command goes on from there"));
}

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
  // A row has mlm_probability * T targets on average, so both losses' means weigh alike; the weight
  // is a constant so that gradients do not depend on how the batch is split.
  const double next_sentence_weight =
      config_.data.mlm_probability * static_cast<double>(config_.data.sequence_length);
  return engine_->ForwardBackward(batch,
                                  {.train = true,
                                   .seed = config_.training.seed,
                                   .next_sentence_weight = next_sentence_weight,
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

absl::Status Trainer::Save(bool delete_old) {
  RETURN_IF_ERROR(telemetry_->Gather(comm_));
  absl::Status status;
  if (comm_.rank() == 0) {
    state_.active_alarms = folder_.record().alarms().active();
    const GateStatistics gates = telemetry_->gates();
    status =
        SaveTraining(folder_.checkpoints(),
                     {config_, state_, comm_.world_size(), *engine_, gates, telemetry_->attention(),
                      telemetry_->StateAt(state_.step), train_data_->manifest(),
                      train_data_->sequences_per_epoch(), delete_old});
    if (status.ok()) status = folder_.record().WriteGates(state_.step, gates);
  }
  RETURN_IF_ERROR(comm_.Agree(status));
  telemetry_->CheckpointWritten(state_.step);
  saved_step_ = state_.step;
  LogInfo(absl::StrCat("checkpoint: ", folder_.checkpoint(state_.step)));
  report_time_ = std::chrono::steady_clock::now();
  report_step_ = state_.step;
  return absl::OkStatus();
}

}  // namespace sluice
