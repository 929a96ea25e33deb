// Random damage to a valid configuration: whatever comes in, the loader answers with a config or
// with a usage error; it never crashes, hangs or throws. Replay one seed with
// SLUICE_FUZZ_SEED=<seed>.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "absl/strings/numbers.h"
#include "config/dump.h"
#include "config/load.h"
#include "config/validate.h"
#include "core/error.h"
#include "temporary_folder.h"

namespace sluice {
namespace {

constexpr char kValid[] = R"(# a run
name: "fuzz"
extends: base.yaml
model:
  hidden_size: 128
  num_attention_heads: 4
  layer_norm_eps: 1e-12
  attention: {variant: gated, gate: {source: value, bias: false}}
data:
  train: &set data/train
  validation: [*set, 'b', "c d"]
optimizer:
  learning_rate: 1.0e-3
  no_decay:
    - bias
    - LayerNorm.weight
training: {steps: 100, seed: 18446744073709551615}
)";

const char* const kFragments[] = {
    "\n",         "\t",
    "  ",         ": ",
    "- ",         "[",
    "]",          "{",
    "}",          ",",
    "#",          "&a ",
    "*a",         "*set",
    "!!int ",     "! ",
    "|\n",        ">\n",
    "'",          "\"",
    "\\",         "%",
    "@",          "`",
    "? ",         "---\n",
    "...\n",      "<<: ",
    "null",       "~",
    "1e999",      "-1",
    "0",          "18446744073709551616",
    ".nan",       "\xFF",
    "\xC3",       "\xEF\xBB\xBF",
    "\r",         "extends: run.yaml\n",
    "model:\n",   "hidden_size: 64\n",
    "steps: 1\n", "%YAML 1.2\n",
    "\\u0000",    "\\ud800",
    "=",          "&set ",
};

class Damage {
 public:
  explicit Damage(uint64_t seed) : random_(seed) {}

  std::string Apply(std::string text) {
    for (size_t edits = 1 + Below(6); edits > 0; --edits) text = Edit(std::move(text));
    return text;
  }

  size_t Below(size_t bound) { return random_() % bound; }

 private:
  std::string Edit(std::string text) {
    const size_t at = Below(text.size() + 1);
    const size_t length = std::min(text.size() - at, Below(20));
    switch (Below(6)) {
      case 0:
        return text.erase(at, length);
      case 1:
        return text.insert(at, kFragments[Below(std::size(kFragments))]);
      case 2:
        return text.insert(Below(text.size() + 1), text.substr(at, length));
      case 3:
        return text.replace(at, length, kFragments[Below(std::size(kFragments))]);
      case 4:
        return text.substr(0, at);
      default:
        if (at < text.size()) text[at] = static_cast<char>(Below(256));
        return text;
    }
  }

  std::mt19937_64 random_;
};

// What must hold of any answer.
void ExpectSound(const absl::StatusOr<RunConfig>& config, const std::string& input) {
  ASSERT_EQ(ExitCodeOf(config.status()), config.ok() ? ExitCode::kDone : ExitCode::kUsage)
      << config.status() << "\n"
      << input;
  if (config.ok()) {
    ASSERT_TRUE(ValidateRunConfig(*config).ok()) << input;
  } else {
    ASSERT_FALSE(config.status().message().empty()) << input;
  }
}

uint64_t SeedOrDefault() {
  uint64_t seed = 2306;
  if (const char* text = std::getenv("SLUICE_FUZZ_SEED")) {
    EXPECT_TRUE(absl::SimpleAtoi(text, &seed)) << text;
  }
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

TEST(MutationTest, DamagedFiles) {
  Damage damage(SeedOrDefault());
  TemporaryFolder folder;
  folder.Write("base.yaml", "checkpoint: {every: 10}\n");
  const absl::StatusOr<RunConfig> intact = LoadRunConfig(folder.Write("run.yaml", kValid));
  ASSERT_TRUE(intact.ok()) << intact.status();
  int loaded = 0;
  constexpr int kCases = 3000;
  for (int i = 0; i < kCases; ++i) {
    const std::string text = damage.Apply(kValid);
    const absl::StatusOr<RunConfig> config = LoadRunConfig(folder.Write("run.yaml", text));
    ExpectSound(config, text);
    loaded += config.ok();
    if (HasFatalFailure()) return;
    if (config.ok()) {
      const std::string dump = DumpRunConfig(*config);
      const absl::StatusOr<RunConfig> back = LoadRunConfig(folder.Write("dump.yaml", dump));
      ASSERT_TRUE(back.ok()) << back.status() << "\n" << text;
      ASSERT_TRUE(*back == *config) << text;
    }
  }
  std::printf("%d of %d damaged files still loaded\n", loaded, kCases);
  EXPECT_GT(loaded, kCases / 200);  // else the damage is too coarse to get past the parser
  EXPECT_LT(loaded, kCases);
}

TEST(MutationTest, DamagedOverrides) {
  Damage damage(SeedOrDefault());
  TemporaryFolder folder;
  const std::string path = folder.Write("run.yaml", "data: {train: t}\n");
  const std::string valid[] = {
      "training.steps=5000", "optimizer.no_decay=[bias, 'a b']", "data.train=data/x",
      "optimizer.eps=1e-8",  "model.attention.variant=gated",    "checkpoint.keep_best=true"};
  for (int i = 0; i < 2000; ++i) {
    const std::string text = damage.Apply(valid[damage.Below(std::size(valid))]);
    ExpectSound(LoadRunConfig(path, {text}), text);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace sluice
