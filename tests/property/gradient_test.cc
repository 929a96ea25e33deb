// Random models in double on the reference kernels: the gradient is the slope of the loss, and it
// does not depend on how a batch is cut.
#include <algorithm>
#include <cmath>
#include <vector>

#include "model/model_gradients.h"
#include "model/small_model.h"
#include "random_model.h"

namespace sluice {
namespace {

using testing::BatchShape;
using testing::Draw;
using testing::FlatGradient;
using testing::Kinks;
using testing::MakeEngine;
using testing::RandomBatch;

struct ModelCase {
  RunConfig config;
  BatchShape shape;
  double next_sentence_weight = 1;

  bool dropout() const {
    return config.model.hidden_dropout_prob > 0 || config.model.attention_probs_dropout_prob > 0;
  }
};

ModelCase DrawCase(Draw& draw, int64_t rows) {
  ModelCase drawn;
  BatchShape& shape = drawn.shape;
  RunConfig& config = drawn.config;
  config.model = testing::DrawModel(draw, Kinks::kAllowed);
  shape.B = rows;
  shape.T = draw.Integer(4, 9);
  shape.vocab_size = draw.Integer(7, 60);
  shape.lengths = draw.Coin();
  shape.documents = draw.Coin();
  shape.causal = ObjectiveOf(config.model) == Objective::kCausal;
  if (!shape.causal) {
    shape.segments = draw.Coin();
    shape.next_sentence = draw.Coin();
    config.model.type_vocab_size = draw.Integer(2, 3);
    config.model.next_sentence_head = shape.next_sentence;
    if (shape.next_sentence) config.data.source = "nvidia_bert";
  }
  if (config.model.architecture == "bigram_backcopy") config.data.source = "bigram_backcopy";
  drawn.next_sentence_weight = draw.Real(0.5, 2);
  config.name = "drawn";
  config.model.vocab_size = shape.vocab_size;
  config.model.max_position_embeddings = shape.T;
  config.data.sequence_length = shape.T;
  config.training.seed = draw.Word();
  return drawn;
}

// The slope of `loss` at 0, by a central difference. Where the loss has a kink between -h and h, or
// bends too much for a difference, its values say so themselves: steps h and h / 2 disagree. For a
// kink of size J (of the slope) at s·h the first derivatives disagree by J s / 2, or J (1 - s) / 2
// when s > ½, and the second ones, times h, by J |3 s - 1| or J (1 - s), while the slope is wrong
// by J (1 - s) / 2: at most 2.5 times the larger of the two.
struct Slope {
  double value = 0;
  double doubt = 0;  // how far the steps disagree
  bool smooth() const { return doubt <= 5e-8 * (1 + std::abs(value)); }
  // 2.5 · doubt; truncation and cancellation, about 1e-9 each, in the rest.
  double bound() const { return 2e-7 * (1 + std::abs(value)); }
};
template <typename Loss>
Slope SlopeOf(const Loss& loss) {
  constexpr double h = 3e-5;
  const double middle = loss(0), up = loss(h), down = loss(-h), half_up = loss(h / 2),
               half_down = loss(-h / 2);
  const double slope = (up - down) / (2 * h), half_slope = (half_up - half_down) / h;
  const double bend = up - 2 * middle + down, half_bend = half_up - 2 * middle + half_down;
  return {slope, std::max(std::abs(slope - half_slope), std::abs(bend - 4 * half_bend) / h)};
}

// Slopes along random directions through all elements of a parameter, and along single ones,
// against the gradient's product with the direction.
class SlopeCheck {
 public:
  SlopeCheck(const ModelCase& drawn, Draw& draw)
      : drawn_(drawn),
        draw_(draw),
        batch_(RandomBatch(drawn.shape, 11)),
        engine_(MakeEngine(drawn.config, DType::kFloat64, drawn.shape.B, drawn.shape.T)) {}

  void Run() {
    ModelLosses losses;
    ASSERT_TRUE(
        engine_
            ->ForwardBackward(
                batch_,
                {.train = true, .seed = 3, .next_sentence_weight = drawn_.next_sentence_weight},
                losses)
            .ok());
    ASSERT_EQ(losses.language_model.targets, std::ssize(batch_.targets));
    ASSERT_GT(losses.language_model.targets, 0);
    gradient_ = FlatGradient(*engine_);
    for (size_t p = 0; p < engine_->parameters().parameters().size(); ++p) {
      CheckParameter(p, /*single=*/false);
      CheckParameter(p, /*single=*/true);
    }
    // Kinks are rare, or this would be a test of nothing.
    EXPECT_LE(unjudged_ * 20, judged_) << unjudged_ << " slopes are beside kinks";
  }

 private:
  // A direction of length 1: ± 1/√n in every element, or one of the elements.
  std::vector<double> Direction(int64_t elements, bool single) {
    std::vector<double> direction(elements);
    if (single) {
      direction[draw_.Integer(0, elements - 1)] = 1;
      return direction;
    }
    for (double& d : direction)
      d = (draw_.Coin() ? 1 : -1) / std::sqrt(static_cast<double>(elements));
    return direction;
  }

  void CheckParameter(size_t p, bool single) {
    const Parameter& parameter = engine_->parameters().parameters()[p];
    const TensorView master = engine_->parameters().Master(static_cast<int>(p));
    double* values = master.as<double>();
    const std::vector<double> kept(values, values + parameter.elements());
    for (int attempt = 0; attempt < 5; ++attempt) {
      const std::vector<double> direction = Direction(parameter.elements(), single);
      const Slope slope = SlopeOf([&](double step) {
        for (size_t e = 0; e < kept.size(); ++e) values[e] = kept[e] + step * direction[e];
        return testing::LossOf(*engine_, batch_, drawn_.dropout(), drawn_.next_sentence_weight);
      });
      std::copy(kept.begin(), kept.end(), values);
      if (!slope.smooth()) continue;
      double product = 0;
      for (size_t e = 0; e < kept.size(); ++e)
        product += gradient_[parameter.offset + static_cast<int64_t>(e)] * direction[e];
      EXPECT_NEAR(product, slope.value, slope.bound()) << parameter.name;
      ++judged_;
      return;
    }
    ++unjudged_;
  }

  const ModelCase& drawn_;
  Draw& draw_;
  const Batch batch_;
  std::unique_ptr<Engine> engine_;
  std::vector<double> gradient_;
  int64_t judged_ = 0, unjudged_ = 0;
};

TEST(GradientPropertyTest, GradientIsTheSlopeOfTheLoss) {
  testing::ForEachCase(60, [](Draw& draw) {
    const ModelCase drawn = DrawCase(draw, draw.Integer(1, 3));
    SCOPED_TRACE(DumpRunConfig(drawn.config));
    testing::ExpectDumpLoads(drawn.config);
    SlopeCheck(drawn, draw).Run();
  });
}

// Gradient of rows 0 … B-1, `rows` at a time.
std::vector<double> GradientInParts(const ModelCase& drawn, int64_t rows) {
  auto engine = MakeEngine(drawn.config, DType::kFloat64, rows, drawn.shape.T);
  BatchShape shape = drawn.shape;
  shape.B = rows;
  ModelLosses losses;
  for (int64_t first = 0; first < drawn.shape.B; first += rows) {
    EXPECT_TRUE(
        engine
            ->ForwardBackward(
                RandomBatch(shape, 21, first),
                {.train = true, .seed = 3, .next_sentence_weight = drawn.next_sentence_weight},
                losses)
            .ok());
  }
  return FlatGradient(*engine);
}

TEST(GradientPropertyTest, MicroBatchesDoNotMatter) {
  // Dropout follows the sample, rows are independent: only the order of sums over the batch's n
  // tokens differs, 2 n roundings that add like sqrt(2 n), 6 standard deviations. In double no
  // value changes sides at a kink.
  testing::ForEachCase(60, [](Draw& draw) {
    const ModelCase drawn = DrawCase(draw, 6);
    SCOPED_TRACE(DumpRunConfig(drawn.config));
    const std::vector<double> whole = GradientInParts(drawn, 6);
    double largest = 0;
    for (double value : whole) largest = std::max(largest, std::abs(value));
    ASSERT_GT(largest, 0);
    const auto tokens =
        static_cast<double>(6 * (drawn.shape.T + drawn.config.model.attention.register_tokens));
    for (int64_t rows : {1, 2, 3}) {
      testing::ExpectClose(
          absl::StrCat("parts of ", rows), GradientInParts(drawn, rows), whole,
          {.absolute = 6 * std::sqrt(2 * tokens) * testing::UnitRoundoff<double>() * largest,
           .zeros_expected = true,
           .derivation = "6 · sqrt(2 · tokens) · u · largest gradient"});
    }
  });
}

}  // namespace
}  // namespace sluice
