#include "core/check.h"

#include <cstdio>
#include <cstdlib>

namespace sluice::check_internal {

Failure::Failure(const char* file, int line, const std::string& condition) {
  stream_ << "CHECK failed: " << file << ":" << line << ": " << condition << " ";
}

Failure::~Failure() {
  std::fprintf(stderr, "%s\n", stream_.str().c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace sluice::check_internal
