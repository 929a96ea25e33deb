#include <new>

#include "support/backend.h"

namespace sluice::testing {
namespace {
constexpr std::align_val_t kAlignment{64};
}  // namespace

void* AllocateOnBackend(size_t bytes) { return ::operator new(bytes, kAlignment); }
void FreeOnBackend(void* memory) { ::operator delete(memory, kAlignment); }
void NarrowOnBackend(const void* /*begin*/, size_t /*bytes*/) {}
cuda::Stream BackendStream() { return nullptr; }
absl::Status SynchronizeBackend() { return absl::OkStatus(); }
int BlockOrders() { return 1; }
const char* SetBlockOrder(int /*order*/) { return "forward"; }

}  // namespace sluice::testing
