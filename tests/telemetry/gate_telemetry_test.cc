#include "telemetry/gate_telemetry.h"

#include <cmath>
#include <fstream>

#include "comm/single_communicator.h"
#include "data/byte_alphabet.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::TemporaryFolder;

class GateTelemetryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(folder_.path() + "/vocab.txt")
        << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n.\n##ing\nwalk\n...\n##\n#\n";
    manifest_.path = folder_.path() + "/manifest.yaml";
    manifest_.vocabulary_files = {"vocab.txt"};
    manifest_.tokenizer.vocabulary_size = 11;
    manifest_.tokenizer.special = {.pad = 0, .unk = 1, .cls = 2, .sep = 3, .mask = 4};
    config_.model.attention.variant = "gated";
    config_.model.num_hidden_layers = 1;
    config_.model.num_attention_heads = 1;
    batch_.B = 2;
    batch_.T = 7;
    batch_.tokens = {2, 7, 6, 5,  4, 3, 0,   // [CLS] walk ##ing . [MASK] [SEP] [PAD]
                     8, 8, 9, 10, 1, 7, 7};  // ... ... ## # [UNK] walk | padding
    batch_.lengths = {7, 6};
  }

  static GateStatistics Gathered(GateTelemetry& gates) {
    SingleCommunicator alone;
    EXPECT_TRUE(gates.Merge(alone).ok());
    return gates.statistics(GateTelemetry::Since::kCheckpoint);
  }

  TemporaryFolder folder_;
  Manifest manifest_;
  RunConfig config_;
  Batch batch_;
};

TEST_F(GateTelemetryTest, TellsTokensApart) {
  const TokenClasses classes(manifest_.tokenizer, {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
                                                   ".", "##ing", "walk", "...", "##", "#"});
  std::vector<uint8_t> of_row;
  classes.Classify(batch_, of_row);
  std::vector<std::string> names;
  for (const uint8_t k : of_row) {
    names.push_back(k == kUncountedToken ? "-" : classes.names().at(k));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"[CLS]", "word", "continuation", "punctuation",
                                             "[MASK]", "[SEP]", "-", "first", "punctuation",
                                             "punctuation", "punctuation", "word", "word", "-"}));
}

// Marks beyond ASCII too, and none of what stands beside them in Unicode.
TEST_F(GateTelemetryTest, KnowsPunctuationBeyondAscii) {
  const std::vector<std::string> marks = {"\u2013", "\u2014", "\u2018", "\u201d", "\u2026",
                                          "\u00ab", "\u00bf", "\u3002", "\uff0c", "(\u201e",
                                          "\u00b7", "\uff5b", "\u3030"};
  const std::vector<std::string> words = {"\u00e9", "\u00d7",     "\u2044",  "\u20ac",
                                          "\u3042", "\u4e2d",     "\uff21",  "a\u2013",
                                          "\u00b5", "\U0001f600", "\xe2\x80"};
  for (const char* kind : {"wordpiece", "bpe"}) {
    for (const auto& [pieces, expected] :
         {std::pair(marks, "punctuation"), std::pair(words, "word")}) {
      TokenizerIdentity tokenizer = manifest_.tokenizer;
      tokenizer.kind = kind;
      tokenizer.vocabulary_size = static_cast<int64_t>(pieces.size());
      tokenizer.special = {};
      std::vector<std::string> vocabulary = pieces;
      if (kind == std::string("bpe")) {
        for (std::string& piece : vocabulary) {
          std::string token = "\u0120";  // a blank before it
          for (const char byte : piece) token += ByteCharacter(static_cast<uint8_t>(byte));
          piece = token;
        }
      }
      const TokenClasses classes(tokenizer, vocabulary);
      Batch batch;
      batch.B = 1;
      batch.T = tokenizer.vocabulary_size + 1;
      batch.tokens = {0};
      for (int64_t id = 0; id < tokenizer.vocabulary_size; ++id) {
        batch.tokens.push_back(static_cast<int32_t>(id));
      }
      std::vector<uint8_t> of_row;
      classes.Classify(batch, of_row);
      for (size_t id = 0; id < pieces.size(); ++id) {
        EXPECT_EQ(classes.names().at(of_row[id + 1]), expected) << kind << " " << pieces[id];
      }
    }
  }
}

TEST_F(GateTelemetryTest, TellsTokensOfBytePairVocabulariesApart) {
  const TokenizerIdentity tokenizer{.kind = "bpe",
                                    .cased = true,
                                    .vocabulary_size = 10,
                                    .special = {.pad = 1, .unk = 3, .bos = 2, .eos = 2},
                                    .vocabulary_sha256 = ""};
  const TokenClasses classes(tokenizer, {"<s>", "<pad>", "</s>", "<unk>", "\u0120walk", "ing", ".",
                                         "\u0120(", "\u010a", "\u0120\u00c3\u00a9"});
  Batch batch;
  batch.B = 2;
  batch.T = 6;
  batch.tokens = {2, 4, 5, 6, 7, 1,   // </s> walk ing . ( <pad>
                  5, 8, 9, 2, 5, 4};  // ing LF é </s> ing walk
  std::vector<uint8_t> of_row;
  classes.Classify(batch, of_row);
  std::vector<std::string> names;
  for (const uint8_t k : of_row) {
    names.push_back(k == kUncountedToken ? "-" : classes.names().at(k));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"separator", "word", "continuation", "punctuation",
                                             "punctuation", "-", "first", "word", "word",
                                             "separator", "continuation", "word"}));
}

TEST_F(GateTelemetryTest, ObservesGatesByTokenClass) {
  GateTelemetry gates(config_, manifest_.tokenizer, &manifest_);
  ASSERT_TRUE(gates.enabled());
  EXPECT_LT(gates.last_mean(), 0);
  EXPECT_TRUE(Gathered(gates).empty());
  std::vector<float> values(14, 0.5f);
  values[0] = 0.125f;  // [CLS]
  values[6] = 1.0f;    // padding
  ASSERT_TRUE(gates.BeginBatch(batch_).ok());
  gates.Observe(0, "something else", TensorView::Of(values.data(), Shape{14, 1}));
  gates.Observe(0, "gate", TensorView::Of(values.data(), Shape{14, 1}));
  EXPECT_EQ(gates.last_mean(), (0.125 + 11 * 0.5) / 12);
  const GateStatistics statistics = Gathered(gates);
  EXPECT_EQ(statistics.cell(0, 0).count, 12);
  EXPECT_EQ(statistics.cell(0, 0).maximum, 0.5);
  EXPECT_EQ(statistics.token_classes[1], "[CLS]");
  EXPECT_EQ(statistics.cell(0, 0, 1).count, 1);
  EXPECT_EQ(statistics.cell(0, 0, 1).mean, 0.125);
  gates.Reset(GateTelemetry::Since::kCheckpoint);
  EXPECT_TRUE(Gathered(gates).empty());
}

TEST_F(GateTelemetryTest, GroupsOfClassesMayOverlap) {
  config_.model.attention.register_tokens = 1;
  GateTelemetry gates(config_, manifest_.tokenizer, &manifest_);
  // Row r of the 16 that the model has stands at r / 32.
  std::vector<float> values(16);
  for (size_t row = 0; row < values.size(); ++row) values[row] = static_cast<float>(row) / 32;
  ASSERT_TRUE(gates.BeginBatch(batch_).ok());
  gates.Observe(0, "gate", TensorView::Of(values.data(), Shape{16, 1}));
  const GateStatistics statistics = Gathered(gates);
  EXPECT_EQ(
      statistics.token_classes,
      (std::vector<std::string>{"all", "[CLS]", "[SEP]", "[MASK]", "first", "punctuation", "word",
                                "continuation", "register", "special", "other", "first_position"}));
  const auto expect = [&](const char* name, const std::vector<double>& rows) {
    const auto at = std::ranges::find(statistics.token_classes, name);
    const GateCell& cell = statistics.cell(0, 0, at - statistics.token_classes.begin());
    EXPECT_EQ(cell.count, std::ssize(rows)) << name;
    double sum = 0, entropy = 0;
    for (const double row : rows) {
      const double g = row / 32;
      sum += g;
      entropy -= g > 0 ? g * std::log(g) + (1 - g) * std::log(1 - g) : 0;
    }
    EXPECT_NEAR(cell.mean, sum / static_cast<double>(rows.size()), 1e-14) << name;
    EXPECT_NEAR(cell.entropy, entropy / static_cast<double>(rows.size()), 1e-13) << name;
  };
  // Register, [CLS] walk ##ing . [MASK] [SEP] [PAD]; register, ... ... ## # [UNK] walk, padding.
  expect("all", {0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14});
  expect("register", {0, 8});
  expect("[CLS]", {1});
  expect("special", {1, 5, 6});
  expect("first", {9});
  expect("first_position", {1, 9});
  expect("punctuation", {4, 10, 11, 12});
  expect("other", {2, 3, 13, 14});
}

// What is since the last record, and since the last checkpoint, go on apart.
TEST_F(GateTelemetryTest, StateGoesOnWhereItWas) {
  using Since = GateTelemetry::Since;
  const auto look = [&](GateTelemetry& gates, float value) {
    std::vector<float> values(14, value);
    ASSERT_TRUE(gates.BeginBatch(batch_).ok());
    gates.Observe(0, "gate", TensorView::Of(values.data(), Shape{14, 1}));
    Gathered(gates);
  };
  GateTelemetry straight(config_, manifest_.tokenizer, &manifest_);
  look(straight, 0.25f);
  straight.Reset(Since::kRecord);
  look(straight, 0.5f);
  TelemetryState state, of_a_due_checkpoint;
  straight.SaveState(state, /*since_checkpoint=*/true);
  straight.SaveState(of_a_due_checkpoint, /*since_checkpoint=*/false);
  EXPECT_EQ(state.counts.size(), 2u);
  EXPECT_EQ(of_a_due_checkpoint.counts.size(), 1u);

  GateTelemetry resumed(config_, manifest_.tokenizer, &manifest_);
  resumed.RestoreState(state);
  look(straight, 0.75f);
  look(resumed, 0.75f);
  for (const Since since : {Since::kCheckpoint, Since::kRecord}) {
    EXPECT_EQ(resumed.statistics(since), straight.statistics(since));
  }
  EXPECT_EQ(resumed.statistics(Since::kCheckpoint).batches, 3);
  EXPECT_EQ(resumed.statistics(Since::kRecord).batches, 2);
  EXPECT_EQ(resumed.statistics(Since::kRecord).cell(0, 0).minimum, 0.5);

  config_.model.num_attention_heads = 2;
  GateTelemetry other(config_, manifest_.tokenizer, &manifest_);
  other.RestoreState(state);
  EXPECT_TRUE(other.statistics(Since::kCheckpoint).empty());
}

// Gates with a scale are counted by how far open they are: gate / scale, also where the quotient
// rounds.
TEST_F(GateTelemetryTest, CountsScaledGatesByTheirOpening) {
  config_.model.attention.gate.bias = true;
  config_.model.attention.gate.initial_probability = 0.3;
  config_.model.attention.gate.scale = "one_at_start";
  GateTelemetry gates(config_, manifest_.tokenizer, &manifest_);
  const auto scale = static_cast<float>(1 / 0.3);
  std::vector<float> values(14, scale);  // open
  values[0] = 0.03f * scale;
  ASSERT_TRUE(gates.BeginBatch(batch_).ok());
  gates.Observe(0, "gate", TensorView::Of(values.data(), Shape{14, 1}));
  const GateStatistics statistics = Gathered(gates);
  EXPECT_EQ(statistics.rejected, 0);
  EXPECT_EQ(statistics.cell(0, 0).count, 12);
  EXPECT_EQ(statistics.cell(0, 0).maximum, 1);
  EXPECT_EQ(statistics.cell(0, 0).count_above, 11);
  EXPECT_EQ(statistics.cell(0, 0).count_below, 1);
  values[1] = 1.001f * scale;  // beyond the scale is no gate
  ASSERT_TRUE(gates.BeginBatch(batch_).ok());
  gates.Observe(0, "gate", TensorView::Of(values.data(), Shape{14, 1}));
  EXPECT_EQ(Gathered(gates).rejected, 1);
}

TEST_F(GateTelemetryTest, WithoutAVocabularyAllAreWords) {
  manifest_.vocabulary_files = {"nothing.txt"};
  GateTelemetry gates(config_, manifest_.tokenizer, &manifest_);
  std::vector<float> values(14, 0.5f);
  ASSERT_TRUE(gates.BeginBatch(batch_).ok());
  gates.Observe(0, "gate", TensorView::Of(values.data(), Shape{14, 1}));
  const GateStatistics statistics = Gathered(gates);
  const auto word = std::ranges::find(statistics.token_classes, "word");
  EXPECT_EQ(statistics.cell(0, 0, word - statistics.token_classes.begin()).count, 8);
}

TEST_F(GateTelemetryTest, IsOffWithoutGatesOrWhenNotWanted) {
  config_.telemetry.gate_statistics_every = 0;
  EXPECT_FALSE(GateTelemetry(config_, manifest_.tokenizer, &manifest_).enabled());
  config_.telemetry.gate_statistics_every = 10;
  config_.model.attention.variant = "vanilla";
  GateTelemetry gates(config_, manifest_.tokenizer, &manifest_);
  EXPECT_FALSE(gates.enabled());
  EXPECT_LT(gates.last_mean(), 0);
  EXPECT_TRUE(Gathered(gates).empty());
  gates.Reset(GateTelemetry::Since::kCheckpoint);
}

}  // namespace
}  // namespace sluice
