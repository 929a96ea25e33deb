// The emulated streams and events.
#pragma once

#include <chrono>

#include "emulator/memory_order.h"

struct CUstream_st {
  sluice::emulator::StreamState* state;
  int priority;
};
struct CUevent_st {
  bool recorded = false;
  sluice::emulator::Clock clock;  // of the stream when it was recorded
  std::chrono::steady_clock::time_point time;
};

namespace sluice::emulator {

inline StreamState* StateOfStream(CUstream_st* stream) { return stream->state; }

}  // namespace sluice::emulator
