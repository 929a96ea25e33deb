// What the processor can do and how fast it is; see kernels/api/processor.h.
#pragma once

#include "kernels/api/processor.h"  // IWYU pragma: export
