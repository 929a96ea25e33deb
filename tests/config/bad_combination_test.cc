// Settings that are right one by one, and what a person is told who sets them together.
#include "bad_input.h"

namespace sluice {
namespace {

class BadCombinationTest : public testing::TestWithParam<BadInput> {};

TEST_P(BadCombinationTest, IsExplained) { ExpectExplained(GetParam()); }

const BadInput kCombinations[] = {
    {"HeadsDoNotDivide",
     "model:\n  hidden_size: 770\n",
     {},
     "hidden size is not divisible by the number of heads: model.hidden_size 770 (run.yaml:3), "
     "model.num_attention_heads 12 (default)"},
    {"HeadTooLarge",
     "model:\n  num_attention_heads: 2\n",
     {},
     "head size is not from 8 to 256: model.hidden_size 768 (default), model.num_attention_heads 2 "
     "(run.yaml:3), head size 384"},
    {"RowsTooLong",
     "",
     {"data.sequence_length=513"},
     "rows are longer than the position embedding: data.sequence_length 513 (override 1), "
     "model.max_position_embeddings 512 (default)"},
    {"MaskShares",
     "",
     {"data.mlm_random_share=0.3"},
     "shares of the targets sum to more than 1: data.mlm_mask_share 0.8 (default), "
     "data.mlm_random_share 0.3 (override 1)"},
    {"LongWarmUp",
     "schedule: {warmup_steps: 11}\ntraining: {steps: 10}\n",
     {},
     "warm-up is longer than the training: schedule.warmup_steps 11 (run.yaml:2), training.steps "
     "10 (run.yaml:3)"},
    {"MicroBatches",
     "training: {gradient_accumulation_steps: 3}\n",
     {},
     "batch cannot be split into micro-batches: training.global_batch_size 256 (default), "
     "training.gradient_accumulation_steps 3 (run.yaml:2)"},
    {"GateOfVanilla",
     "model:\n  attention:\n    gate: {source: value}\n",
     {},
     "key would be ignored: model.attention.gate.source value (run.yaml:4), "
     "model.attention.variant vanilla (default), read only when model.attention.variant is "
     "gated"},
    {"FinalFractionOfConstant",
     "schedule: {shape: constant, final_fraction: 0.1}\n",
     {},
     "key would be ignored: schedule.final_fraction 0.1 (run.yaml:2), schedule.shape constant "
     "(run.yaml:2), read only when schedule.shape is linear or cosine"},
    {"NothingToEvaluateOn",
     "training: {evaluate_every: 5}\n",
     {},
     "nothing to evaluate on: training.evaluate_every 5 (run.yaml:2), data.validation [] "
     "(default)"},
    {"NothingToProbeQuantizationOn",
     "telemetry: {quantization_probe: auto}\n",
     {},
     "nothing to measure quantization on: telemetry.quantization_probe auto (run.yaml:2), "
     "data.validation [] (default)"},
    {"BestOfAProbeThatIsOff",
     "checkpoint: {keep_best: quantized_perplexity}\n",
     {},
     "nothing measures what is to be kept: checkpoint.keep_best quantized_perplexity "
     "(run.yaml:2), telemetry.quantization_probe \"off\" (default), set "
     "telemetry.quantization_probe to auto"},
    {"ProbeOfProjectedEmbeddings",
     "telemetry: {quantization_probe: opt}\n",
     {"model.architecture=opt", "model.word_embed_proj_dim=16", "data.validation=[v]"},
     "quantization of a model with projected embeddings is not defined: "
     "telemetry.quantization_probe opt (run.yaml:2), model.word_embed_proj_dim 16 (override 2)"},
    {"NextSentenceWithoutTypes",
     "model: {next_sentence_head: true, type_vocab_size: 1, vocab_size: 9}\n",
     {"data.source=nvidia_bert"},
     "the next sentence needs a token type of its own: model.next_sentence_head true (run.yaml:2), "
     "model.type_vocab_size 1 (run.yaml:2)"},
    {"MaskSharesOfADecoder",
     "model: {architecture: opt}\n",
     {"data.mlm_mask_share=0.7"},
     "key would be ignored: data.mlm_mask_share 0.7 (override 1), model.architecture opt "
     "(run.yaml:2), read only when model.architecture is bert"},
    {"MaskProbabilityOfADecoder",
     "model: {architecture: bigram_backcopy}\n",
     {"data.mlm_probability=0.2"},
     "key would be ignored: data.mlm_probability 0.2 (override 1), model.architecture "
     "bigram_backcopy (run.yaml:2), read only when model.architecture is bert"},
    {"NextSentenceOfADecoder",
     "model: {architecture: opt, next_sentence_head: false}\n",
     {},
     "key would be ignored: model.next_sentence_head false (run.yaml:2), model.architecture opt "
     "(run.yaml:2), read only when model.architecture is bert"},
    {"NextSentenceOfShards",
     "model: {next_sentence_head: true}\n",
     {},
     "the next sentence needs data with sentence pairs: model.next_sentence_head true "
     "(run.yaml:2), data.source shards (default), data.source nvidia_bert has them"},
    {"UnknownSource",
     "",
     {"data.source=tape"},
     "unknown value: override 1: data.source: 'tape', expected one of: shards, nvidia_bert, "
     "bigram_backcopy"},
    {"StoredMasksForADecoder",
     "model: {architecture: opt, vocab_size: 9}\n",
     {"data.source=nvidia_bert"},
     "the data asks for masked tokens, the model for the next ones: data.source nvidia_bert "
     "(override 1), model.architecture opt (run.yaml:2)"},
    {"StoredMasksWithoutVocabulary",
     "",
     {"data.source=nvidia_bert"},
     "the data does not say how large its vocabulary is: model.vocab_size 0 (default), "
     "data.source nvidia_bert (override 1), set model.vocab_size"},
    {"MaskSharesOfStoredMasks",
     "model: {vocab_size: 9}\n",
     {"data.source=nvidia_bert", "data.mlm_random_share=0.1"},
     "key would be ignored: data.mlm_random_share 0.1 (override 2), data.source nvidia_bert "
     "(override 1), read only when data.source is shards"},
    {"PackingOfStoredRows",
     "model: {vocab_size: 9}\n",
     {"data.source=nvidia_bert", "data.packing=contiguous"},
     "key would be ignored: data.packing contiguous (override 2), data.source nvidia_bert "
     "(override 1), read only when data.source is shards"},
    {"StartsOfStoredRows",
     "model: {vocab_size: 9}\n",
     {"data.source=nvidia_bert", "data.row_start=every_row"},
     "key would be ignored: data.row_start every_row (override 2), data.source nvidia_bert "
     "(override 1), read only when data.source is shards"},
    {"DocumentsOfStoredRows",
     "model: {vocab_size: 9}\n",
     {"data.source=nvidia_bert", "data.attention_across_documents=false"},
     "key would be ignored: data.attention_across_documents false (override 2), data.source "
     "nvidia_bert (override 1), read only when data.source is shards"},
    {"GeneratedSequencesOfShards",
     "",
     {"data.validation_sequences=9"},
     "key would be ignored: data.validation_sequences 9 (override 1), data.source shards "
     "(default), read only when data.source is bigram_backcopy"},
    {"FilesOfGeneratedData",
     "model: {architecture: bigram_backcopy}\n",
     {"data.source=bigram_backcopy"},
     "key would be ignored: data.train t (run.yaml:1), data.source bigram_backcopy (override 1), "
     "read only when data.source is shards or nvidia_bert"},
};

INSTANTIATE_TEST_SUITE_P(Rules, BadCombinationTest, testing::ValuesIn(kCombinations), NameOf);

}  // namespace
}  // namespace sluice
