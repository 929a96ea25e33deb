#include "emulator/report.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace sluice::emulator {
namespace {

std::mutex failing;  // held by the first thread that fails, to the end of the process

}  // namespace

std::string SourceOf(const Module& module, int place) {
  if (place < 0) return "(compile with -lineinfo for the source line)";
  std::string text;
  for (; place >= 0; place = module.places[place].parent) {
    const auto file = module.files.find(module.places[place].file);
    const std::string path = file == module.files.end() ? "?" : file->second;
    text += (text.empty() ? "" : ", inlined at ") + path.substr(path.rfind('/') + 1) + ":" +
            std::to_string(module.places[place].line);
  }
  return text;
}

std::string ThreadName(const Block& block, u32 thread) {
  const unsigned* size = block.shape->block;
  return "(" + std::to_string(thread % size[0]) + "," + std::to_string(thread / size[0] % size[1]) +
         "," + std::to_string(thread / size[0] / size[1]) + ")";
}

void Fail(const Warp& warp, const Instruction& instruction, int lane, const char* format, ...) {
  failing.lock();
  const Block& block = *warp.block;
  std::fprintf(stderr, "\n%s: ", SourceOf(*block.kernel->module, instruction.place).c_str());
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\n  in %s, block (%u,%u,%u), warp %d", block.kernel->name.c_str(),
               block.index[0], block.index[1], block.index[2], warp.index);
  if (lane >= 0) {
    std::fprintf(stderr, ", lane %d: thread %s", lane,
                 ThreadName(block, static_cast<u32>(warp.index * 32 + lane)).c_str());
  }
  std::fprintf(stderr, "\n  at %s\n", instruction.text.c_str());
  std::abort();
}

void FailOnHost(const char* format, ...) {
  failing.lock();
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\nemulator: %s\n", text);  // at once: ranks fail side by side
  std::abort();
}

}  // namespace sluice::emulator
