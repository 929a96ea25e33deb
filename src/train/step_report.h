// What is told about a training step: one line for people, one record for metrics.jsonl.
#pragma once

#include <cstdint>
#include <string>

#include "telemetry/metric_writer.h"

namespace sluice {

struct StepReport {
  int64_t step = 0, total_steps = 0;  // updates done, this one included; of
  double loss = 0;                    // nats a target, mean over the global batch; NaN: no targets
  double accuracy = 0;                // share of targets predicted right; NaN: no targets
  double learning_rate = 0;
  double gradient_norm = 0;     // global L2, before clipping
  int64_t targets = 0;          // of the global batch
  double seconds = 0;           // mean of a step since the last report
  double tokens_per_s = 0;      // all ranks together
  double matmul_share = 0;      // of the measured matmul rate of all ranks; 0: not measured
  double data_wait_s = 0;       // of this rank, since the last report
  double gate_mean = -1;        // of the last look at the gates; negative: no gates
  double loss_scale = 0;        // that this update used; 0: not fp16
  int64_t skipped_updates = 0;  // of the run, because gradients overflowed
  double eta_s = 0;             // until total_steps, at this speed
};

// "step   120/1000  loss 6.1234  lr 9.9e-04  grad 1.23  12345 tok/s  61 % of matmul  gate 0.48  eta
// 3m12s"
std::string StepLine(const StepReport& report);
MetricFields StepFields(const StepReport& report);

// "[=====>              ]  27 %  loss 6.12  eta 3m12s", for the status line of a terminal.
std::string ProgressBar(const StepReport& report);

// "47s", "3m12s", "2h05m", "3d04h".
std::string FormatDuration(double seconds);

}  // namespace sluice
