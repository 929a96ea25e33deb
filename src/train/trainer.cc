#include "train/trainer.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/nccl_communicator.h"
#include "config/validate.h"
#include "core/error.h"
#include "core/log.h"
#include "core/parallel.h"
#include "core/status.h"
#include "data/open_batch_source.h"
#include "train/attention_map_evaluation.h"
#include "train/compute_threads.h"
#include "train/matmul_rate.h"

namespace sluice {
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
  if (config_.telemetry.attention_maps_every > 0) {
    ASSIGN_OR_RETURN(map_indices_, MapIndices(config_.telemetry, *validation_data_.at(0)));
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
  state_.generated_text = GeneratedText(*train_data_);
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
  // Another --resume means the same checkpoint each time.
  return StoppedOnRequest(absl::StrCat("stopped on request after step ", state_.step,
                                       options_.resume == "auto"
                                           ? "; the same command goes on from there"
                                           : "; the same command with --resume auto goes on from "
                                             "there"));
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
