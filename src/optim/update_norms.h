// L2 norms of each parameter in one update: of its gradient, of what the update changes, and of the
// weights that it leaves. The update is made stretch by stretch then, with the same bits as all at
// once, and a copy is kept of one stretch's weights alone; between two looks nothing is done.
//
//   UpdateNorms norms(config.optimizer, parameters, context, arena);   before the arena is made
//   RETURN_IF_ERROR(norms.Bind(context));                              behind it
//   optimizer.ClipAndUpdate(…, {…, .norms = &norms})                   waits for nothing
//   ASSIGN_OR_RETURN(const auto all, norms.Read(device, gradient_scale));
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "ops/execution_context.h"
#include "optim/optimizer.h"
#include "runtime/parameter.h"

namespace sluice {

struct ParameterNorms {
  std::string parameter;
  double gradient = 0;  // of the update's mean loss, before clipping
  double update = 0;    // of the change of the fp32 weights, weight decay included
  double weight = 0;    // of the fp32 weights behind it
};

class UpdateNorms {
 public:
  // Plans memory of the device; scratch is the optimizer's. `parameters` outlive it.
  UpdateNorms(const OptimizerConfig& config, const ParameterStore& parameters, Arena& arena);
  // After the arena has been allocated.
  absl::Status Bind(ExecutionContext& context);

  // Makes an update of all of the flat buffers out of parts. Sums stay on the device.
  absl::Status Run(ExecutionContext& context,
                   absl::FunctionRef<absl::Status(const UpdatePart& part)> apply);
  // Of the last update, in the order of the parameters; gradients times gradient_scale. Waits. An
  // update that was skipped has changed 0.
  absl::StatusOr<std::vector<ParameterNorms>> Read(Device& device, double gradient_scale) const;

 private:
  // Of the flat buffers, in one parameter.
  struct Stretch {
    int64_t parameter, begin, count;
  };
  enum Sum { kGradient, kUpdate, kWeight, kSums };  // of squares

  const ParameterStore& parameters_;
  std::vector<Stretch> stretches_;
  std::vector<UpdateSegment> segments_;  // of each stretch: all of it
  const TensorView* device_segments_;    // the same, as bytes
  const TensorView* before_;             // weights of a stretch, before the update
  const TensorView* sums_;               // (stretches, kSums), fp64
};

}  // namespace sluice
