#include "checkpoint/json_file.h"

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/durable_file.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {

absl::StatusOr<Json> ParseJsonObject(const std::string& text, const std::string& where) {
  std::vector<std::set<std::string>> open_objects;
  std::string repeated;
  bool found_repeated = false;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key &&
        !open_objects.back().insert(parsed.get<std::string>()).second && !found_repeated) {
      repeated = parsed.get<std::string>();
      found_repeated = true;
    }
    return true;
  };
  Json root;
  try {
    root = Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    return CheckpointError("is not JSON", where, absl::StrCat("at byte ", error.byte));
  } catch (const Json::exception& error) {  // a number that no double holds
    return CheckpointError("is not JSON", where, error.what());
  }
  if (found_repeated) return CheckpointError("a key appears twice", where, repeated);
  if (!root.is_object()) return CheckpointError("is not a JSON object", where, root.type_name());
  return root;
}

absl::StatusOr<Json> ReadJsonFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, checkpoint_internal::ReadSmallFile(path));
  return ParseJsonObject(text, path);
}

}  // namespace sluice
