// Names, versions and the folder of a checkpoint: docs/formats/checkpoint.md. The single source of
// truth for writer, reader and tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace sluice {

inline constexpr int64_t kCheckpointFormatVersion = 1;
inline constexpr char kCheckpointFormatName[] = "sluice checkpoint";

inline constexpr char kModelFile[] = "model.h5";          // fp32 master weights by name
inline constexpr char kOptimizerFile[] = "optimizer.h5";  // "m/NAME" and "v/NAME"
inline constexpr char kGatesFile[] = "gates.h5";          // what gates and attention did
inline constexpr char kStateFile[] = "state.yaml";
inline constexpr char kConfigFile[] = "config.yaml";
inline constexpr char kManifestFile[] = "manifest.yaml";  // written last
inline constexpr char kBestFile[] = "best.yaml";          // beside the checkpoints, names one

// Root attributes of every HDF5 file: what it is, and the version above.
inline constexpr char kKindAttribute[] = "kind";
inline constexpr char kVersionAttribute[] = "format_version";
inline constexpr char kModelKind[] = "sluice model";
inline constexpr char kOptimizerKind[] = "sluice optimizer";
inline constexpr char kGatesKind[] = "sluice gate statistics";

// "step_00001000", and back; empty for any other name.
std::string CheckpointFolderName(int64_t step);
std::optional<int64_t> StepOfFolderName(const std::string& name);

}  // namespace sluice
