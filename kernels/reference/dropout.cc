#include "kernels/api/dropout.h"
namespace sluice {}
