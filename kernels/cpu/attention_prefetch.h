// Asks for the rows that attention needs next while it computes. A head's rows lie thousands of
// bytes apart, which hardware prefetchers do not see through; without this, packing waits for
// memory about as long as the products take.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::cpu {

class RowPrefetcher {
 public:
  // `rows` rows of `width` elements, `stride` elements apart; `writes`: they will be overwritten.
  template <typename T>
  void Add(const T* begin, int64_t stride, int64_t rows, int64_t width, bool writes) {
    constexpr auto kSize = static_cast<int64_t>(sizeof(T));
    streams_[count_++] = {reinterpret_cast<const char*>(begin), stride * kSize, rows, width * kSize,
                          writes};
    rows_ += rows;
  }
  // Spreads the rows over about `calls` calls of Advance.
  void SpreadOver(int64_t calls) {
    rows_per_call_ = (rows_ + calls - 1) / std::max<int64_t>(calls, 1);
  }

  void Advance() {
    for (int64_t left = rows_per_call_; left > 0 && current_ < count_;) {
      Stream& stream = streams_[current_];
      const int64_t rows = std::min(left, stream.rows);
      for (int64_t row = 0; row < rows; ++row, stream.next += stream.stride) {
        for (int64_t byte = 0; byte < stream.width; byte += 64) {
          if (stream.writes) {
            __builtin_prefetch(stream.next + byte, 1, 2);
          } else {
            __builtin_prefetch(stream.next + byte, 0, 2);
          }
        }
      }
      left -= rows;
      stream.rows -= rows;
      if (stream.rows == 0) ++current_;
    }
  }

 private:
  struct Stream {
    const char* next;
    int64_t stride;
    int64_t rows;
    int64_t width;
    bool writes;
  };
  Stream streams_[8];
  int count_ = 0, current_ = 0;
  int64_t rows_ = 0;
  int64_t rows_per_call_ = 0;
};

}  // namespace sluice::cpu
