// Batches in the two places of a device, prefetched or not; on the CPU, and under CUDA where the
// build has it: there, on the emulator, a missing event of this class stops the program.
#include "model/device_batch.h"

#include <numeric>
#include <string>

#include "gtest/gtest.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {

constexpr int64_t kB = 3, kT = 5, kRegisters = 2;

// Every value tells its batch.
Batch MakeBatch(int32_t number, int64_t rows = kB) {
  Batch batch;
  batch.B = rows;
  batch.T = kT;
  batch.tokens.resize(rows * kT);
  std::iota(batch.tokens.begin(), batch.tokens.end(), 1000 * number);
  batch.lengths.assign(rows, kT - number % 2);
  batch.documents.resize(rows * kT);
  for (int64_t i = 0; i < rows * kT; ++i) batch.documents[i] = static_cast<int32_t>(i % kT / 3);
  for (int64_t b = 0; b < rows; ++b) batch.sample_index.push_back(100 * number + b);
  batch.target_positions = {1, 4, static_cast<int32_t>(kT)};
  batch.targets = {number, number + 1, number + 2};
  return batch;
}

class DeviceBatchTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto device = Device::Open(GetParam(), 0);
    // Not with the words by which ctest would take the whole program for skipped.
    if (!device.ok()) GTEST_SKIP() << "no such device: " << device.status().message();
    device_ = *std::move(device);
    context_ = std::make_unique<ExecutionContext>(*device_);
    arena_ = std::make_unique<Arena>();
    const ModelBuild build = {.context = *context_,
                              .arena = *arena_,
                              .parameters = parameters_,
                              .dtype = DType::kFloat32,
                              .max_batch = kB,
                              .length = kT,
                              .registers = kRegisters,
                              .train = true};
    batch_ = std::make_unique<DeviceBatch>(build, /*segments=*/false);
    planned_bytes_ = arena_->bytes();
    ASSERT_TRUE(arena_->Allocate(ArenaFill::kZero, *device_).ok());
  }

  template <typename T>
  std::vector<T> Read(const TensorView& tensor) const {
    const auto host = HostTensor::Read(*device_, tensor);
    EXPECT_TRUE(host.ok()) << host.status();
    const T* values = host->view().as<T>();
    return {values, values + tensor.elements()};
  }
  void ExpectLoaded(const Batch& batch) const {
    EXPECT_EQ(Read<int32_t>(batch_->tokens()), batch.tokens);
    EXPECT_EQ(Read<int64_t>(batch_->sample_index()), batch.sample_index);
    const std::vector<int32_t> targets = Read<int32_t>(batch_->targets());
    ASSERT_EQ(std::ssize(targets), kTargetRowMultiple);
    EXPECT_EQ(std::vector<int32_t>(targets.begin(), targets.begin() + 3), batch.targets);
    EXPECT_EQ(targets[3], -1);
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<ExecutionContext> context_;
  std::unique_ptr<Arena> arena_;
  ParameterStore parameters_;
  std::unique_ptr<DeviceBatch> batch_;
  int64_t planned_bytes_ = 0;
};

TEST_P(DeviceBatchTest, RowsAreThoseThatAttentionSees) {
  const Batch batch = MakeBatch(1);
  ASSERT_TRUE(batch_->Load(*context_, batch).ok());
  ExpectLoaded(batch);
  EXPECT_EQ(Read<int32_t>(batch_->lengths()),
            std::vector<int32_t>(kB, static_cast<int32_t>(kT - 1 + kRegisters)));
  const std::vector<int32_t> documents = Read<int32_t>(batch_->documents());
  ASSERT_EQ(std::ssize(documents), kB * (kRegisters + kT));
  EXPECT_EQ(std::vector<int32_t>(documents.begin(), documents.begin() + kRegisters + kT),
            (std::vector<int32_t>{0, 0, 0, 0, 0, 1, 1}));
  const std::vector<int32_t> rows = Read<int32_t>(batch_->target_rows());
  EXPECT_EQ(std::vector<int32_t>(rows.begin(), rows.begin() + 4),
            (std::vector<int32_t>{3, 6, 9, -1}));
  EXPECT_TRUE(batch_->segments().null());
  EXPECT_TRUE(batch_->next_sentence_labels().null());
}

TEST_P(DeviceBatchTest, NoTargetsAreNull) {
  Batch batch = MakeBatch(1);
  ASSERT_TRUE(batch_->Load(*context_, batch).ok());
  batch.target_positions.clear();
  batch.targets.clear();
  batch.documents.clear();
  ASSERT_TRUE(batch_->Load(*context_, batch).ok());
  EXPECT_TRUE(batch_->targets().null());
  EXPECT_TRUE(batch_->target_rows().null());
  EXPECT_TRUE(batch_->documents().null());
}

// What follows each Load writes to the tokens, in the stream of the kernels: it may not come before
// the copies, nor the next copies into that place before it. The host waits at the end only.
TEST_P(DeviceBatchTest, PrefetchedBatchesNeedNoWaitOfTheHost) {
  std::vector<Batch> batches;
  for (int32_t n = 0; n < 12; ++n) batches.push_back(MakeBatch(n, 1 + n % kB));
  for (size_t n = 0; n < batches.size(); ++n) {
    ASSERT_TRUE(batch_->Load(*context_, batches[n]).ok());
    EXPECT_EQ(batch_->tokens().elements(), std::ssize(batches[n].tokens));
    ASSERT_TRUE(device_->Fill(batch_->tokens().data(), 1, 8).ok());
    // Every third is not there yet.
    if (n % 3 != 2 && n + 1 < batches.size()) {
      ASSERT_TRUE(batch_->Prefetch(*context_, batches[n + 1]).ok());
      batches[n + 1].tokens[3] = -5;  // it has been copied, and is not copied again
      ASSERT_TRUE(device_->Fill(batch_->tokens().data(), 2, 8).ok());
    }
  }
  Batch last = MakeBatch(11, 1 + 11 % kB);
  last.tokens[0] = last.tokens[1] = 0x01010101;
  ExpectLoaded(last);
}

TEST_P(DeviceBatchTest, AnotherBatchMayComeThanWasPrefetched) {
  const Batch first = MakeBatch(1), second = MakeBatch(2), evaluated = MakeBatch(3);
  ASSERT_TRUE(batch_->Load(*context_, first).ok());
  ASSERT_TRUE(batch_->Prefetch(*context_, second).ok());
  ExpectLoaded(first);
  ASSERT_TRUE(batch_->Load(*context_, evaluated).ok());
  ExpectLoaded(evaluated);
  ASSERT_TRUE(batch_->Load(*context_, second).ok());
  ExpectLoaded(second);
}

TEST_P(DeviceBatchTest, ABatchThatChangedAfterItWasLoadedIsCopiedAgain) {
  Batch batch = MakeBatch(1);
  ASSERT_TRUE(batch_->Prefetch(*context_, batch).ok());
  ASSERT_TRUE(batch_->Load(*context_, batch).ok());
  ExpectLoaded(batch);
  batch = MakeBatch(2);
  ASSERT_TRUE(batch_->Load(*context_, batch).ok());
  ExpectLoaded(batch);
}

TEST_P(DeviceBatchTest, BothPlacesArePlanned) {
  // int32: tokens, lengths, documents, labels, target rows and ids; int64: sample indices; each to
  // 256 bytes.
  EXPECT_EQ(planned_bytes_, 2 * (256 + 256 + 256 + 256 + 2 * 256 + 256));
}

std::vector<const char*> DevicesOfThisBuild() {
  if (BuiltWithCuda()) return {"cpu", "cuda"};
  return {"cpu"};
}
INSTANTIATE_TEST_SUITE_P(Devices, DeviceBatchTest, ::testing::ValuesIn(DevicesOfThisBuild()));

}  // namespace
}  // namespace sluice
