// The table must hold every member of RunConfig, once, in order, and its defaults must be allowed.
#include "config/fields.h"

#include <gtest/gtest.h>

#include <set>

#include "absl/strings/match.h"
#include "config/nearest_key.h"
#include "config/value.h"

namespace sluice {
namespace {

// Converts to anything; only used to count what an aggregate can be initialized from.
struct Anything {
  template <typename T>
  operator T() const;  // NOLINT(google-explicit-constructor): implicit is what it is for
};

template <typename Aggregate, typename... Members>
constexpr int CountMembers() {
  if constexpr (requires { Aggregate{Members{}..., Anything{}}; }) {
    return CountMembers<Aggregate, Members..., Anything>();
  } else {
    return static_cast<int>(sizeof...(Members));
  }
}

int KeysDirectlyIn(const std::string& section) {
  return static_cast<int>(KeysOfSection(section).size());
}

TEST(FieldsTest, EveryMemberHasAKey) {
  static_assert(CountMembers<GateConfig>() == 12);  // the counting itself
  EXPECT_EQ(KeysDirectlyIn(""), CountMembers<RunConfig>());
  EXPECT_EQ(KeysDirectlyIn("model"), CountMembers<ModelConfig>());
  EXPECT_EQ(KeysDirectlyIn("model.attention"), CountMembers<AttentionConfig>());
  EXPECT_EQ(KeysDirectlyIn("model.attention.gate"), CountMembers<GateConfig>());
  EXPECT_EQ(KeysDirectlyIn("model.attention.clipped_softmax"),
            CountMembers<ClippedSoftmaxConfig>());
  EXPECT_EQ(KeysDirectlyIn("data"), CountMembers<DataConfig>());
  EXPECT_EQ(KeysDirectlyIn("optimizer"), CountMembers<OptimizerConfig>());
  EXPECT_EQ(KeysDirectlyIn("schedule"), CountMembers<LearningRateScheduleConfig>());
  EXPECT_EQ(KeysDirectlyIn("training"), CountMembers<TrainingConfig>());
  EXPECT_EQ(KeysDirectlyIn("checkpoint"), CountMembers<CheckpointConfig>());
  EXPECT_EQ(KeysDirectlyIn("telemetry"), CountMembers<TelemetryConfig>());
  EXPECT_EQ(KeysDirectlyIn("telemetry.alarms"), CountMembers<AlarmConfig>());
  EXPECT_EQ(KeysDirectlyIn("runtime"), CountMembers<RuntimeConfig>());
}

TEST(FieldsTest, KeysAreInMemoryOrderSoEachNamesItsOwnMember) {
  RunConfig config;
  const void* previous = nullptr;
  for (const Field& field : FieldTable()) {
    const void* member =
        std::visit([&](auto access) -> const void* { return &access(config); }, field.access);
    EXPECT_LT(previous, member) << field.key;
    previous = member;
  }
}

TEST(FieldsTest, DefaultsAreAllowedAndDescribed) {
  const RunConfig defaults;
  std::set<std::string> keys;
  for (const Field& field : FieldTable()) {
    EXPECT_TRUE(InRange(field, defaults)) << field.key;
    EXPECT_FALSE(field.description.empty()) << field.key;
    EXPECT_FALSE(absl::StrContains(field.description, '\n')) << field.key;
    EXPECT_TRUE(keys.insert(field.key).second) << field.key;
    EXPECT_EQ(FindField(field.key), &field);
    const bool is_number = std::holds_alternative<Access<int64_t>>(field.access) ||
                           std::holds_alternative<Access<double>>(field.access);
    EXPECT_EQ(is_number, std::holds_alternative<IntegerRange>(field.constraint) ||
                             std::holds_alternative<RealRange>(field.constraint))
        << field.key;
    RunConfig config;
    for (const ReadWhen& read_when : field.read_when) {
      const Field* condition = FindField(read_when.key);
      ASSERT_NE(condition, nullptr) << field.key;
      for (const std::string& value : read_when.values) {
        EXPECT_FALSE(SetValue(*condition, YAML::Node(value), &config).has_value()) << field.key;
        EXPECT_NE(FailedCondition(field, config), &read_when) << field.key;
      }
    }
    EXPECT_TRUE(IsRead(field, config)) << field.key;
  }
}

TEST(FieldsTest, SectionsLieTogether) {
  for (const std::string& section : {std::string(), std::string("model")}) {
    const std::vector<std::string> keys = KeysOfSection(section);
    EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), keys.size()) << section;
  }
}

TEST(NearestKeyTest, CountsEdits) {
  EXPECT_EQ(EditDistance("", ""), 0);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("abc", ""), 3);
  EXPECT_EQ(EditDistance("hiden", "hidden"), 1);
  EXPECT_EQ(EditDistance("setps", "steps"), 1);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
}

TEST(NearestKeyTest, FindsWhatWasMeant) {
  EXPECT_EQ(NearestKey("training.step"), "training.steps");
  EXPECT_EQ(NearestKey("trainer.steps"), "training.steps");
  EXPECT_EQ(NearestKey("model.gate.site"), "model.attention.gate.site");
  EXPECT_EQ(NearestKey("optimizer.warmup"), "schedule.warmup_steps");
  EXPECT_EQ(NearestKey("d_model"), "model.hidden_size");
  EXPECT_EQ(NearestKey("sequence_lenght"), "data.sequence_length");
  EXPECT_EQ(NearestKey("quux"), "");
  EXPECT_EQ(NearestKey(std::string(100000, 'x')), "");
}

}  // namespace
}  // namespace sluice
