#include "kernels/api/parameter_update.h"

#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

absl::Status DecideUpdate(const DecideUpdateArgs& /*args*/, Stream /*stream*/) {
  return Absent("DecideUpdate");
}

}  // namespace sluice::cuda
