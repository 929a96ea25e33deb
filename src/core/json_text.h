// JSON as commands print it and files hold it.
#pragma once

#include <string>

namespace sluice {

// Text of the user's, such as a folder's name, need not be UTF-8, which JSON is: what is not
// becomes U+FFFD. indent < 0: one line.
template <typename Json>
std::string JsonText(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace sluice
