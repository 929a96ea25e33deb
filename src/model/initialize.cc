#include "model/initialize.h"

#include <cmath>
#include <numbers>

#include "core/parallel.h"
#include "core/philox.h"
#include "core/status.h"
#include "ops/elementwise.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {

// FNV-1a: tells names apart, the same on every platform.
uint32_t NameHash(absl::string_view name) {
  uint32_t hash = 2166136261u;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

double DrawNormal(PhiloxKey key, int64_t index) {
  const auto words = Philox(key, PhiloxCounter(index, 0));
  const double u = (words[0] + 0.5) * 0x1p-32;  // never 0
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * UniformFromWord(words[1]));
}

double DrawUniform(PhiloxKey key, int64_t index) {
  return 2 * UniformFromWord(Philox(key, PhiloxCounter(index, 0))[0]) - 1;
}

template <typename T>
void Fill(const Parameter& parameter, uint64_t seed, T* values) {
  const InitialValues& initial = parameter.initial;
  const PhiloxKey key =
      MakePhiloxKey(seed, RandomPurpose::kInitialWeights, NameHash(parameter.name));
  ParallelFor(parameter.elements(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      switch (initial.kind) {
        case InitialValues::Kind::kZero:
          values[i] = 0;
          break;
        case InitialValues::Kind::kOne:
          values[i] = 1;
          break;
        case InitialValues::Kind::kConstant:
          values[i] = static_cast<T>(initial.scale);
          break;
        case InitialValues::Kind::kNormal:
          values[i] = static_cast<T>(initial.scale * DrawNormal(key, i));
          break;
        case InitialValues::Kind::kUniform:
          values[i] = static_cast<T>(initial.scale * DrawUniform(key, i));
          break;
      }
    }
  });
  if (initial.zero_row < 0) return;
  const int64_t columns = parameter.shape.dim(-1);
  for (int64_t c = 0; c < columns; ++c) values[initial.zero_row * columns + c] = 0;
}

}  // namespace

absl::Status InitializeParameters(uint64_t seed, ExecutionContext& context,
                                  ParameterStore& parameters) {
  for (int i = 0; i < static_cast<int>(parameters.parameters().size()); ++i) {
    HostTensor master = HostTensor::ToWrite(context.device(), parameters.Master(i));
    if (master.view().dtype() == DType::kFloat64) {
      Fill(parameters.parameters()[i], seed, master.view().as<double>());
    } else {
      Fill(parameters.parameters()[i], seed, master.view().as<float>());
    }
    RETURN_IF_ERROR(master.Store());
  }
  return ops::RoundToWorking(context, parameters.flat_master(), parameters.flat_working());
}

}  // namespace sluice
