#include "tools/quantize_arguments.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/error.h"
#include "core/status.h"
#include "tools/evaluation_data.h"

namespace sluice {
namespace {

constexpr int kNotQuantized = PostTrainingQuantizationOptions::kNotQuantized;

absl::Status CheckBits(int bits, const std::string& where) {
  if ((bits >= kFewestBits && bits <= kMostBits) || bits == kNotQuantized) return absl::OkStatus();
  return UsageError("bits must be 2 to 16, or 32 for fp32", where, absl::StrCat(bits));
}

// "W8A8".
absl::StatusOr<BitWidths> ParseWidths(const std::string& text) {
  const std::vector<std::string> numbers =
      absl::StrSplit(text, absl::ByAnyChar("WA"), absl::SkipEmpty());
  BitWidths widths{};
  const bool reads = numbers.size() == 2 && absl::SimpleAtoi(numbers[0], &widths.weights) &&
                     absl::SimpleAtoi(numbers[1], &widths.activations) &&
                     text == absl::StrCat("W", widths.weights, "A", widths.activations);
  if (!reads) return UsageError("not bit widths like W8A8", "--sweep", text);
  RETURN_IF_ERROR(CheckBits(widths.weights, "--sweep"));
  RETURN_IF_ERROR(CheckBits(widths.activations, "--sweep"));
  return widths;
}

}  // namespace

void AddRangeOptions(CLI::App& command, QuantizeArguments& arguments) {
  command
      .add_option("--preset", arguments.preset,
                  "What the papers' numbers were made with: bert or opt (default: by the model)")
      ->check(CLI::IsMember({"bert", "opt"}));
  command
      .add_option("--weight-ranges", arguments.weight_ranges,
                  "Ranges of weights: minmax, or mse with the least squared error")
      ->check(CLI::IsMember({"minmax", "mse"}));
  command
      .add_option("--activation-ranges", arguments.activation_ranges,
                  "running (0.9 of the old range) or current (of the last calibration batch)")
      ->check(CLI::IsMember({"running", "current"}));
  command.add_option("--activation-method", arguments.activation_method, "asymmetric or symmetric")
      ->check(CLI::IsMember({"asymmetric", "symmetric"}));
  command.add_option("--percentile", arguments.percentile,
                     "Of activations instead of minimum and maximum, above 50; 100: those");
  command.add_flag("--per-channel", arguments.per_channel,
                   "A range for each output of a linear layer");
  command
      .add_option("--gate-value", arguments.gate_value,
                  "What a gate from the values reads: quantized or unquantized values")
      ->check(CLI::IsMember({"quantized", "unquantized"}))
      ->capture_default_str();
  command
      .add_option(
          "--gate-position", arguments.gate_position,
          "Where a gate at the query site multiplies: before or behind the quantizer of the "
          "context (default: before in BERT, behind in OPT)")
      ->check(CLI::IsMember({"before", "behind"}));
  command
      .add_option("--int16-layer-norms", arguments.int16_layer_norms,
                  "LayerNorms whose gamma and output have 16 bits, where weights and activations "
                  "are quantized: none, final (the one that the head reads) or all")
      ->check(CLI::IsMember({"none", "final", "all"}))
      ->capture_default_str();
  command.add_option("--smooth", arguments.smooth,
                     "Migration strength of SmoothQuant, between 0 and 1; 0: none");
}

void AddCalibrationOptions(CLI::App& command, QuantizeArguments& arguments) {
  command.add_option("--calibration-data", arguments.calibration_data,
                     "Data that ranges are taken from (default: by the preset, the data evaluated "
                     "on for bert, the training data for opt)");
  command
      .add_option("--calibration-batches", arguments.calibration_batches,
                  "Batches for calibration (default: 16 for bert, 4 for opt)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--calibration-batch-size", arguments.calibration_batch_size,
                  "Sequences a batch of calibration (default: 32 for bert, 8 for opt)")
      ->check(CLI::PositiveNumber);
  command.add_option("--calibration-seed", arguments.calibration_seed,
                     "Order of the training data, of which the first sequences are taken, instead "
                     "of the run's seed: the spread over calibrations");
}

namespace {

void AddDataOptions(CLI::App& command, QuantizeArguments& arguments) {
  command.add_option(
      "--data", arguments.data,
      "Data to evaluate on (default: the run's validation sets, one after the other)");
  command
      .add_option("--batches", arguments.evaluation.batches,
                  "Evaluate this many batches only; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--batch-size", arguments.evaluation.batch_size,
                  "Sequences a batch; perplexity weighs batches by them")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--kurtosis-batches", arguments.evaluation.kurtosis_batches,
                  "Batches that kurtosis looks at; 0: all (default: as many as hold the papers' "
                  "sequences, 8224 of BERT, 404 of OPT)")
      ->check(CLI::NonNegativeNumber);
  AddCalibrationOptions(command, arguments);
}

}  // namespace

void AddQuantizeOptions(CLI::App& command, QuantizeArguments& arguments) {
  command
      .add_option("path", arguments.path, "A run folder (its newest checkpoint) or a checkpoint")
      ->required();
  AddDataOverrides(command, arguments.data_overrides);
  CLI::Option* weights =
      command.add_option("--weight-bits", arguments.weight_bits, "2 to 16, or 32: left in fp32")
          ->capture_default_str();
  CLI::Option* activations = command
                                 .add_option("--activation-bits", arguments.activation_bits,
                                             "2 to 16, or 32: left in fp32")
                                 ->capture_default_str();
  command
      .add_option("--sweep", arguments.sweep, "Several bit widths, one after the other: W8A8,W4A8")
      ->excludes(weights)
      ->excludes(activations);
  AddRangeOptions(command, arguments);
  AddDataOptions(command, arguments);
  command.add_option("--worst", arguments.worst, "Tensors listed by what quantization took away")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_flag("--json", arguments.json, "Print the report as one JSON object");
  command.add_option("--out", arguments.out, "Also write the report there, as JSON");
}

QuantizationPreset ResolvePreset(const QuantizeArguments& arguments, bool pre_norm) {
  const bool opt = arguments.preset.empty() ? pre_norm : arguments.preset == "opt";
  QuantizationPreset preset = opt ? OptPreset() : BertPreset();
  WeightQuantizerOptions& weights = preset.options.weights;
  FakeQuantizerOptions& activations = preset.options.activations;
  if (arguments.weight_ranges == "minmax") weights.ranges = WeightRanges::kMinMax;
  if (arguments.weight_ranges == "mse") weights.ranges = WeightRanges::kLeastSquares;
  weights.per_channel = arguments.per_channel;
  if (arguments.activation_ranges == "current") activations.ranges = ActivationRanges::kCurrent;
  if (arguments.activation_method == "symmetric") activations.method = ActivationMethod::kSymmetric;
  activations.percentile = arguments.percentile.value_or(activations.percentile);
  activations.gate_reads_quantized_value = arguments.gate_value == "quantized";
  if (arguments.gate_position == "before") preset.options.gate_position = GatePosition::kBefore;
  if (arguments.gate_position == "behind") preset.options.gate_position = GatePosition::kBehind;
  for (const SixteenBitNorms norms : {SixteenBitNorms::kFinal, SixteenBitNorms::kAll}) {
    if (arguments.int16_layer_norms == NameOf(norms)) activations.sixteen_bit_norms = norms;
  }
  if (arguments.calibration_batches > 0) preset.calibration_batches = arguments.calibration_batches;
  if (arguments.calibration_batch_size > 0) {
    preset.calibration_batch_size = arguments.calibration_batch_size;
  }
  return preset;
}

int64_t LargestBatch(const QuantizeArguments& arguments) {
  return std::max({arguments.evaluation.batch_size, arguments.calibration_batch_size,
                   BertPreset().calibration_batch_size, OptPreset().calibration_batch_size});
}

absl::Status CheckRanges(const QuantizeArguments& arguments) {
  if (!(arguments.smooth >= 0 && arguments.smooth < 1)) {
    return UsageError("--smooth must be at least 0 and below 1", "",
                      absl::StrCat(arguments.smooth));
  }
  const double percentile = arguments.percentile.value_or(100);
  if (!(percentile > 50 && percentile <= 100)) {
    return UsageError("--percentile must be above 50 and at most 100", "",
                      absl::StrCat(percentile));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<BitWidths>> ResolveBitWidths(const QuantizeArguments& arguments) {
  RETURN_IF_ERROR(CheckRanges(arguments));
  std::vector<BitWidths> all;
  if (arguments.sweep.empty()) {
    RETURN_IF_ERROR(CheckBits(arguments.weight_bits, "--weight-bits"));
    RETURN_IF_ERROR(CheckBits(arguments.activation_bits, "--activation-bits"));
    all.push_back({arguments.weight_bits, arguments.activation_bits});
  } else {
    for (const absl::string_view part : absl::StrSplit(arguments.sweep, ",")) {
      ASSIGN_OR_RETURN(all.emplace_back(), ParseWidths(std::string(part)));
    }
  }
  const bool nothing = std::ranges::any_of(all, [](const BitWidths& bits) {
    return bits.weights == kNotQuantized && bits.activations == kNotQuantized;
  });
  if (nothing && arguments.int16_layer_norms != NameOf(SixteenBitNorms::kNone)) {
    return UsageError("nothing is quantized, LayerNorms neither",
                      "--int16-layer-norms with W32A32");
  }
  return all;
}

}  // namespace sluice
