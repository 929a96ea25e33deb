#include "emulator/library_access.h"

#include "emulator/device_memory.h"
#include "emulator/report.h"

namespace sluice::emulator {

u8* ReachFromLibrary(const Task& task, const void* begin, size_t bytes, Access access,
                     const char* what) {
  if (bytes == 0) return nullptr;
  const std::string name = TaskName(task.first_owner);
  const u64 at = reinterpret_cast<u64>(begin);
  const Allocation* allocation = IsDeviceAddress(at) ? FindAllocation(at) : nullptr;
  if (allocation == nullptr) {
    FailOnHost("%s: %s, %p, is not memory of the device", name.c_str(), what, begin);
  }
  if (allocation->freed) FailOnHost("%s: %s, %p, was freed", name.c_str(), what, begin);
  if (at < allocation->usable_begin || at + bytes > allocation->usable_end) {
    FailOnHost("%s: %s: %lu bytes from byte %ld of an allocation of %lu bytes", name.c_str(), what,
               static_cast<unsigned long>(bytes), static_cast<long>(at - allocation->usable_begin),
               static_cast<unsigned long>(allocation->usable_end - allocation->usable_begin));
  }
  NoteRange(task, begin, bytes, access);
  return HostView(at);
}

}  // namespace sluice::emulator
