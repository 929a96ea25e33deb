// The parameters of a model in one flat buffer each for master weights, working weights and
// gradients.
//
// The order is the order in which backward finishes gradients (head first, embeddings last):
// buckets of the flat gradient can be reduced while backward still runs. Names are Hugging Face's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "runtime/arena.h"

namespace sluice {

// How a parameter starts; model/initialize.h draws it.
struct InitialValues {
  enum class Kind { kZero, kOne, kConstant, kNormal, kUniform } kind = Kind::kZero;
  double scale =
      0;  // kConstant: the value; kNormal: standard deviation; kUniform: bound, values in
          // [-scale, scale)
  int64_t zero_row = -1;  // this row starts at zero ([PAD] of the token embedding); -1: none
};

struct Parameter {
  std::string name;
  Shape shape;
  InitialValues initial;
  int64_t offset = 0;  // elements from the start of the flat buffers
  int64_t elements() const { return shape.elements(); }
};

class ParameterStore {
 public:
  // Adds a parameter behind the last one. It starts on a multiple of 16 elements, unless `joined`:
  // then it starts where the last one ends, so that both can be read as one matrix (query, key and
  // value projections).
  int Add(absl::string_view name, const Shape& shape, const InitialValues& initial,
          bool joined = false);

  // Reserves the flat buffers: master and gradient in the accumulator's dtype, working in `dtype`
  // (the master itself when they are equal). Without `train` there is no gradient.
  void Plan(Arena& arena, DType dtype, bool train);

  // After the arena has been allocated. `count` parameters from `index` on, joined, seen as
  // `shape`; default: the one alone.
  TensorView Working(int index) const;
  TensorView Master(int index) const;
  TensorView Gradient(int index) const;  // null without `train`
  TensorView WorkingJoined(int index, int count, const Shape& shape) const;
  TensorView GradientJoined(int index, int count, const Shape& shape) const;

  TensorView flat_master() const { return *master_; }
  DType flat_master_dtype() const { return master_->dtype(); }  // known once planned
  TensorView flat_working() const { return *working_; }
  TensorView flat_gradient() const { return gradient_ == nullptr ? TensorView() : *gradient_; }

  const std::vector<Parameter>& parameters() const { return parameters_; }
  int64_t parameter_count() const;  // elements of all parameters, padding not counted
  int64_t flat_elements() const { return elements_; }  // padding counted

 private:
  TensorView Slice(const TensorView* flat, int64_t offset, const Shape& shape) const;

  std::vector<Parameter> parameters_;
  int64_t elements_ = 0;
  const TensorView* master_ = nullptr;
  const TensorView* working_ = nullptr;
  const TensorView* gradient_ = nullptr;
};

}  // namespace sluice
