// What a run records for others to read: metrics.jsonl and TensorBoard's event files, from the same
// fields.
//
//   RunRecord record; RETURN_IF_ERROR(record.Open({"runs/toy", resumed_step,
//   /*tensorboard=*/true})); RETURN_IF_ERROR(record.Write("train", {{"step", 10}, {"loss", 6.2}}));
//
// Numbers become scalars named EVENT/FIELD, or EVENT/DATA/FIELD where there is a field `data`; of
// an array each becomes one, EVENT/FIELD/00 and on: fields of arrays are by head. Gates become
// histograms named gates/layer_LL/head_HH, attention maps images named
// attention/layer_LL/head_HH/sequence_S and a file of their own. What a record says is shown to
// the alarms, whose lines go to the log and to metrics.jsonl.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "checkpoint/gate_record.h"
#include "telemetry/alarms.h"
#include "telemetry/attention_maps.h"
#include "telemetry/event_file.h"
#include "telemetry/metric_writer.h"

namespace sluice {

class RunRecord {
 public:
  struct Place {
    std::string run_folder;
    int64_t resumed_step;  // what later steps have left there is removed
    bool tensorboard;
  };
  absl::Status Open(const Place& place);

  // With those that were active when the run was left; none until then.
  void SetAlarms(Alarms alarms) { alarms_ = std::move(alarms); }
  const Alarms& alarms() const { return alarms_; }

  // `fields` have an integer `step`.
  absl::Status Write(absl::string_view event, const MetricFields& fields);
  // Nothing where there are no gates, or no event files.
  absl::Status WriteGates(int64_t step, const GateStatistics& gates);
  // attention_maps/step_SSSSSSSS.json of the run folder, and images.
  absl::Status WriteAttentionMaps(int64_t step, const std::vector<SequenceMaps>& maps);

 private:
  std::string map_folder_;
  Alarms alarms_;
  MetricWriter metrics_;
  EventFile events_;  // closed without TensorBoard
};

// Exposed for tests.
std::vector<EventScalar> EventScalars(absl::string_view event, const MetricFields& fields);
std::vector<EventHistogram> EventHistograms(const GateStatistics& gates);  // of the class "all"
std::vector<EventImage> EventImages(const std::vector<SequenceMaps>& maps);

}  // namespace sluice
