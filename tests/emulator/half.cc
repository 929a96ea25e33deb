// Arithmetic on bf16, f16 and pairs of them.
#include "emulator/half.h"

#include <cmath>

#include "emulator/lanes.h"
#include "emulator/ptx_text.h"

namespace sluice::emulator {
namespace {

using Function = float (*)(float, float, float);

template <typename Half, bool pair, Function f>
void HalfOperation(Warp& warp, const Instruction& i, u32 lanes) {
  const u32* a = Lanes<u32>(warp, i.operands[1]);
  const u32* b = Lanes<u32>(warp, i.operands[i.count > 2 ? 2 : 1]);
  const u32* c = Lanes<u32>(warp, i.operands[i.count > 3 ? 3 : 1]);
  u32 out[32];
  for (int l = 0; l < 32; ++l) out[l] = OnHalves<Half, pair>(f, a[l], b[l], c[l]);
  SetLanes<u32>(warp, i.operands[0], lanes, out);
}

float Sum(float a, float b, float /*c*/) { return a + b; }
float Difference(float a, float b, float /*c*/) { return a - b; }
float Product(float a, float b, float /*c*/) { return a * b; }
float MultiplyAdd(float a, float b, float c) { return std::fma(a, b, c); }
float Smaller(float a, float b, float /*c*/) { return std::fmin(a, b); }
float Larger(float a, float b, float /*c*/) { return std::fmax(a, b); }
float SmallerOrNaN(float a, float b, float /*c*/) {
  return a != a || b != b ? NAN : std::fmin(a, b);
}
float LargerOrNaN(float a, float b, float /*c*/) {
  return a != a || b != b ? NAN : std::fmax(a, b);
}
float Negative(float a, float /*b*/, float /*c*/) { return -a; }
float Magnitude(float a, float /*b*/, float /*c*/) { return std::fabs(a); }
float Exp2(float a, float /*b*/, float /*c*/) { return std::exp2(a); }
float HyperbolicTangent(float a, float /*b*/, float /*c*/) { return std::tanh(a); }

template <typename Half, bool pair>
Operation ForType(const Opcode& op) {
  if (op.Has("sat") || op.Has("relu")) return nullptr;
  const bool nan = op.Has("NaN");
  if (op.Is("add")) return HalfOperation<Half, pair, Sum>;
  if (op.Is("sub")) return HalfOperation<Half, pair, Difference>;
  if (op.Is("mul")) return HalfOperation<Half, pair, Product>;
  if (op.Is("fma")) return HalfOperation<Half, pair, MultiplyAdd>;
  if (op.Is("min"))
    return nan ? HalfOperation<Half, pair, SmallerOrNaN> : HalfOperation<Half, pair, Smaller>;
  if (op.Is("max"))
    return nan ? HalfOperation<Half, pair, LargerOrNaN> : HalfOperation<Half, pair, Larger>;
  if (op.Is("neg")) return HalfOperation<Half, pair, Negative>;
  if (op.Is("abs")) return HalfOperation<Half, pair, Magnitude>;
  if (op.Is("ex2")) return HalfOperation<Half, pair, Exp2>;
  return op.Is("tanh") ? HalfOperation<Half, pair, HyperbolicTangent> : nullptr;
}

}  // namespace

Operation SelectHalf(Instruction& /*i*/, const Opcode& op) {
  if (op.IsOneOf({"cvt", "setp", "set", "mma", "atom", "red"})) return nullptr;
  if (op.type() == "bf16x2") return ForType<Bf16, true>(op);
  if (op.type() == "bf16") return ForType<Bf16, false>(op);
  if (op.type() == "f16x2") return ForType<Fp16, true>(op);
  return op.type() == "f16" ? ForType<Fp16, false>(op) : nullptr;
}

}  // namespace sluice::emulator
