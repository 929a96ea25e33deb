// What a run would take, from its plan alone: nothing is allocated and nothing is written.
#pragma once

#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "train/engine.h"

namespace sluice {

struct DryRunInput {
  int world_size = 1;
  int threads = 1;              // a rank
  int64_t train_sequences = 0;  // of an epoch; 0: unknown
  int64_t data_bytes = 0;       // what loaders hold in memory, a rank
};

// Text with: the parameter table, memory a rank by purpose with its sum, the communication plan of
// an update, the operations of a token and an update, and how many epochs the steps are.
std::string DescribePlan(const Engine& engine, const DryRunInput& input);

// Peak resident bytes a rank that the plan foresees: arena, loader, and what the program and its
// libraries hold themselves.
int64_t PlannedResidentBytes(const Engine& engine, const DryRunInput& input);

}  // namespace sluice
