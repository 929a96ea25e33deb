// No allocation in a step after the first. Counted by replacing operator new and malloc's family
// for this program; what oneDNN's execute calls allocate inside the library (argument maps of under
// 2 KiB a call) is told apart by the caller's address.
#include <dlfcn.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/parallel.h"
#include "gtest/gtest.h"
#include "train/engine.h"

namespace {

// Global, because operator new is.
// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables)
std::atomic<bool> counting{false};
std::atomic<long> ours{0};
std::atomic<long> libraries{0};
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

bool FromThisProgram(void* address) {
  Dl_info info;
  static const char* self = [] {
    Dl_info here;
    return dladdr(reinterpret_cast<void*>(&FromThisProgram), &here) != 0 ? here.dli_fname : "";
  }();
  return dladdr(address, &info) != 0 && std::strcmp(info.dli_fname, self) == 0;
}

void* Allocate(std::size_t bytes, void* caller) {
  if (counting.load(std::memory_order_relaxed)) {
    // The C++ library's own containers are inlined into their user, so the caller is who asked.
    (FromThisProgram(caller) ? ours : libraries).fetch_add(1, std::memory_order_relaxed);
  }
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return Allocate(bytes, __builtin_return_address(0)); }
void* operator new[](std::size_t bytes) { return Allocate(bytes, __builtin_return_address(0)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace sluice {
namespace {

TEST(AllocationTest, TheCounterCounts) {
  counting = true;
  auto* value = new std::vector<int>(100);
  counting = false;
  EXPECT_GE(ours, 2);
  delete value;
}

TEST(AllocationTest, AStepAllocatesNothingAfterTheFirst) {
  for (const char* precision : {"fp32", "bf16"}) {
    for (int threads : {1, 2}) {
      SetComputeThreads(threads);
      RunConfig config;
      config.model.vocab_size = 501;
      config.model.hidden_size = 64;
      config.model.num_hidden_layers = 2;
      config.model.num_attention_heads = 2;
      config.model.intermediate_size = 128;
      config.model.max_position_embeddings = 32;
      config.model.attention.variant = "gated";
      const DType dtype = *ParsePrecision(precision);
      auto engine =
          Engine::Create(config, {.dtype = dtype, .max_batch = 4, .length = 32, .train = true});
      ASSERT_TRUE(engine.ok()) << engine.status();
      ASSERT_TRUE((*engine)->Allocate().ok());
      Batch batch;
      batch.B = 4;
      batch.T = 32;
      for (int32_t i = 0; i < 128; ++i) {
        batch.tokens.push_back(i * 7 % 501);
        if (i % 6 == 0) {
          batch.target_positions.push_back(i);
          batch.targets.push_back(i);
        }
      }
      batch.sample_index = {0, 1, 2, 3};
      auto step = [&] {
        ASSERT_TRUE((*engine)->ForwardBackward(batch, {.train = true, .seed = 1}).ok());
        const double scale = 1.0 / static_cast<double>(batch.targets.size());
        const auto outcome = (*engine)->ClipAndUpdate(1e-3, scale);
        ASSERT_TRUE(outcome.ok() && outcome->applied);
      };
      step();
      ours = libraries = 0;
      counting = true;
      step();
      step();
      counting = false;
      EXPECT_EQ(ours, 0) << precision << ", " << threads << " threads";
      std::printf("%s, %d threads: %ld allocations of ours, %ld inside libraries in two steps\n",
                  precision, threads, ours.load(), libraries.load());
    }
  }
}

}  // namespace
}  // namespace sluice
