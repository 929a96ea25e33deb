// One rank of the test of a loss scale over ranks (tests/tools/cuda_ranks_test.py starts it under
// mpirun): cuda_fp16_ranks FOLDER. In the second step the gradient of the last rank alone is
// infinite. All ranks must skip that update, and end with the same weights and the same scale.
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/mpi_communicator.h"
#include "core/error.h"
#include "core/status.h"
#include "train/trainer.h"

namespace sluice {
namespace {

RunConfig SmallConfig() {
  RunConfig config;
  config.name = "ranks";
  config.model.architecture = "bigram_backcopy";
  config.model.hidden_size = 32;
  config.model.num_hidden_layers = 2;
  config.model.num_attention_heads = 1;
  config.model.intermediate_size = 64;
  config.model.max_position_embeddings = 32;
  config.model.hidden_act = "relu";
  config.data.source = "bigram_backcopy";
  config.data.sequence_length = 32;
  config.data.validation_sequences = 0;
  config.schedule.shape = "constant";
  config.training.steps = 3;
  config.training.global_batch_size = 4;
  config.training.precision = "fp16";
  config.training.loss_scale.initial = 256;
  config.runtime.device = "cuda";
  config.runtime.threads = 1;
  config.runtime.gradient_bucket_bytes = 16384;
  return config;
}

absl::StatusOr<std::vector<float>> Weights(Engine& engine) {
  ASSIGN_OR_RETURN(const HostTensor master,
                   HostTensor::Read(engine.device(), engine.parameters().flat_master()));
  const float* values = master.view().as<float>();
  return std::vector<float>(values, values + master.view().elements());
}

// "" or what is wrong.
absl::StatusOr<std::string> Check(Communicator& comm, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                   Trainer::Create({.config = SmallConfig(), .run_folder = folder}, comm));
  RETURN_IF_ERROR(trainer->Prepare());
  Engine& engine = trainer->engine();
  RETURN_IF_ERROR(trainer->Step());
  if (engine.loss_scale().state() != LossScale::State{256, 1, 0}) return "step 1 was skipped";

  ASSIGN_OR_RETURN(const std::vector<float> before, Weights(engine));
  if (comm.rank() + 1 == comm.world_size()) {
    // Backward adds to it.
    const float infinity = std::numeric_limits<float>::infinity();
    const TensorView gradient = engine.parameters().Gradient(1);
    RETURN_IF_ERROR(engine.device().CopyToDevice(gradient.data(), &infinity, sizeof(infinity)));
  }
  RETURN_IF_ERROR(trainer->Step());
  ASSIGN_OR_RETURN(const std::vector<float> after, Weights(engine));
  if (engine.loss_scale().state() != LossScale::State{128, 0, 1}) return "step 2 was not skipped";
  if (engine.optimizer().updates() != 1) return "the skipped update counts";
  if (after != before) return "the skipped update changed weights";

  RETURN_IF_ERROR(trainer->Step());
  ASSIGN_OR_RETURN(const std::vector<float> last, Weights(engine));
  if (engine.loss_scale().state() != LossScale::State{128, 1, 1}) return "step 3 was skipped";
  if (last == after) return "step 3 changed nothing";
  // With two ranks, x + y = 2 x on one and 2 y on the other says x = y.
  std::vector<double> sums(last.begin(), last.end());
  RETURN_IF_ERROR(comm.AllReduceSum(std::span<double>(sums)));
  for (size_t i = 0; i < last.size(); ++i) {
    if (sums[i] != comm.world_size() * static_cast<double>(last[i])) return "weights differ";
  }
  return "";
}

absl::Status Run(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MpiEnvironment> mpi, MpiEnvironment::Start());
  Communicator& comm = mpi->communicator();
  ASSIGN_OR_RETURN(const std::string wrong, Check(comm, folder));
  RETURN_IF_ERROR(comm.Agree(wrong.empty() ? absl::OkStatus() : DataError("WRONG", wrong)));
  std::printf("rank %d of %d: all well\n", comm.rank(), comm.world_size());
  return absl::OkStatus();
}

int Main(const std::string& folder) {
  const absl::Status status = Run(folder);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return static_cast<int>(ExitCodeOf(status));
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return argc == 2 ? sluice::Main(argv[1]) : 1; }
