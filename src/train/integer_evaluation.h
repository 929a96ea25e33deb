// A checkpoint evaluated three times: in fp32, with simulated W8A8 quantization, and with the same
// quantization and products in integers (docs/quantization.md).
//
// The last two compute the same function but for rounding in fp32, which moves a value over the
// boundary between two steps of a quantizer now and then. Quantizers make more of it: a
// perturbation of variance v s² before one, v < 1, has about sqrt(v) s² behind it, so that behind
// three or four of them in a row the two are as if values had been rounded independently. Each set
// of rounding errors changes the loss of batch b by e_b, beside what it does to all batches alike;
// two such sets differ by sqrt(2) of that, and the mean over B batches by sqrt(2) · σ(e) / sqrt(B).
// σ(e) is the standard deviation over batches of simulated less fp32 losses, which is too large
// rather than too small. The tolerance is four times that; and so that differences of both signs do
// not make up for each other, the root mean square of those of single batches may be four times
// sqrt(2) · σ(e).
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "train/evaluation.h"
#include "train/post_training_quantization.h"

namespace sluice {

// How far the mean of batch losses may be from that of the simulation, and is.
struct IntegerAgreement {
  static constexpr int64_t kFewestBatches = 8;  // for a deviation to say anything

  double difference = 0;  // integers less simulation, nats
  double tolerance = 0;
  double batch_difference = 0;  // root mean square over batches, nats
  double batch_tolerance = 0;
  bool judged = false;  // there are enough batches
  bool agrees() const {
    return difference <= tolerance && -difference <= tolerance &&
           batch_difference <= batch_tolerance;
  }
};
IntegerAgreement Compare(std::span<const double> fp32, std::span<const double> simulated,
                         std::span<const double> integer);

struct IntegerEvaluationOptions {
  std::span<const Batch> calibration;
  PostTrainingQuantizationOptions options;
  double smooth = 0;                     // SmoothModel's alpha, behind fp32; 0: none
  int64_t batch_size = 32, batches = 0;  // of Evaluate
};

struct IntegerEvaluation {
  EvaluationResult fp32, simulated, integer;
  IntegerCoverage coverage;
  IntegerAgreement agreement;
};

// The engine is fp32, on a CPU; it has its weights back at
// the end, smoothed ones where that is asked for. Collective; all ranks get the same. DeviceError
// where integers do not agree with the simulation.
absl::StatusOr<IntegerEvaluation> EvaluateInIntegers(Engine& engine, BatchSource& source,
                                                     Communicator& communicator,
                                                     const IntegerEvaluationOptions& options);

}  // namespace sluice
