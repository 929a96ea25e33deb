#include "emulator/report.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace sluice::emulator {
namespace {

std::mutex failing;  // held by the first thread that fails, to the end of the process

unsigned long Number(u64 value) { return static_cast<unsigned long>(value); }

}  // namespace

const bool profiling = std::getenv("SLUICE_EMULATOR_PROFILE") != nullptr;

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

void ReportProfile(const Kernel& kernel) {
  struct Line {
    u64 transactions[2] = {}, ideal[2] = {};  // global, shared
  };
  std::map<std::string, Line> lines;
  u64 total = 0;
  for (const Instruction& instruction : kernel.code) {
    total += instruction.executed;
    if (instruction.ideal_transactions == 0) continue;
    const std::string& text = instruction.text;
    const bool shared =
        text.find("shared") != std::string::npos && text.find("cp.async") == std::string::npos;
    Line& line = lines[SourceOf(*kernel.module, instruction.place)];
    line.transactions[shared] += instruction.transactions;
    line.ideal[shared] += instruction.ideal_transactions;
  }
  if (total == 0) return;
  std::fprintf(stderr, "%s: %lu warp instructions\n", kernel.name.c_str(), Number(total));
  for (const auto& [source, line] : lines) {
    std::fprintf(stderr, "  %s:", source.c_str());
    if (line.ideal[0] != 0) {
      std::fprintf(stderr, " %lu global sectors, at best %lu", Number(line.transactions[0]),
                   Number(line.ideal[0]));
    }
    if (line.ideal[1] != 0) {
      std::fprintf(stderr, " %lu shared wavefronts, at best %lu", Number(line.transactions[1]),
                   Number(line.ideal[1]));
    }
    std::fprintf(stderr, "\n");
  }
}

}  // namespace sluice::emulator
