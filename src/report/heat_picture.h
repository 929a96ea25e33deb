// Matrices as pictures: one pixel a cell, in one colour whose opacity is the value, so that the
// same picture is right on a light and on a dark page.
#pragma once

#include <string>
#include <vector>

namespace sluice {

enum class HeatScale {
  kLinear,      // opacity = value
  kSquareRoot,  // opacity = √value: small probabilities can be seen
};

// `rows` are of equal length, values in [0, 1] (others are clamped); NaN is grey. A PNG (ISO/IEC
// 15948) as a data: address. At least one cell.
std::string HeatPicture(const std::vector<std::vector<double>>& rows, HeatScale scale);

}  // namespace sluice
