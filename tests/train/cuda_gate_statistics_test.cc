// What a GPU sums of its gates is, to the bit, what the host sums of the same gates.
#include "comm/single_communicator.h"
#include "model/small_model.h"
#include "runtime/host_tensor.h"
#include "telemetry/gate_telemetry.h"

namespace sluice {
namespace {

using testing::RandomBatch;
using testing::SmallBertConfig;

// Shows the same gates to both: where they are, and as a copy on the host.
struct Both : Observer {
  GateTelemetry &on_device, &on_host;

  Both(GateTelemetry& device, GateTelemetry& host) : on_device(device), on_host(host) {}
  bool Wants(absl::string_view tensor) const override { return tensor == observed::kGate; }
  absl::StatusOr<bool> ObserveInPlace(ExecutionContext& context, int layer,
                                      absl::string_view tensor, const TensorView& view) override {
    const auto done = on_device.ObserveInPlace(context, layer, tensor, view);
    EXPECT_TRUE(!done.ok() || *done);
    return done.ok() ? absl::StatusOr<bool>(false) : done;
  }
  void Observe(int layer, absl::string_view tensor, const TensorView& copy) override {
    on_host.Observe(layer, tensor, copy);
  }
};

GateStatistics Gathered(GateTelemetry& gates) {
  SingleCommunicator alone;
  EXPECT_TRUE(gates.Merge(alone).ok());
  return gates.statistics(GateTelemetry::Since::kCheckpoint);
}

void ExpectSameStatistics(const RunConfig& config) {
  TokenizerIdentity tokenizer;
  tokenizer.vocabulary_size = 53;
  tokenizer.special = {.pad = 0, .unk = 1, .cls = 2, .sep = 3, .mask = 4};
  auto engine = Engine::Create(
      config, {.dtype = DType::kBFloat16, .max_batch = 3, .length = 7, .device = "cuda"});
  ASSERT_TRUE(engine.ok()) << engine.status();
  GateTelemetry on_device(config, tokenizer, nullptr), on_host(config, tokenizer, nullptr);
  on_device.Plan((*engine)->arena(), (*engine)->device(), 3, 7);
  ASSERT_TRUE((*engine)->Allocate(ArenaFill::kPoison).ok());
  ASSERT_TRUE(on_device.Start().ok());
  Both both(on_device, on_host);
  for (uint64_t look = 1; look <= 5; ++look) {
    const Batch batch = RandomBatch({.lengths = look % 2 == 0}, look);
    ASSERT_TRUE(on_device.BeginBatch(batch).ok());
    ASSERT_TRUE(on_host.BeginBatch(batch).ok());
    ModelLosses losses;
    ASSERT_TRUE((*engine)->Evaluate(batch, losses, &both).ok());
    if (look == 2 || look == 5) {  // two looks, and then three, until it is read
      ASSERT_TRUE(on_device.Collect().ok());
      EXPECT_EQ(on_device.last_mean(), on_host.last_mean());
      EXPECT_TRUE(Gathered(on_device) == Gathered(on_host)) << "after look " << look;
    }
  }
  EXPECT_GT(Gathered(on_device).cell(0, 0).count, 0);
  EXPECT_EQ(Gathered(on_device).rejected, 0);
}

TEST(CudaGateStatisticsTest, AreTheHostsToTheBit) {
  ExpectSameStatistics(SmallBertConfig("gated"));
}

TEST(CudaGateStatisticsTest, OfChannelsToo) {
  RunConfig config = SmallBertConfig("gated");
  config.model.attention.gate.granularity = "channel";
  ExpectSameStatistics(config);
}

TEST(CudaGateStatisticsTest, WithRegisters) {
  RunConfig config = SmallBertConfig("gated");
  config.model.attention.register_tokens = 2;
  ExpectSameStatistics(config);
}

}  // namespace
}  // namespace sluice
