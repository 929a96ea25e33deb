// Runs the CUDA kernels on the emulator and writes what they did to a JSON file, for
// profile_test.py: gpu_profile FILE
#include <cstdio>
#include <fstream>

#include "gpu_budgets/profiled_op.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: gpu_profile FILE\n");
    return 1;
  }
  const std::string version =
      std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
  const nlohmann::json profile = {{"cuda", version},
                                  {"ops", sluice::gpu_budgets::ProfileOps()},
                                  {"steps", sluice::gpu_budgets::ProfileSteps()}};
  std::ofstream file(argv[1]);
  file << profile.dump(1) << "\n";
  file.close();
  if (!file) {
    std::fprintf(stderr, "gpu_profile: cannot write %s\n", argv[1]);
    return 1;
  }
  return 0;
}
