#include <algorithm>

#include "kernels/api/embedding.h"

namespace sluice::reference {
namespace {

int64_t SegmentOf(const int32_t* segments, int64_t n) {
  return segments == nullptr ? 0 : segments[n];
}

// First element of the row of y or dy that belongs to token n; written out again, so that nothing
// is shared with what is judged.
template <typename Args>
int64_t TokenRow(const Args& args, int64_t n) {
  const int64_t b = n / args.T_, t = n % args.T_;
  return (b * (args.R + args.T_) + args.R + t) * args.C;
}

}  // namespace

void EmbeddingForward(const EmbeddingForwardArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    const int64_t position = args.position_offset + n % args.T_;
    const int64_t segment = SegmentOf(args.segments, n);
    for (int64_t c = 0; c < args.C; ++c) {
      double y = args.token_table != nullptr ? args.token_table[args.tokens[n] * args.C + c]
                                             : args.projected[n * args.C + c];
      y += args.position_table[position * args.C + c];
      if (args.segment_table != nullptr) y += args.segment_table[segment * args.C + c];
      args.y[TokenRow(args, n) + c] = y;
    }
  }
  for (int64_t b = 0; b < args.N / args.T_; ++b) {
    std::copy_n(args.register_table, args.R * args.C, args.y + b * (args.R + args.T_) * args.C);
  }
}

void EmbeddingBackward(const EmbeddingBackwardArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    const int64_t position = args.position_offset + n % args.T_;
    const int64_t segment = SegmentOf(args.segments, n);
    for (int64_t c = 0; c < args.C; ++c) {
      const double dy = args.dy[TokenRow(args, n) + c];
      if (args.dtoken_table != nullptr) args.dtoken_table[args.tokens[n] * args.C + c] += dy;
      if (args.dprojected != nullptr) args.dprojected[n * args.C + c] = dy;
      if (args.dposition_table != nullptr) args.dposition_table[position * args.C + c] += dy;
      if (args.dsegment_table != nullptr) args.dsegment_table[segment * args.C + c] += dy;
    }
  }
  for (int64_t b = 0; b < args.N / args.T_ && args.dregister_table != nullptr; ++b) {
    for (int64_t i = 0; i < args.R * args.C; ++i) {
      args.dregister_table[i] += args.dy[b * (args.R + args.T_) * args.C + i];
    }
  }
}

}  // namespace sluice::reference
