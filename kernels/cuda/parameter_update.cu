// What every update rule needs from the device before it: one thread decides.
#include "kernels/api/parameter_update.h"

#include "kernels/cuda/launch.cuh"

namespace sluice::cuda {
namespace {

__global__ void __launch_bounds__(1) DecideUpdateKernel(const DecideUpdateArgs args) {
  const double norm = sqrt(*args.sum_of_squares) * args.gradient_scale;
  *args.decision = sluice::DecideUpdate(norm, *args.loss, args.max_norm);
}

}  // namespace

absl::Status DecideUpdate(const DecideUpdateArgs& args, Stream stream) {
  return Launch("decision on an update", DecideUpdateKernel,
                {.grid = dim3(1), .block = dim3(1), .stream = stream}, args);
}

}  // namespace sluice::cuda
