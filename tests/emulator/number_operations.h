// Operations on two values, as types: what arithmetic, atomics and reductions share.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "emulator/program.h"

namespace sluice::emulator {

struct Add {
  template <typename T>
  static T Of(T a, T b) {
    return static_cast<T>(a + b);
  }
};
struct Subtract {
  template <typename T>
  static T Of(T a, T b) {
    return static_cast<T>(a - b);
  }
};
struct Multiply {
  template <typename T>
  static T Of(T a, T b) {
    return static_cast<T>(a * b);
  }
};
struct Divide {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) return static_cast<T>(~T{0});
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) {
        return static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(a));
      }
    }
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <typename T>
  static T Of(T a, T b) {
    if (b == 0) return a;
    return std::is_signed_v<T> && b == static_cast<T>(-1) ? T{0} : static_cast<T>(a % b);
  }
};
// A NaN on one side gives the other side.
struct Minimum {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (std::is_integral_v<T>) return std::min(a, b);
    return static_cast<T>(std::fmin(a, b));
  }
};
struct Maximum {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (std::is_integral_v<T>) return std::max(a, b);
    return static_cast<T>(std::fmax(a, b));
  }
};
// min.NaN, max.NaN: a NaN on either side comes through.
struct MinimumOrNaN {
  template <typename T>
  static T Of(T a, T b) {
    return std::isnan(a) || std::isnan(b) ? static_cast<T>(NAN) : std::fmin(a, b);
  }
};
struct MaximumOrNaN {
  template <typename T>
  static T Of(T a, T b) {
    return std::isnan(a) || std::isnan(b) ? static_cast<T>(NAN) : std::fmax(a, b);
  }
};
struct And {
  template <typename T>
  static T Of(T a, T b) {
    return a & b;
  }
};
struct Or {
  template <typename T>
  static T Of(T a, T b) {
    return a | b;
  }
};
struct Xor {
  template <typename T>
  static T Of(T a, T b) {
    return a ^ b;
  }
};
struct MultiplyHigh {
  template <typename T>
  static T Of(T a, T b) {
    using Signed = std::conditional_t<sizeof(T) == 8, __int128, s64>;
    using Unsigned = std::conditional_t<sizeof(T) == 8, unsigned __int128, u64>;
    using Wide = std::conditional_t<std::is_signed_v<T>, Signed, Unsigned>;
    return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b) >> (8 * sizeof(T)));
  }
};
// atom.inc: counts up to b, then starts again at 0
struct Increment {
  template <typename T>
  static T Of(T a, T b) {
    return a >= b ? 0 : a + 1;
  }
};
// atom.dec: counts down, then starts again at b
struct Decrement {
  template <typename T>
  static T Of(T a, T b) {
    return a == 0 || a > b ? b : a - 1;
  }
};
struct Exchange {
  template <typename T>
  static T Of(T, T b) {
    return b;
  }
};

}  // namespace sluice::emulator
