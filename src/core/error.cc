#include "core/error.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

constexpr char kExitCodePayload[] = "sluice/exit_code";

absl::Status Make(absl::StatusCode status_code, ExitCode exit_code, absl::string_view what,
                  absl::string_view where, absl::string_view values) {
  std::string message(what);
  for (absl::string_view part : {where, values}) {
    if (!part.empty()) absl::StrAppend(&message, ": ", part);
  }
  absl::Status status(status_code, message);
  status.SetPayload(kExitCodePayload, absl::Cord(absl::StrCat(static_cast<int>(exit_code))));
  return status;
}

}  // namespace

absl::Status UsageError(absl::string_view what, absl::string_view where, absl::string_view values) {
  return Make(absl::StatusCode::kInvalidArgument, ExitCode::kUsage, what, where, values);
}
absl::Status DataError(absl::string_view what, absl::string_view where, absl::string_view values) {
  return Make(absl::StatusCode::kDataLoss, ExitCode::kData, what, where, values);
}
absl::Status CheckpointError(absl::string_view what, absl::string_view where,
                             absl::string_view values) {
  return Make(absl::StatusCode::kDataLoss, ExitCode::kCheckpoint, what, where, values);
}
absl::Status DeviceError(absl::string_view what, absl::string_view where,
                         absl::string_view values) {
  return Make(absl::StatusCode::kUnavailable, ExitCode::kDevice, what, where, values);
}
absl::Status DivergedError(absl::string_view what, absl::string_view where,
                           absl::string_view values) {
  return Make(absl::StatusCode::kOutOfRange, ExitCode::kDiverged, what, where, values);
}
absl::Status StoppedOnRequest(absl::string_view what) {
  return Make(absl::StatusCode::kCancelled, ExitCode::kResumable, what, "", "");
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return ExitCode::kDone;
  const absl::optional<absl::Cord> payload = status.GetPayload(kExitCodePayload);
  int code = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &code)) {
    return ExitCode::kDevice;
  }
  return static_cast<ExitCode>(code);
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

}  // namespace sluice
