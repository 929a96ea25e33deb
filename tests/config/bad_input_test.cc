// What a person may get wrong in a file or an override, and what they are told.
#include "bad_input.h"

namespace sluice {
namespace {

class BadInputTest : public testing::TestWithParam<BadInput> {};

TEST_P(BadInputTest, IsExplained) { ExpectExplained(GetParam()); }

const BadInput kKeys[] = {
    {"TypoInKey",
     "model:\n  hiden_size: 8\n",
     {},
     "unknown key: run.yaml:3: model.hiden_size, did you mean model.hidden_size?"},
    {"TypoInSection",
     "\noptimiser:\n  eps: 1\n",
     {},
     "unknown key: run.yaml:3: optimiser, did you mean optimizer?"},
    {"SwappedLetters",
     "training: {setps: 8}\n",
     {},
     "unknown key: run.yaml:2: training.setps, did you mean training.steps?"},
    {"WrongSection",
     "training: {learning_rate: 1e-4}\n",
     {},
     "unknown key: run.yaml:2: training.learning_rate, did you mean optimizer.learning_rate?"},
    {"NoSection",
     "hidden_size: 8\n",
     {},
     "unknown key: run.yaml:2: hidden_size, did you mean model.hidden_size?"},
    {"OtherTrainersName",
     "lr: 8\n",
     {},
     "unknown key: run.yaml:2: lr, did you mean optimizer.learning_rate?"},
    {"UpperCase",
     "training: {Steps: 8}\n",
     {},
     "unknown key: run.yaml:2: training.Steps, did you mean training.steps?"},
    {"NothingNear",
     "checkpoint: {xylophone: 8}\n",
     {},
     "unknown key: run.yaml:2: checkpoint.xylophone, known are: checkpoint.every, "
     "checkpoint.keep_last, checkpoint.keep_best"},
    {"DottedKeyInFile",
     "model.hidden_size: 8\n",
     {},
     "unknown key: run.yaml:2: model.hidden_size, dotted keys are for overrides; in a file, indent "
     "the parts"},
    {"MergeKey",
     "model:\n  <<: {hidden_size: 8}\n",
     {},
     "unknown key: run.yaml:3: model.<< (YAML merge keys are not supported; use extends)"},
    {"KeyOfNothing",
     "model:\n  '': 8\n",
     {},
     "unknown key: run.yaml:3: model., did you mean model?"},
    {"DuplicateKey",
     "training:\n  steps: 8\n  log_every: 1\n  steps: 9\n",
     {},
     "duplicate key: run.yaml:5: 'training.steps', first set at line 3"},
    {"DuplicateSection",
     "model: {hidden_size: 768}\nmodel: {hidden_act: relu}\n",
     {},
     "duplicate key: run.yaml:3: 'model', first set at line 2"},
    {"KeyIsAList", "? [a, b]\n: 8\n", {}, "key is not a word: run.yaml:2: found a list"},
    {"SectionIsANumber",
     "schedule: 5\n",
     {},
     "not a section: run.yaml:2: schedule: '5', expected a mapping with keys of: schedule.shape, "
     "schedule.warmup_steps, schedule.final_fraction"},
    {"EmptySection",
     "telemetry:\n",
     {},
     "not a section: run.yaml:2: telemetry: nothing, expected a mapping with keys of: "
     "telemetry.gate_statistics_every, telemetry.attention_statistics_every, "
     "telemetry.statistics_sequences, telemetry.activation_statistics_every, "
     "telemetry.norm_statistics_every, telemetry.attention_maps_every, "
     "telemetry.attention_map_sequences, telemetry.attention_map_indices, "
     "telemetry.attention_map_tokens, telemetry.tensorboard, "
     "telemetry.bigram_backcopy_every_early, telemetry.bigram_backcopy_early_steps, "
     "telemetry.bigram_backcopy_every, telemetry.quantization_probe, "
     "telemetry.quantization_probe_batches, telemetry.alarms"},
    {"KeyIsASection",
     "training:\n  steps: {a: 1}\n",
     {},
     "not an integer: run.yaml:3: training.steps: a mapping, expected an integer from 1 to "
     "1000000000000"},
};

const BadInput kValues[] = {
    {"WordForInteger",
     "model:\n  hidden_size: abc\n",
     {},
     "not an integer: run.yaml:3: model.hidden_size: 'abc', expected an integer from 1 to 65536"},
    {"FractionForInteger",
     "model:\n  hidden_size: 12.5\n",
     {},
     "not an integer: run.yaml:3: model.hidden_size: '12.5', expected an integer from 1 to 65536"},
    {"TruthForInteger",
     "model:\n  hidden_size: true\n",
     {},
     "not an integer: run.yaml:3: model.hidden_size: 'true', expected an integer from 1 to 65536"},
    {"NoSequenceForStatistics",
     "telemetry:\n  statistics_sequences: 0\n",
     {},
     "out of range: run.yaml:3: telemetry.statistics_sequences: '0', expected an integer from 1 to "
     "1000000"},
    {"NegativeInterval",
     "telemetry:\n  activation_statistics_every: -1\n",
     {},
     "out of range: run.yaml:3: telemetry.activation_statistics_every: '-1', expected an integer "
     "from 0 to 1000000000000"},
    {"NoSequenceForMaps",
     "telemetry: {attention_map_sequences: 0}\n",
     {},
     "out of range: run.yaml:2: telemetry.attention_map_sequences: '0', expected an integer from 1 "
     "to 1024"},
    {"MoreThanAllAttention",
     "telemetry: {alarms: {sink_share: 1.5}}\n",
     {},
     "out of range: run.yaml:2: telemetry.alarms.sink_share: '1.5', expected a number from 0.0 to "
     "1.0"},
    {"NegativeThreshold",
     "telemetry: {alarms: {max_abs: -2}}\n",
     {},
     "out of range: run.yaml:2: telemetry.alarms.max_abs: '-2', expected a number from 0.0 to "
     "1.0e+09"},
    {"Underscores",
     "training: {steps: 1_000_000}\n",
     {},
     "not an integer: run.yaml:2: training.steps: '1_000_000', expected an integer from 1 to "
     "1000000000000 (write 1000000)"},
    {"ExponentForInteger",
     "training: {steps: 1e6}\n",
     {},
     "not an integer: run.yaml:2: training.steps: '1e6', expected an integer from 1 to "
     "1000000000000 (write 1000000)"},
    {"LeadingZero",
     "training: {steps: 010}\n",
     {},
     "not an integer: run.yaml:2: training.steps: '010', expected an integer from 1 to "
     "1000000000000 (write 10)"},
    {"Hexadecimal",
     "training: {steps: 0x10}\n",
     {},
     "not an integer: run.yaml:2: training.steps: '0x10', expected an integer from 1 to "
     "1000000000000"},
    {"QuotedInteger",
     "training: {steps: \"10\"}\n",
     {},
     "not an integer but a text: run.yaml:2: training.steps: '10', expected an integer from 1 to "
     "1000000000000 (remove the quotes)"},
    {"MoreThan64Bits",
     "training: {seed: 18446744073709551616}\n",
     {},
     "out of range: run.yaml:2: training.seed: '18446744073709551616', expected an integer from 0 "
     "to 18446744073709551615"},
    {"MoreThan63Bits",
     "training: {steps: 9223372036854775808}\n",
     {},
     "out of range: run.yaml:2: training.steps: '9223372036854775808', expected an integer from 1 "
     "to 1000000000000"},
    {"NegativeSeed",
     "training: {seed: -1}\n",
     {},
     "out of range: run.yaml:2: training.seed: '-1', expected an integer from 0 to "
     "18446744073709551615"},
    {"NegativeSteps",
     "training: {steps: -1}\n",
     {},
     "out of range: run.yaml:2: training.steps: '-1', expected an integer from 1 to "
     "1000000000000"},
    {"NoLayers",
     "model: {num_hidden_layers: 0}\n",
     {},
     "out of range: run.yaml:2: model.num_hidden_layers: '0', expected an integer from 1 to 1024"},
    {"WordForNumber",
     "optimizer: {eps: small}\n",
     {},
     "not a number: run.yaml:2: optimizer.eps: 'small', expected a number from 0.0 to 1.0, 0.0 "
     "excluded"},
    {"Infinite",
     "optimizer: {max_grad_norm: .inf}\n",
     {},
     "not a number: run.yaml:2: optimizer.max_grad_norm: '.inf', expected a number from 0.0 to "
     "1.0e+09"},
    {"NotANumber",
     "optimizer: {learning_rate: nan}\n",
     {},
     "not a number: run.yaml:2: optimizer.learning_rate: 'nan', expected a number from 0.0 to "
     "10.0"},
    {"BeyondDouble",
     "optimizer: {learning_rate: 1e999}\n",
     {},
     "not a number: run.yaml:2: optimizer.learning_rate: '1e999', expected a number from 0.0 to "
     "10.0"},
    {"DropoutOfEverything",
     "model: {hidden_dropout_prob: 1.0}\n",
     {},
     "out of range: run.yaml:2: model.hidden_dropout_prob: '1.0', expected a number from 0.0 to "
     "1.0, 1.0 excluded"},
    {"EpsilonOfZero",
     "model: {layer_norm_eps: 0}\n",
     {},
     "out of range: run.yaml:2: model.layer_norm_eps: '0', expected a number from 0.0 to 0.1, 0.0 "
     "excluded"},
    {"QuotedNumber",
     "optimizer: {eps: '1e-8'}\n",
     {},
     "not a number but a text: run.yaml:2: optimizer.eps: '1e-8', expected a number from 0.0 to "
     "1.0, 0.0 excluded (remove the quotes)"},
    {"UnknownChoice",
     "model:\n  attention: {variant: gatted}\n",
     {},
     "unknown value: run.yaml:3: model.attention.variant: 'gatted', expected one of: vanilla, "
     "gated, clipped_softmax, learnable_sink, softmax_plus_one, relu"},
    {"YesForTrue",
     "telemetry: {tensorboard: yes}\n",
     {},
     "neither true nor false: run.yaml:2: telemetry.tensorboard: 'yes', expected true or false"},
    {"BestByNothing",
     "checkpoint: {keep_best: yes}\n",
     {},
     "unknown value: run.yaml:2: checkpoint.keep_best: 'yes', expected one of: perplexity, "
     "quantized_perplexity, none; true is perplexity; false is none"},
    {"QuotedTrue",
     "checkpoint: {keep_best: 'true'}\n",
     {},
     "unknown value: run.yaml:2: checkpoint.keep_best: 'true', expected one of: perplexity, "
     "quantized_perplexity, none; true is perplexity; false is none"},
    {"TextForList",
     "optimizer: {no_decay: bias}\n",
     {},
     "not a list: run.yaml:2: optimizer.no_decay: 'bias', expected a list such as [a, b] (write "
     "[bias])"},
    {"NullInList",
     "optimizer: {no_decay: [bias, ~]}\n",
     {},
     "item 2 of a list has no value: run.yaml:2: optimizer.no_decay: a list, expected a list such "
     "as [a, b]"},
    {"ListInList",
     "optimizer: {no_decay: [[bias]]}\n",
     {},
     "item 1 of a list is not a text: run.yaml:2: optimizer.no_decay: a list, expected a list such "
     "as [a, b]"},
    {"ListForText", "name: [a]\n", {}, "not a text: run.yaml:2: name: a list, expected text"},
    {"Null",
     "training:\n  steps:\n",
     {},
     "no value: run.yaml:3: training.steps: nothing, expected an integer from 1 to "
     "1000000000000"},
    {"LossScaleOfAnotherPrecision",
     "training: {precision: bf16, loss_scale: {initial: 8}}\n",
     {},
     "key would be ignored: training.loss_scale.initial 8.0 (run.yaml:2), training.precision bf16 "
     "(run.yaml:2), read only when training.precision is fp16"},
    {"LossScaleOfZero",
     "training: {precision: fp16, loss_scale: {minimum: 0}}\nruntime: {device: cuda}\n",
     {},
     "out of range: run.yaml:2: training.loss_scale.minimum: '0', expected a number from 0.0 to "
     "1073741824.0, 0.0 excluded"},
    {"NullWord",
     "training: {precision: null}\n",
     {},
     "no value: run.yaml:2: training.precision: nothing, expected one of: fp32, bf16, fp16"},
    {"Tag",
     "training: {steps: !!int 3}\n",
     {},
     "YAML tags are not supported: run.yaml:2: training.steps: '3', expected an integer from 1 to "
     "1000000000000 (remove tag:yaml.org,2002:int)"},
    {"ControlCharacter",
     "name: \"a\\x07\"\n",
     {},
     "control character in a text: run.yaml:2: name: 'a\\x07', expected text"},
    {"NotAFolderName",
     "name: a/b\n",
     {},
     "not a name for a run: name a/b (run.yaml:2), expected at most 100 letters, digits, '.', "
     "'_' or '-'"},
};

const BadInput kTexts[] = {
    {"Tab", "model:\n\thidden_size: 8\n", {}, "indented with a tab, YAML wants spaces: run.yaml:3"},
    {"NotUtf8", "name: caf\xE9\n", {}, "not UTF-8: run.yaml:2"},
    {"Overlong", "name: \xC0\xAF\n", {}, "not UTF-8: run.yaml:2"},
    {"ZeroByte", std::string("name: a\0b\n", 10), {}, "control character in YAML: run.yaml:2"},
    {"TwoDocuments",
     "---\nname: b\n",
     {},
     "more than one YAML document: run.yaml:2: a configuration is one document; remove the '---' "
     "line"},
    {"OpenBracket",
     "model: {hidden_size: 8\n",
     {},
     "YAML syntax error: run.yaml:3: end of map flow not found"},
    {"UnknownAnchor",
     "name: *nobody\n",
     {},
     "YAML syntax error: run.yaml:2: the referenced anchor is not defined"},
    {"BadIndentation",
     "model:\n  hidden_size: 8\n num_hidden_layers: 2\n",
     {},
     "YAML syntax error: run.yaml:4: end of map not found"},
};

const BadInput kOverrides[] = {
    {"NoEquals",
     "",
     {"training.steps=5", "training.steps"},
     "not key.path=value: override 2: 'training.steps'"},
    {"OverrideTypo",
     "",
     {"training.steps=5", "model.hiden_size=8"},
     "unknown key: override 2: model.hiden_size, did you mean model.hidden_size?"},
    {"OverrideDashes",
     "",
     {"--model.hidden_size=24"},
     "unknown key: override 1: --model.hidden_size, did you mean model.hidden_size?"},
    {"OverrideType",
     "",
     {"model.hidden_size=abc"},
     "not an integer: override 1: model.hidden_size: 'abc', expected an integer from 1 to 65536"},
    {"OverrideRange",
     "",
     {"optimizer.beta1=1"},
     "out of range: override 1: optimizer.beta1: '1', expected a number from 0.0 to 1.0, 1.0 "
     "excluded"},
    {"OverrideChoice",
     "",
     {"model.hidden_act=gelu"},
     "unknown value: override 1: model.hidden_act: 'gelu', expected one of: gelu_erf, gelu_tanh, "
     "relu"},
    {"OverrideEmpty",
     "",
     {"training.steps="},
     "no value: override 1: training.steps: nothing, expected an integer from 1 to 1000000000000"},
    {"OverrideEmptyText",
     "",
     {"data.train="},
     "no value: override 1: data.train: '', expected text"},
    {"OverrideNoKey",
     "",
     {"=5"},
     "unknown key: override 1: , known are: name, model, data, optimizer, schedule, training, "
     "checkpoint, telemetry, runtime"},
    {"OverrideSection",
     "",
     {"telemetry=5"},
     "not a key but a section: override 1: telemetry, its keys are: "
     "telemetry.gate_statistics_every, telemetry.attention_statistics_every, "
     "telemetry.statistics_sequences, telemetry.activation_statistics_every, "
     "telemetry.norm_statistics_every, telemetry.attention_maps_every, "
     "telemetry.attention_map_sequences, telemetry.attention_map_indices, "
     "telemetry.attention_map_tokens, telemetry.tensorboard, "
     "telemetry.bigram_backcopy_every_early, telemetry.bigram_backcopy_early_steps, "
     "telemetry.bigram_backcopy_every, telemetry.quantization_probe, "
     "telemetry.quantization_probe_batches, telemetry.alarms"},
    {"OverrideExtends",
     "",
     {"extends=a.yaml"},
     "extends belongs into a file: override 1: 'extends=a.yaml'"},
    {"OverrideSyntax",
     "",
     {"optimizer.no_decay=[a"},
     "YAML syntax error: override 1: end of sequence flow not found: optimizer.no_decay=[a"},
    {"OverrideNotUtf8", "", {"name=\xFF"}, "not UTF-8: override 1: name=\\xff"},
};

INSTANTIATE_TEST_SUITE_P(Keys, BadInputTest, testing::ValuesIn(kKeys), NameOf);
INSTANTIATE_TEST_SUITE_P(Values, BadInputTest, testing::ValuesIn(kValues), NameOf);
INSTANTIATE_TEST_SUITE_P(Texts, BadInputTest, testing::ValuesIn(kTexts), NameOf);
INSTANTIATE_TEST_SUITE_P(Overrides, BadInputTest, testing::ValuesIn(kOverrides), NameOf);

}  // namespace
}  // namespace sluice
