#include "optim/update_norms.h"

#include <cmath>
#include <memory>

#include "core/check.h"
#include "optim/optimizer.h"
#include "support/backend.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::RandomValues;

OptimizerConfig Recipe() {
  OptimizerConfig config;
  config.weight_decay = 0.1;
  config.max_grad_norm = 1;
  return config;
}

// Parameters with an optimizer; one is longer than a stretch, one begins where another ends.
struct Model {
  Model(DType dtype, bool with_norms, const OptimizerConfig& recipe = Recipe())
      : device(testing::kOnCuda ? *Device::Open("cuda", 0) : Device::OpenCpu()), context(*device) {
    parameters.Add("table.weight", {1200, 1001}, {});
    parameters.Add("dense.weight", {7, 3}, {});
    parameters.Add("joined.bias", {5}, {}, /*joined=*/true);
    parameters.Add("dense.bias", {13}, {});
    parameters.Plan(arena, dtype, /*train=*/true);
    optimizer = MakeOptimizer(recipe, parameters, context, arena);
    decision = arena.Reserve("decision", MemoryPurpose::kScratch, DType::kInt64, {4});
    loss = arena.Reserve("loss", MemoryPurpose::kScratch, DType::kFloat64, {1});
    if (with_norms) norms = std::make_unique<UpdateNorms>(recipe, parameters, arena);
    context.ReserveWorkspace(arena);
    CHECK_OK(arena.Allocate(ArenaFill::kZero, *device));
    CHECK_OK(optimizer->Bind(context));
    if (with_norms) CHECK_OK(norms->Bind(context));
    CHECK_OK(Set(parameters.flat_master(), Random(1)));
  }

  // Padding between parameters stays 0.
  std::vector<float> Random(uint64_t seed) const {
    std::vector<float> values(parameters.flat_elements());
    for (const Parameter& parameter : parameters.parameters()) {
      const auto own = testing::Cast<float>(RandomValues(parameter.elements(), ++seed, -1, 1));
      std::copy(own.begin(), own.end(), values.begin() + parameter.offset);
    }
    return values;
  }
  absl::Status Set(const TensorView& to, const std::vector<float>& values) {
    return device->CopyToDevice(to.data(), values.data(), to.bytes());
  }
  std::vector<float> Get(const TensorView& from) {
    std::vector<float> values(from.elements());
    CHECK_OK(device->CopyToHost(values.data(), from.data(), from.bytes()));
    return values;
  }
  void Update(uint64_t seed, double scale) {
    CHECK_OK(Set(parameters.flat_gradient(), Random(seed)));
    CHECK_OK(optimizer->ClipAndUpdate(context, parameters,
                                      {.learning_rate = 0.01,
                                       .gradient_scale = scale,
                                       .loss = loss->as<double>(),
                                       .decision = static_cast<UpdateDecision*>(decision->data()),
                                       .norms = norms.get()}));
    CHECK_OK(device->Synchronize());
  }

  std::unique_ptr<Device> device;
  ExecutionContext context;
  Arena arena;
  ParameterStore parameters;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<UpdateNorms> norms;
  const TensorView* decision;
  const TensorView* loss;
};

// The norm of a part of (a - b) in double.
double NaiveNorm(const Parameter& parameter, const std::vector<float>& a,
                 const std::vector<float>* b) {
  double sum = 0;
  for (int64_t i = parameter.offset; i < parameter.offset + parameter.elements(); ++i) {
    const double x = static_cast<double>(a[i]) - (b == nullptr ? 0.0 : (*b)[i]);
    sum += x * x;
  }
  return std::sqrt(sum);
}

TEST(UpdateNormsTest, AreThoseOfGradientUpdateAndWeights) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    Model model(dtype, true);
    for (uint64_t step = 0; step < 3; ++step) {
      const std::vector<float> before = model.Get(model.parameters.flat_master());
      constexpr double kScale = 0.25;
      model.Update(100 * step, kScale);
      const std::vector<float> gradient = model.Random(100 * step);
      const std::vector<float> after = model.Get(model.parameters.flat_master());
      const auto norms = model.norms->Read(*model.device, kScale);
      ASSERT_TRUE(norms.ok());
      ASSERT_EQ(norms->size(), 4u);
      for (size_t index = 0; index < norms->size(); ++index) {
        const Parameter& parameter = model.parameters.parameters()[index];
        const ParameterNorms& got = (*norms)[index];
        EXPECT_EQ(got.parameter, parameter.name);
        // Sums of a million squares in double.
        const double gradient_norm = kScale * NaiveNorm(parameter, gradient, nullptr);
        const double update = NaiveNorm(parameter, after, &before);
        const double weight = NaiveNorm(parameter, after, nullptr);
        EXPECT_NEAR(got.gradient, gradient_norm, 1e-10 * gradient_norm) << parameter.name;
        EXPECT_NEAR(got.update, update, 1e-10 * update) << parameter.name;
        EXPECT_NEAR(got.weight, weight, 1e-10 * weight) << parameter.name;
        EXPECT_GT(update, 0);
      }
    }
  }
}

TEST(UpdateNormsTest, MeasuringChangesNoBit) {
  OptimizerConfig sgd = Recipe();
  sgd.name = "sgd";
  for (const auto& [dtype, recipe] : {std::pair{DType::kFloat32, Recipe()},
                                      {DType::kBFloat16, Recipe()},
                                      {DType::kFloat32, sgd}}) {
    Model measured(dtype, true, recipe), plain(dtype, false, recipe);
    for (uint64_t step = 0; step < 3; ++step) {
      measured.Update(100 * step, 0.25);
      plain.Update(100 * step, 0.25);
    }
    std::vector<std::pair<TensorView, TensorView>> pairs = {
        {measured.parameters.flat_master(), plain.parameters.flat_master()},
        {measured.parameters.flat_gradient(), plain.parameters.flat_gradient()}};
    for (size_t i = 0; i < plain.optimizer->moments().size(); ++i) {
      pairs.emplace_back(*measured.optimizer->moments()[i].values,
                         *plain.optimizer->moments()[i].values);
    }
    for (const auto& [a, b] : pairs) EXPECT_EQ(measured.Get(a), plain.Get(b));
    std::vector<uint16_t> bits[2];
    if (dtype == DType::kFloat32) continue;
    for (Model* model : {&measured, &plain}) {
      const TensorView working = model->parameters.flat_working();
      auto& to = bits[model == &plain];
      to.resize(working.elements());
      ASSERT_TRUE(model->device->CopyToHost(to.data(), working.data(), working.bytes()).ok());
    }
    EXPECT_EQ(bits[0], bits[1]);
  }
}

TEST(UpdateNormsTest, ASkippedUpdateChangesNothingAndSaysWhy) {
  Model model(DType::kFloat32, true);
  model.Update(5, 1);
  std::vector<float> gradient = model.Random(6);
  gradient[model.parameters.parameters()[1].offset] = INFINITY;
  ASSERT_TRUE(model.Set(model.parameters.flat_gradient(), gradient).ok());
  const std::vector<float> before = model.Get(model.parameters.flat_master());
  ASSERT_TRUE(model.optimizer
                  ->ClipAndUpdate(model.context, model.parameters,
                                  {.learning_rate = 0.01,
                                   .gradient_scale = 1,
                                   .loss = model.loss->as<double>(),
                                   .decision = static_cast<UpdateDecision*>(model.decision->data()),
                                   .norms = model.norms.get()})
                  .ok());
  const auto norms = model.norms->Read(*model.device, 1);
  ASSERT_TRUE(norms.ok());
  EXPECT_EQ(model.Get(model.parameters.flat_master()), before);
  for (const ParameterNorms& of : *norms) {
    EXPECT_EQ(of.update, 0) << of.parameter;
    EXPECT_EQ(std::isinf(of.gradient), of.parameter == "dense.weight") << of.parameter;
  }
}

}  // namespace
}  // namespace sluice
