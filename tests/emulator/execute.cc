#include "emulator/execute.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>

#include "emulator/profile.h"
#include "emulator/report.h"

namespace sluice::emulator {
namespace {

Order OrderFromEnvironment() {
  const char* text = std::getenv("SLUICE_EMULATOR_ORDER");
  if (text == nullptr) return {};
  if (std::strcmp(text, "reverse") == 0) return {Order::kReverse, 0};
  return {Order::kRandom, std::strtoull(text, nullptr, 10)};
}
Order current_order = OrderFromEnvironment();

u64 NextRandom(u64& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 33;
}

// 0 … count - 1 in the current order.
std::vector<u32> InOrder(u32 count, u64& random) {
  std::vector<u32> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (current_order.kind == Order::kReverse) std::reverse(order.begin(), order.end());
  if (current_order.kind == Order::kRandom) {
    for (u32 i = count; i > 1; --i) std::swap(order[i - 1], order[NextRandom(random) % i]);
  }
  return order;
}

u32 SpecialValue(const SpecialRegister& special, const Block& block, int warp, u32 lane) {
  const u32 thread = static_cast<u32>(warp) * 32 + lane;
  const unsigned* size = block.shape->block;
  const u32 index[3] = {thread % size[0], thread / size[0] % size[1], thread / size[0] / size[1]};
  switch (special.kind) {
    case Special::kThread:
      return index[special.axis];
    case Special::kBlockSize:
      return size[special.axis];
    case Special::kBlock:
      return block.index[special.axis];
    case Special::kGridSize:
      return block.shape->grid[special.axis];
    case Special::kLane:
      return lane;
    case Special::kWarp:
      return static_cast<u32>(warp);
    case Special::kMaskEqual:
      return 1u << lane;
    case Special::kMaskBelow:
      return (1u << lane) - 1;
    case Special::kMaskUpTo:
      return (2u << lane) - 1;
    case Special::kMaskAbove:
      return ~((2u << lane) - 1);
    case Special::kMaskFrom:
      return ~((1u << lane) - 1);
    case Special::kDynamicShared:
      return static_cast<u32>(block.shape->dynamic_shared_bytes);
    default:
      return 0;  // clocks stand still
  }
}

void StartWarp(Warp& warp) {
  Block& block = *warp.block;
  warp.live = warp.active = block.LanesOf(warp.index);
  warp.pc = 0;
  warp.others = warp.waiting = 0;
  warp.merge_pc = ~0u;
  warp.state = Warp::kRunning;
  warp.time = 1 << 8;
  warp.copies.clear();
  std::memset(warp.committed, 0, sizeof warp.committed);
  for (const SpecialRegister& special : block.kernel->specials) {
    for (u32 lane = 0; lane < 32; ++lane) {
      const u64 value = SpecialValue(special, block, warp.index, lane);
      std::memcpy(warp.registers + special.place.at + lane * special.place.bytes, &value,
                  special.place.bytes);
    }
  }
}

void StartBlock(Block& block) {
  std::memset(block.shared, 0xff, block.shared_bytes);
  std::memset(block.shadow, 0, (block.shared_bytes / 2 + 1) * sizeof(Shadow));
  for (const auto& [first, last] : block.kernel->red_zones) {
    for (u32 at = (first + 1) / 2; at < last / 2; ++at) block.shadow[at].red_zone = 1;
  }
  for (Warp& warp : block.warps) StartWarp(warp);
}

// Until the warp waits at a block barrier or is done.
void RunWarp(Warp& warp) {
  const std::vector<Instruction>& code = warp.block->kernel->code;
  while (warp.state == Warp::kRunning) {
    if (warp.pc >= warp.merge_pc) Yield(warp, warp.pc);
    const Instruction& instruction = code[warp.pc];
    if (instruction.synchronizes && warp.waiting != 0) JoinWaiting(warp);
    ++warp.pc;
    u32 lanes = warp.active;
    if (instruction.guard >= 0) {
      lanes &= warp.predicates[instruction.guard] ^ (instruction.guard_negated ? ~0u : 0);
    }
    if (profiling) __atomic_fetch_add(&instruction.executed, 1, __ATOMIC_RELAXED);
    if (lanes != 0) instruction.run(warp, instruction, lanes);
    warp.stuck = false;
  }
}

// All warps wait at barrier `id`, the same one in the text, with all of their lanes.
void CheckWholeBlockBarrier(Block& block, const Warp& first) {
  for (Warp& warp : block.warps) {
    if (warp.state == Warp::kDone) {
      Fail(first, *first.barrier, -1, "waits at a barrier that warp %d exited without reaching",
           warp.index);
    }
    if (warp.barrier != first.barrier) {
      Fail(warp, *warp.barrier, -1, "warp %d waits at another barrier: %s", first.index,
           SourceOf(*block.kernel->module, first.barrier->place).c_str());
    }
    if (warp.live != block.LanesOf(warp.index)) {
      Fail(warp, *warp.barrier, -1, "lanes %#x exited without reaching this barrier", ~warp.live);
    }
  }
}

// Lets go the warps whose barrier is complete. Nobody runs now. `epoch` counts barriers.
void ReleaseBarriers(Block& block, u32& epoch) {
  bool released = false;
  const Warp* waiting = nullptr;
  for (u32 id = 0; id < 16; ++id) {
    u32 arrived = 0, expected = 0;
    const Warp* first = nullptr;
    for (const Warp& warp : block.warps) {
      if (warp.state != Warp::kAtBarrier || warp.barrier_id != id) continue;
      arrived += 32;
      if (first == nullptr) first = &warp;
      if (warp.barrier_threads != first->barrier_threads) {
        Fail(warp, *warp.barrier, -1, "barrier %u is of %u threads here and of %u in warp %d", id,
             warp.barrier_threads, first->barrier_threads, first->index);
      }
      expected = warp.barrier_threads;
    }
    if (first == nullptr) continue;
    if (expected == 0) {
      CheckWholeBlockBarrier(block, *first);
    } else if (arrived < expected) {
      waiting = first;
      continue;
    }
    released = true;
    std::vector<Warp*> waiters;
    for (Warp& warp : block.warps) {
      if (warp.state == Warp::kAtBarrier && warp.barrier_id == id) waiters.push_back(&warp);
    }
    FinishBarrier(waiters);
    for (Warp* warp : waiters) {
      warp->state = Warp::kRunning;
      warp->time = epoch << 8;
    }
    ++epoch;
  }
  if (!released && waiting != nullptr) {
    Fail(*waiting, *waiting->barrier, -1, "barrier %u waits for %u threads, which never come",
         waiting->barrier_id, waiting->barrier_threads);
  }
}

void RunBlock(Block& block, u64 random) {
  StartBlock(block);
  for (u32 epoch = 2;;) {
    for (const u32 index : InOrder(static_cast<u32>(block.warps.size()), random)) {
      if (block.warps[index].state == Warp::kRunning) RunWarp(block.warps[index]);
    }
    const bool done = std::all_of(block.warps.begin(), block.warps.end(),
                                  [](const Warp& warp) { return warp.state == Warp::kDone; });
    if (done) return;
    ReleaseBarriers(block, epoch);
  }
}

// What one thread needs to run blocks of a launch, one after another.
class Worker {
 public:
  Worker(const Kernel& kernel, const LaunchShape& shape, void** arguments, const Task& task)
      : warps_((shape.threads() + 31) / 32),
        shared_bytes_(static_cast<u32>(kernel.static_shared + shape.dynamic_shared_bytes)),
        shared_(Bytes(shared_bytes_)),
        shadow_(Bytes((shared_bytes_ / 2 + 1) * sizeof(Shadow))),
        local_(Bytes(static_cast<size_t>(kernel.local_bytes) * shape.threads())),
        registers_(Bytes(static_cast<size_t>(kernel.file_bytes) * warps_)),
        predicates_(Bytes(static_cast<size_t>(kernel.predicates) * sizeof(u32) * warps_)) {
    block_.kernel = &kernel;
    block_.shape = &shape;
    block_.arguments = arguments;
    block_.task = &task;
    block_.shared = shared_.get();
    block_.shared_bytes = shared_bytes_;
    block_.shadow = reinterpret_cast<Shadow*>(shadow_.get());
    block_.local = local_.get();
    block_.warps.resize(warps_);
    for (u32 index = 0; index < warps_; ++index) AddWarp(kernel, index);
  }

  void Run(u32 number) {
    const unsigned* grid = block_.shape->grid;
    block_.number = number;
    block_.index[0] = number % grid[0];
    block_.index[1] = number / grid[0] % grid[1];
    block_.index[2] = number / grid[0] / grid[1];
    RunBlock(block_, current_order.seed * 1000003 + number);
  }

 private:
  struct Freer {
    void operator()(u8* memory) const { std::free(memory); }
  };
  using Memory = std::unique_ptr<u8, Freer>;
  static Memory Bytes(size_t count) {
    constexpr size_t kAlignment = 1024;
    const size_t rounded = (count + kAlignment) / kAlignment * kAlignment;
    Memory memory(static_cast<u8*>(std::aligned_alloc(kAlignment, rounded)));
    std::memset(memory.get(), 0xff, rounded);
    return memory;
  }
  void AddWarp(const Kernel& kernel, u32 index) {
    Warp& warp = block_.warps[index];
    warp.block = &block_;
    warp.index = static_cast<int>(index);
    warp.registers = registers_.get() + static_cast<size_t>(kernel.file_bytes) * index;
    warp.predicates =
        reinterpret_cast<u32*>(predicates_.get()) + static_cast<size_t>(kernel.predicates) * index;
    for (const Constant& constant : kernel.constants) {
      for (u32 lane = 0; lane < 32; ++lane) {
        std::memcpy(warp.registers + constant.at + lane * constant.bytes, &constant.value,
                    constant.bytes);
      }
    }
  }

  u32 warps_, shared_bytes_;
  Memory shared_, shadow_, local_, registers_, predicates_;
  Block block_;
};

u32 MostThreads() {
  const char* text = std::getenv("SLUICE_EMULATOR_THREADS");
  const int threads =
      text != nullptr ? std::atoi(text) : static_cast<int>(std::thread::hardware_concurrency());
  return static_cast<u32>(std::max(threads, 1));
}

}  // namespace

void SetOrder(Order order) { current_order = order; }

void Execute(const Kernel& kernel, const LaunchShape& shape, void** arguments, const Task& task) {
  constexpr u32 kThreadsWorthAWorker = 2048;  // starting one costs as much as these
  static const u32 most = MostThreads();
  u64 random = current_order.seed;
  const std::vector<u32> order = InOrder(shape.blocks(), random);
  std::atomic<size_t> next{0};
  const auto work = [&] {
    Worker worker(kernel, shape, arguments, task);
    for (size_t i = next++; i < order.size(); i = next++) worker.Run(order[i]);
  };
  const u64 worth = static_cast<u64>(shape.blocks()) * shape.threads() / kThreadsWorthAWorker;
  const u64 workers = std::min<u64>({most, shape.blocks(), std::max<u64>(worth, 1)});
  std::vector<std::thread> others;
  for (u64 i = 1; i < workers; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  if (profiling) FinishLaunch(kernel);
}

}  // namespace sluice::emulator
