// Small models and batches for tests: every size is a parameter, every number comes from a seed.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/philox.h"
#include "gtest/gtest.h"
#include "train/engine.h"

namespace sluice::testing {

inline RunConfig SmallBertConfig(const std::string& variant = "vanilla",
                                 const std::string& source = "value",
                                 const std::string& site = "query", bool bias = false) {
  RunConfig config;
  config.model.vocab_size = 53;
  config.model.hidden_size = 24;
  config.model.num_hidden_layers = 2;
  config.model.num_attention_heads = 3;
  config.model.intermediate_size = 40;
  config.model.max_position_embeddings = 16;
  config.model.attention.variant = variant;
  config.model.attention.gate = {source, site, bias};
  config.training.seed = 7;
  // Large enough that every layer matters, and biases that are not zero.
  config.model.initializer_range = 0.3;
  return config;
}

// The same sizes as a pre-LN decoder.
inline RunConfig SmallDecoderConfig(const std::string& architecture,
                                    const std::string& variant = "vanilla") {
  RunConfig config = SmallBertConfig(variant);
  config.model.architecture = architecture;
  config.model.hidden_act = "relu";
  config.model.layer_norm_eps = 1e-5;
  return config;
}

struct BatchShape {
  int64_t B = 3, T = 7, vocab_size = 53, targets = 6;
  bool lengths = false, documents = false, segments = false, next_sentence = false;
  bool causal = false;  // every position but the last of a row is a target: the next token
};

// `first_sample` is the global index of the first row: rows of one data set can be cut into batches
// in any way.
inline Batch RandomBatch(const BatchShape& shape, uint64_t seed, int64_t first_sample = 0) {
  const PhiloxKey key = MakePhiloxKey(seed, RandomPurpose::kSampling, 1);
  auto draw = [&](int64_t sample, int64_t position, int word) {
    return Philox(key, PhiloxCounter(position, sample))[word];
  };
  Batch batch;
  batch.B = shape.B;
  batch.T = shape.T;
  for (int64_t b = 0; b < shape.B; ++b) {
    const int64_t sample = first_sample + b;
    batch.sample_index.push_back(sample);
    const auto length = static_cast<int32_t>(shape.lengths ? shape.T - sample % 3 : shape.T);
    if (shape.lengths) batch.lengths.push_back(length);
    if (shape.next_sentence) batch.next_sentence_labels.push_back(sample % 2);
    for (int64_t t = 0; t < shape.T; ++t) {
      batch.tokens.push_back(draw(sample, t, 0) % shape.vocab_size);
      if (shape.segments) batch.segments.push_back(t >= shape.T / 2);
      if (shape.documents) batch.documents.push_back(t >= 2 + sample % 3);
      if (shape.causal) continue;
      // About two targets a row, a different number in each.
      if (t < length && (draw(sample, t, 1) % 10 < 3 || t == sample % shape.T)) {
        batch.target_positions.push_back(static_cast<int32_t>(b * shape.T + t));
        batch.targets.push_back(draw(sample, t, 2) % shape.vocab_size);
      }
    }
    for (int64_t t = 0; shape.causal && t + 1 < length; ++t) {
      batch.target_positions.push_back(static_cast<int32_t>(b * shape.T + t));
      batch.targets.push_back(batch.tokens[b * shape.T + t + 1]);
    }
  }
  return batch;
}

inline std::unique_ptr<Engine> MakeEngine(const RunConfig& config, DType dtype, int64_t max_batch,
                                          int64_t length, ArenaFill fill = ArenaFill::kPoison,
                                          bool train = true) {
  auto engine = Engine::Create(
      config, {.dtype = dtype, .max_batch = max_batch, .length = length, .train = train});
  EXPECT_TRUE(engine.ok()) << engine.status();
  EXPECT_TRUE((*engine)->Allocate(fill).ok());
  return *std::move(engine);
}

inline void CopyWeights(const Engine& from, Engine& to) {
  for (size_t i = 0; i < from.parameters().parameters().size(); ++i) {
    const TensorView a = from.parameters().Master(i), b = to.parameters().Master(i);
    for (int64_t e = 0; e < a.elements(); ++e) {
      const double value = a.dtype() == DType::kFloat64 ? a.as<double>()[e] : a.as<float>()[e];
      if (b.dtype() == DType::kFloat64) {
        b.as<double>()[e] = value;
      } else {
        b.as<float>()[e] = static_cast<float>(value);
      }
    }
  }
  CHECK_OK(to.WeightsLoaded());
}

inline std::vector<double> FlatGradient(const Engine& engine) {
  const TensorView gradient = engine.parameters().flat_gradient();
  std::vector<double> values(gradient.elements());
  for (int64_t i = 0; i < gradient.elements(); ++i) {
    values[i] =
        gradient.dtype() == DType::kFloat64 ? gradient.as<double>()[i] : gradient.as<float>()[i];
  }
  return values;
}

}  // namespace sluice::testing
