// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

namespace sluice {

// Bytes of the character at the start of `text`, 1 to 4; 0 when there is no valid one.
size_t Utf8SequenceLength(absl::string_view text);

}  // namespace sluice
