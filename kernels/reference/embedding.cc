#include "kernels/api/embedding.h"

namespace sluice::reference {
namespace {

int64_t SegmentOf(const int32_t* segments, int64_t n) {
  return segments == nullptr ? 0 : segments[n];
}

}  // namespace

void EmbeddingForward(const EmbeddingForwardArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    const int64_t position = args.position_offset + n % args.T_;
    const int64_t segment = SegmentOf(args.segments, n);
    for (int64_t c = 0; c < args.C; ++c) {
      double y = args.token_table[args.tokens[n] * args.C + c];
      y += args.position_table[position * args.C + c];
      if (args.segment_table != nullptr) y += args.segment_table[segment * args.C + c];
      args.y[n * args.C + c] = y;
    }
  }
}

void EmbeddingBackward(const EmbeddingBackwardArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    const int64_t position = args.position_offset + n % args.T_;
    const int64_t segment = SegmentOf(args.segments, n);
    for (int64_t c = 0; c < args.C; ++c) {
      const double dy = args.dy[n * args.C + c];
      args.dtoken_table[args.tokens[n] * args.C + c] += dy;
      args.dposition_table[position * args.C + c] += dy;
      if (args.dsegment_table != nullptr) args.dsegment_table[segment * args.C + c] += dy;
    }
  }
}

}  // namespace sluice::reference
