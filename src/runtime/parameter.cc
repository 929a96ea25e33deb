#include "runtime/parameter.h"

#include "core/check.h"
#include "core/integer_math.h"

namespace sluice {
namespace {
constexpr int64_t kAlignmentElements = 16;  // 64 bytes of fp32
}

int ParameterStore::Add(absl::string_view name, const Shape& shape, const InitialValues& initial,
                        bool joined) {
  CHECK(master_ == nullptr) << name << " was added after planning";
  for (const Parameter& other : parameters_)
    CHECK(other.name != std::string(name)) << name << " twice";
  if (!joined) elements_ = RoundUp(elements_, kAlignmentElements);
  parameters_.push_back({std::string(name), shape, initial, elements_});
  elements_ += shape.elements();
  return static_cast<int>(parameters_.size()) - 1;
}

void ParameterStore::Plan(Arena& arena, DType dtype, bool train) {
  elements_ = RoundUp(elements_, kAlignmentElements);
  const DType wide = AccumulatorDType(dtype);
  master_ = arena.Reserve("master weights", MemoryPurpose::kMasterWeights, wide, {elements_});
  working_ = dtype == wide ? master_
                           : arena.Reserve("working weights", MemoryPurpose::kWorkingWeights, dtype,
                                           {elements_});
  if (train) gradient_ = arena.Reserve("gradients", MemoryPurpose::kGradients, wide, {elements_});
}

TensorView ParameterStore::Slice(const TensorView* flat, int64_t offset, const Shape& shape) const {
  if (flat == nullptr) return TensorView();
  CHECK(!flat->null()) << "the arena is not allocated yet";
  return TensorView(static_cast<char*>(flat->data()) + offset * SizeOf(flat->dtype()),
                    flat->dtype(), shape);
}

TensorView ParameterStore::Working(int index) const {
  return Slice(working_, parameters_[index].offset, parameters_[index].shape);
}
TensorView ParameterStore::Master(int index) const {
  return Slice(master_, parameters_[index].offset, parameters_[index].shape);
}
TensorView ParameterStore::Gradient(int index) const {
  return Slice(gradient_, parameters_[index].offset, parameters_[index].shape);
}

namespace {
void CheckJoined(const std::vector<Parameter>& parameters, int index, int count,
                 const Shape& shape) {
  int64_t end = parameters[index].offset;
  for (int i = index; i < index + count; ++i) {
    CHECK_EQ(parameters[i].offset, end) << parameters[i].name << " is not joined";
    end += parameters[i].elements();
  }
  CHECK_EQ(shape.elements(), end - parameters[index].offset);
}
}  // namespace

TensorView ParameterStore::WorkingJoined(int index, int count, const Shape& shape) const {
  CheckJoined(parameters_, index, count, shape);
  return Slice(working_, parameters_[index].offset, shape);
}
TensorView ParameterStore::GradientJoined(int index, int count, const Shape& shape) const {
  CheckJoined(parameters_, index, count, shape);
  return Slice(gradient_, parameters_[index].offset, shape);
}

int64_t ParameterStore::parameter_count() const {
  int64_t count = 0;
  for (const Parameter& parameter : parameters_) count += parameter.elements();
  return count;
}

}  // namespace sluice
