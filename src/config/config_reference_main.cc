// sluice_config_reference: prints docs/config_reference.md to stdout.
#include <cstdio>
#include <string>

#include "config/config_reference.h"

int main(int argument_count, char** arguments) {
  if (argument_count != 1) {
    std::fprintf(stderr, "usage: %s > docs/config_reference.md\n", arguments[0]);
    return 1;
  }
  const std::string document = sluice::GenerateConfigReference();
  const bool written =
      std::fwrite(document.data(), 1, document.size(), stdout) == document.size() &&
      std::fflush(stdout) == 0;
  return written ? 0 : 4;
}
