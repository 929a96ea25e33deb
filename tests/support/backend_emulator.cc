// What only the emulator can: block orders, and bytes that device code may not touch.
#include "emulator/device_memory.h"
#include "emulator/execute.h"
#include "support/backend.h"

namespace sluice::testing {
namespace {

struct NamedOrder {
  const char* name;
  emulator::Order order;
};
constexpr NamedOrder kOrders[] = {{"forward", {emulator::Order::kForward, 0}},
                                  {"reverse", {emulator::Order::kReverse, 0}},
                                  {"random 1", {emulator::Order::kRandom, 1}},
                                  {"random 2", {emulator::Order::kRandom, 2}}};

}  // namespace

void NarrowOnBackend(const void* begin, size_t bytes) { emulator::NarrowMemory(begin, bytes); }
int BlockOrders() { return static_cast<int>(std::size(kOrders)); }
const char* SetBlockOrder(int order) {
  emulator::SetOrder(kOrders[order].order);
  return kOrders[order].name;
}

}  // namespace sluice::testing
