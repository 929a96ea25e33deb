// A whole model judged: in double, on the reference kernels, every gradient against finite
// differences, and the fast fp32 and bf16 models against the double one.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "small_model.h"
#include "support/compare.h"

namespace sluice::testing {

inline double LossOf(Engine& engine, const Batch& batch, bool dropout,
                     double next_sentence_weight) {
  // Forward with dropout also runs the heads' backward; the gradient is put back by the caller.
  ModelLosses losses;
  const ForwardOptions options{
      .train = dropout, .seed = 3, .next_sentence_weight = next_sentence_weight};
  EXPECT_TRUE(engine.model().Forward(engine.context(), batch, options, &losses).ok());
  return losses.language_model.loss + next_sentence_weight * losses.next_sentence.loss;
}

inline void CheckAgainstFiniteDifferences(RunConfig config, const BatchShape& shape,
                                          double dropout) {
  config.model.hidden_dropout_prob = dropout;
  config.model.attention_probs_dropout_prob = dropout;
  config.model.next_sentence_head = shape.next_sentence;
  const double weight = 1.7;
  auto engine = MakeEngine(config, DType::kFloat64, shape.B, shape.T);
  const Batch batch = RandomBatch(shape, 11);
  ModelLosses losses;
  ASSERT_TRUE(engine
                  ->ForwardBackward(
                      batch, {.train = true, .seed = 3, .next_sentence_weight = weight}, losses)
                  .ok());
  ASSERT_EQ(losses.language_model.targets, std::ssize(batch.targets));
  const std::vector<double> gradient = FlatGradient(*engine);

  // Three elements of every parameter. Central differences with step h: error h²/6 · f''' +
  // roundoff · |loss| / h.
  const double h = 1e-5;
  for (size_t p = 0; p < engine->parameters().parameters().size(); ++p) {
    const Parameter& parameter = engine->parameters().parameters()[p];
    const TensorView master = engine->parameters().Master(p);
    for (int64_t pick : {int64_t{0}, parameter.elements() / 2 + 1, parameter.elements() - 1}) {
      const int64_t e = std::min(pick, parameter.elements() - 1);
      double& value = master.as<double>()[e];
      const double kept = value;
      value = kept + h;
      const double up = LossOf(*engine, batch, dropout > 0, weight);
      value = kept - h;
      const double down = LossOf(*engine, batch, dropout > 0, weight);
      value = kept;
      const double expected = (up - down) / (2 * h);
      EXPECT_NEAR(gradient[parameter.offset + e], expected, 2e-7 + 1e-6 * std::abs(expected))
          << parameter.name << "[" << e << "]";
    }
  }
}

// The fast models see weights and activations rounded to their types. Each of the R roundings on
// the way to a gradient moves it by at most u relative to the sizes that meet there, and
// independent roundings add like sqrt(R): with R about 40 a layer and 2 layers, 9 u · |g|max is a
// standard deviation, and 6 of those are never reached by luck.
template <typename T>
void CheckBatchAgainstDouble(const RunConfig& config, const Batch& batch) {
  auto judge = MakeEngine(config, DType::kFloat64, batch.B, batch.T);
  auto fast = MakeEngine(config, DTypeOf<T>(), batch.B, batch.T);
  CopyWeights(*fast, *judge);
  if (DTypeOf<T>() == DType::kBFloat16) {  // the judge gets what the fast model computes with
    for (size_t p = 0; p < fast->parameters().parameters().size(); ++p) {
      const TensorView from = fast->parameters().Working(p), to = judge->parameters().Master(p);
      for (int64_t e = 0; e < from.elements(); ++e)
        to.as<double>()[e] = static_cast<float>(from.as<T>()[e]);
    }
  }
  ModelLosses judge_losses, fast_losses;
  const ForwardOptions options{.train = true, .seed = 3};
  ASSERT_TRUE(judge->ForwardBackward(batch, options, judge_losses).ok());
  ASSERT_TRUE(fast->ForwardBackward(batch, options, fast_losses).ok());
  const double u = UnitRoundoff<T>(), bound = 54 * u;
  EXPECT_NEAR(fast_losses.language_model.loss, judge_losses.language_model.loss,
              bound * judge_losses.language_model.loss);
  const std::vector<double> expected = FlatGradient(*judge), actual = FlatGradient(*fast);
  double largest_of_all = 0;
  for (double value : expected) largest_of_all = std::max(largest_of_all, std::abs(value));
  for (size_t p = 0; p < fast->parameters().parameters().size(); ++p) {
    const Parameter& parameter = fast->parameters().parameters()[p];
    const auto begin = parameter.offset, end = begin + parameter.elements();
    double largest = 0;
    for (int64_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(expected[i]));
    ExpectClose(parameter.name, std::vector<double>(actual.begin() + begin, actual.begin() + end),
                std::vector<double>(expected.begin() + begin, expected.begin() + end),
                {.absolute = bound * std::max(largest, 0.02 * largest_of_all),
                 .zeros_expected = true,
                 .derivation = "6 · sqrt(2 · 40) · u · largest gradient of the "
                               "parameter, or 2 % of the "
                               "model's where "
                               "exact arithmetic gives 0 (key biases: softmax ignores them)"});
  }
}

template <typename T>
void CheckAgainstDouble(const RunConfig& config, const BatchShape& shape) {
  CheckBatchAgainstDouble<T>(config, RandomBatch(shape, 5));
}

}  // namespace sluice::testing
