#include "ops/dropout.h"

#include "ops/dispatch.h"

namespace sluice::ops {

absl::Status DropoutForward(ExecutionContext& context, const Dropout& dropout, const TensorView& x,
                            const TensorView& y) {
  CHECK_EQ(x.elements(), y.elements());
  CHECK(x.contiguous() && y.contiguous());
  return Dispatch(
      context, "dropout", x.dtype(),
      [&]<typename T>() {
        return DropoutArgs<T>{x.as<T>(), y.as<T>(), x.rows(), x.dim(-1), dropout};
      },
      SLUICE_KERNELS(DropoutForward));
}

}  // namespace sluice::ops
