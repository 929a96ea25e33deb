// What one attention layer can be reduced to when copying and the feed-forward layer are already
// solved (the setting of Guo et al., arXiv 2410.13835, and their one-layer theory): non-trigger
// types v with weight π_v and next-token law p_v, a sink logit α_v each, all other keys of logit 0
// with total weight W and summed values B, and the sink's value β.
//
//   q_v = softmax(ln p_v + (e^α_v β + B) / (e^α_v + W)),  loss = mean over B of Σ_v π_v KL(p_v‖q_v)
//
// Golden numbers were made by another program. What they show, and what training is expected to
// do: the sink grows like ½ ln t while β is fixed; β drains as e^-α when the sink is fixed; with
// values that differ between contexts both go on for ever. Gradients are checked by differences.
#include <array>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace sluice {
namespace {

constexpr size_t kTypes = 3, kTokens = 8;
constexpr double kOthers = 10;  // W
constexpr std::array<double, kTypes> kWeights = {.5, .3, .2};
using Row = std::array<double, kTokens>;

Row Softmax(Row x) {
  double sum = 0;
  for (double& value : x) sum += value = std::exp(value);
  for (double& value : x) value /= sum;
  return x;
}

struct Law {
  std::array<Row, kTypes> p;
  Law() {
    for (size_t v = 0; v < kTypes; ++v) {
      for (size_t k = 0; k < kTokens; ++k) {
        p[v][k] = std::sin(1 + 1.7 * static_cast<double>(v) + .9 * static_cast<double>(k));
      }
      p[v] = Softmax(p[v]);
    }
  }
};
const Law kLaw;

struct State {
  std::array<double, kTypes> alpha{};
  Row beta{};
  State Plus(double factor, const State& other) const {
    State sum = *this;
    for (size_t v = 0; v < kTypes; ++v) sum.alpha[v] += factor * other.alpha[v];
    for (size_t k = 0; k < kTokens; ++k) sum.beta[k] += factor * other.beta[k];
    return sum;
  }
};

// Adds `share` of the gradient for one context; returns its loss.
double AddGradient(const State& state, const Row& B, double share, State& gradient) {
  double loss = 0;
  for (size_t v = 0; v < kTypes; ++v) {
    const double e = std::exp(state.alpha[v]), all = e + kOthers;
    Row logits;
    for (size_t k = 0; k < kTokens; ++k) {
      logits[k] = std::log(kLaw.p[v][k]) + (e * state.beta[k] + B[k]) / all;
    }
    const Row q = Softmax(logits);
    for (size_t k = 0; k < kTokens; ++k) {
      const double difference = q[k] - kLaw.p[v][k];
      loss += kWeights[v] * kLaw.p[v][k] * std::log(kLaw.p[v][k] / q[k]);
      gradient.alpha[v] +=
          share * kWeights[v] * e / (all * all) * difference * (kOthers * state.beta[k] - B[k]);
      gradient.beta[k] += share * kWeights[v] * e / all * difference;
    }
  }
  return loss;
}

Row FixedValues() {
  Row B;
  for (size_t k = 0; k < kTokens; ++k) B[k] = 2 * std::cos(.5 + 1.3 * static_cast<double>(k));
  return B;
}

std::vector<Row> ContextValues() {
  std::vector<Row> contexts;
  for (double first : {-1.0, 1.0}) {
    for (double second : {-1.0, 1.0}) {
      Row B = FixedValues();
      for (size_t i = 0; i < kTokens; ++i) {
        const auto k = static_cast<double>(i);
        B[i] += first * 3 * std::cos(2.1 * k + .3) + second * 3 * std::sin(.7 * k * k + 1);
      }
      contexts.push_back(B);
    }
  }
  return contexts;
}

State StartingValues() {
  State state;
  for (size_t k = 0; k < kTokens; ++k) state.beta[k] = 1 + .5 * std::sin(static_cast<double>(k));
  return state;
}

double CentredNorm(const Row& x) {
  double mean = 0, squares = 0;
  for (double value : x) mean += value / kTokens;
  for (double value : x) squares += (value - mean) * (value - mean);
  return std::sqrt(squares);
}

double Variance(size_t v, const Row& x) {
  double mean = 0, square = 0;
  for (size_t k = 0; k < kTokens; ++k) {
    mean += kLaw.p[v][k] * x[k];
    square += kLaw.p[v][k] * x[k] * x[k];
  }
  return square - mean * mean;
}

template <typename Slope>
State RungeKutta(const State& y, double x, double h, const Slope& slope) {
  const State k1 = slope(x, y), k2 = slope(x + h / 2, y.Plus(h / 2, k1)),
              k3 = slope(x + h / 2, y.Plus(h / 2, k2)), k4 = slope(x + h, y.Plus(h, k3));
  return y.Plus(h / 6, k1).Plus(h / 3, k2).Plus(h / 3, k3).Plus(h / 6, k4);
}

TEST(ReducedModelTest, GradientIsTheSlopeOfTheLoss) {
  State state = StartingValues(), gradient, unused;
  state.alpha = {.3, -.4, 1.1};
  const Row B = FixedValues();
  AddGradient(state, B, 1, gradient);
  const auto slope = [&](double& variable) {
    const double value = variable, h = 1e-5;
    variable = value + h;
    const double up = AddGradient(state, B, 1, unused);
    variable = value - h;
    const double down = AddGradient(state, B, 1, unused);
    variable = value;
    return (up - down) / (2 * h);
  };
  for (size_t v = 0; v < kTypes; ++v) EXPECT_NEAR(slope(state.alpha[v]), gradient.alpha[v], 1e-9);
  for (size_t k = 0; k < kTokens; ++k) EXPECT_NEAR(slope(state.beta[k]), gradient.beta[k], 1e-9);
}

// β = 0 fixed, gradient flow from α = 0: α = ½ ln t + ½ ln(2 π Var(B)) + o(1). Steps are even in
// ln(1 + t), where the flow is smooth.
TEST(ReducedModelTest, SinkGrowsWithHalfTheLogarithmOfTime) {
  const Row B = FixedValues();
  const double variances[] = {2.12016, 2.12595, 1.95221};
  for (size_t v = 0; v < kTypes; ++v) EXPECT_NEAR(Variance(v, B), variances[v], 5e-6);
  const struct {
    double t;
    double alpha[kTypes];
  } goldens[] = {{1e4, {4.6308, 4.1875, 3.6209}},
                 {1e5, {6.0539, 5.7703, 5.4854}},
                 {1e6, {7.2618, 7.0005, 6.7459}},
                 {1e8, {9.5840, 9.3293, 9.0832}}};
  const auto slope = [&](double u, const State& state) {
    State gradient;
    AddGradient(state, B, -std::exp(u), gradient);  // dt = e^u du
    gradient.beta = {};
    return gradient;
  };
  // The goldens are those of the grid's nearest point to t: steps of 1e-3 at most up to 1e8.
  const int steps = static_cast<int>(std::log1p(1e8) / 1e-3) + 1;
  const double h = std::log1p(1e8) / steps;
  State state;
  int done = 0;
  for (const auto& golden : goldens) {
    for (; done < std::lround(std::log1p(golden.t) / h); ++done) {
      state = RungeKutta(state, h * done, h, slope);
    }
    for (size_t v = 0; v < kTypes; ++v) {
      EXPECT_NEAR(state.alpha[v], golden.alpha[v], 6e-5) << golden.t << " " << v;
    }
  }
  const double asymptotes[] = {9.5861, 9.3320, 9.0867};
  for (size_t v = 0; v < kTypes; ++v) {
    EXPECT_NEAR(.5 * std::log(1e8) + .5 * std::log(2 * kWeights[v] * variances[v]), asymptotes[v],
                6e-5);
  }
}

// α = 2 fixed: Σ β is conserved, and β goes to e^-α times what cancels B.
TEST(ReducedModelTest, ValueDrainsToWhatTheSinkLeaves) {
  const double goldens[] = {.780713, 1.079745, 1.288685, 1.101434,
                            .792316, .814189,  1.135009, 1.284774};
  const Row B = FixedValues();
  State state = StartingValues();
  state.alpha.fill(2);
  const auto slope = [&](double, const State& at) {
    State gradient;
    AddGradient(at, B, -1, gradient);
    gradient.alpha = {};
    return gradient;
  };
  const auto sum = [&] {
    double all = 0;
    for (double value : state.beta) all += value;
    return all;
  };
  EXPECT_NEAR(sum(), 8.276866375, 5e-10);
  for (int i = 0; i < 10000; ++i) state = RungeKutta(state, 0, .1, slope);
  EXPECT_NEAR(sum(), 8.276866375, 5e-10);
  const double shrink = std::exp(-2.0);
  double mean_beta = 0, mean_B = 0;
  for (size_t k = 0; k < kTokens; ++k) {
    mean_beta += StartingValues().beta[k] / kTokens;
    mean_B += B[k] / kTokens;
  }
  double largest = 0;
  for (size_t k = 0; k < kTokens; ++k) {
    const double limit = mean_beta + shrink * (mean_B - B[k]);
    EXPECT_NEAR(limit, goldens[k], 6e-7);
    largest = std::max(largest, std::abs(state.beta[k] - limit));
  }
  EXPECT_LT(largest, 3e-7);
  EXPECT_GT(largest, 3e-8);  // about 1e-7 is left at t = 1000
}

// Both free, four contexts, plain descent of rate 1: sink and drain go on together.
TEST(ReducedModelTest, SinkAndDrainGrowTogether) {
  const struct {
    int step;
    double alpha[kTypes], centred_norm, norm_digits, loss;
  } goldens[] = {{10'000, {5.6144, 5.2938, 5.0133}, .0197, 6e-5, 9.73e-5},
                 {100'000, {6.8700, 6.5747, 6.3316}, .0055, 6e-5, 0},
                 {1'000'000, {8.0468, 7.7576, 7.5222}, .0017, 6e-5, 0}};
  const std::vector<Row> contexts = ContextValues();
  State state = StartingValues();
  int step = 0;
  for (const auto& golden : goldens) {
    double loss = 0;
    for (; step < golden.step; ++step) {
      State gradient;
      loss = 0;
      for (const Row& B : contexts) loss += .25 * AddGradient(state, B, .25, gradient);
      state = state.Plus(-1, gradient);
    }
    for (size_t v = 0; v < kTypes; ++v) {
      EXPECT_NEAR(state.alpha[v], golden.alpha[v], 6e-5) << golden.step << " " << v;
    }
    EXPECT_NEAR(CentredNorm(state.beta), golden.centred_norm, golden.norm_digits);
    if (golden.loss > 0) {
      EXPECT_NEAR(loss, golden.loss, 6e-8);
    }
  }
  // The growth of the first test, with the variance that is left when β cancels the mean of B.
  const double left[] = {10.346, 9.225, 8.419}, formula[] = {8.076, 7.763, 7.515};
  Row mean{};
  for (const Row& B : contexts) {
    for (size_t k = 0; k < kTokens; ++k) mean[k] += .25 * B[k];
  }
  for (size_t v = 0; v < kTypes; ++v) {
    double variance = 0;
    for (const Row& B : contexts) {
      Row centred;
      for (size_t k = 0; k < kTokens; ++k) centred[k] = B[k] - mean[k];
      variance += .25 * Variance(v, centred);
    }
    EXPECT_NEAR(variance, left[v], 6e-4);
    EXPECT_NEAR(.5 * std::log(1e6) + .5 * std::log(2 * kWeights[v] * variance), formula[v], 6e-4);
  }
  const double attention[] = {.997, .996, .995};
  for (size_t v = 0; v < kTypes; ++v) {
    EXPECT_NEAR(1 / (1 + kOthers * std::exp(-state.alpha[v])), attention[v], 6e-4);
  }
}

}  // namespace
}  // namespace sluice
