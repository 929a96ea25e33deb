#include "ops/row_gather.h"

#include "kernels/api/row_gather.h"
#include "ops/dispatch.h"

namespace sluice::ops {

absl::Status RowGather(ExecutionContext& context, const TensorView& x, const TensorView& rows,
                       const TensorView& y) {
  CHECK_EQ(x.dim(-1), y.dim(-1));
  CHECK_EQ(rows.elements(), y.rows());
  return Dispatch(
      context, "row_gather", x.dtype(),
      [&]<typename T>() {
        return RowGatherArgs<T>{x.as<T>(), rows.as<int32_t>(), y.as<T>(),
                                x.rows(),  y.rows(),           x.dim(-1)};
      },
      SLUICE_KERNELS(RowGather));
}

absl::Status RowScatter(ExecutionContext& context, const TensorView& dy, const TensorView& rows,
                        const TensorView& dx) {
  CHECK_EQ(dx.dim(-1), dy.dim(-1));
  CHECK_EQ(rows.elements(), dy.rows());
  return Dispatch(
      context, "row_scatter", dy.dtype(),
      [&]<typename T>() {
        return RowScatterArgs<T>{dy.as<T>(), rows.as<int32_t>(), dx.as<T>(),
                                 dx.rows(),  dy.rows(),          dy.dim(-1)};
      },
      SLUICE_KERNELS(RowScatter));
}

}  // namespace sluice::ops
