#include "report/flat_config.h"

#include "core/error.h"
#include "gmock/gmock.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

FlatConfig Parse(const std::string& text) {
  const auto config = ParseFlatConfig(text, "config.yaml");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(FlatConfig());
}

TEST(FlatConfigTest, KeysAreInOrderAndListsAreText) {
  EXPECT_THAT(
      Parse("name: a\nmodel:\n  attention: {variant: gated}\ndata:\n  validation: [x, y]\n"),
      ElementsAre(Pair("name", "a"), Pair("model.attention.variant", "gated"),
                  Pair("data.validation", "[x, y]")));
}

TEST(FlatConfigTest, WhatIsNoConfigurationIsAnErrorWithItsLine) {
  const auto broken = ParseFlatConfig("name: a\nmodel: [\n", "runs/a/config.yaml");
  EXPECT_EQ(ExitCodeOf(broken.status()), ExitCode::kData);
  EXPECT_THAT(std::string(broken.status().message()), HasSubstr("runs/a/config.yaml:3"));
  EXPECT_FALSE(ParseFlatConfig("just text", "x").ok());
}

std::string VariantOf(const std::string& attention) {
  return VariantName(Parse("model:\n  attention: {" + attention + "}\n"));
}

TEST(VariantNameTest, SaysWhatAttentionIs) {
  EXPECT_EQ(VariantOf("variant: vanilla, register_tokens: 0"), "vanilla");
  EXPECT_EQ(VariantOf("variant: vanilla, register_tokens: 4"), "vanilla + 4 registers");
  EXPECT_EQ(VariantOf("variant: gated, gate: {source: value, site: query}"), "vga");
  EXPECT_EQ(VariantOf("variant: gated, gate: {source: input, site: key, granularity: channel}"),
            "iga_key_channel");
  EXPECT_EQ(VariantOf("variant: gated, gate: {source: value, per_head_slice: true}"), "vga_slice");
  EXPECT_EQ(VariantOf("variant: gated, gate: {source: value, predictor: mlp, site: key}"),
            "vga_mlp_key");
  EXPECT_EQ(VariantOf("variant: gated, gate: {source: value, predictor: free_scalar}"),
            "free_gate");
  EXPECT_EQ(VariantOf("variant: gated, gate: {source: input, layers: [0, 2], temperature: 2.0}"),
            "iga, layers [0, 2], temperature 2.0");
  EXPECT_EQ(VariantOf("variant: gated, gate: {layers: [], temperature: 1.0, scale: '1'}"), "vga");
  EXPECT_EQ(VariantOf("variant: gated, gate: {scale: one_at_start}"), "vga, scale one_at_start");
  EXPECT_EQ(VariantOf("variant: learnable_sink, learnable_sink: token"), "learnable_sink_token");
  EXPECT_EQ(VariantName({}), "");
}

TEST(DifferingKeysTest, OnlyWhatDiffersIsListed) {
  const FlatConfig a = Parse("name: a\ntraining: {seed: 1, steps: 10}\ngate: {site: key}\n");
  const FlatConfig b = Parse("name: b\ntraining: {seed: 1, steps: 20}\n");
  const FlatConfig none;
  const std::vector<ConfigRow> rows = DifferingKeys({&a, &none, &b});
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].key, "name");
  EXPECT_EQ(rows[1].key, "training.steps");
  EXPECT_THAT(rows[1].values, ElementsAre("10", "", "20"));
  EXPECT_EQ(rows[2].key, "gate.site");
  EXPECT_THAT(rows[2].values, ElementsAre("key", "", ""));
}

TEST(DifferingKeysTest, OneRunDiffersFromNothing) {
  const FlatConfig a = Parse("name: a\n"), none;
  EXPECT_THAT(DifferingKeys({&a}), IsEmpty());
  EXPECT_THAT(DifferingKeys({&a, &none}), IsEmpty());
  EXPECT_THAT(DifferingKeys({&a, &a}), IsEmpty());
}

TEST(ConfigIdentityTest, IgnoresOrderAndWhatItIsToldTo) {
  const FlatConfig a = Parse("name: a\ntraining: {seed: 1, steps: 10}\n");
  const FlatConfig b = Parse("training: {steps: 10, seed: 2}\nname: b\n");
  EXPECT_EQ(ConfigIdentity(a, {"name", "training.seed"}),
            ConfigIdentity(b, {"name", "training.seed"}));
  EXPECT_NE(ConfigIdentity(a, {"name"}), ConfigIdentity(b, {"name"}));
}

}  // namespace
}  // namespace sluice
