#include "report/head_map.h"

#include <zlib.h>

#include <cmath>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "report/heat_picture.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(HeadMapTest, ARowAHeadAndAColumnARecord) {
  const HeadMap map = MakeHeadMap({{10, {{.1, .2}, {.3}}}, {20, {{.4, .5}, {.6}}}}, 120);
  EXPECT_THAT(map.rows, ElementsAre("0.0", "0.1", "1.0"));
  EXPECT_THAT(map.heads_of_layers, ElementsAre(2, 1));
  EXPECT_THAT(map.steps, ElementsAre(10, 20));
  EXPECT_THAT(map.cells[1], ElementsAre(.2, .5));
  EXPECT_THAT(map.cells[2], ElementsAre(.3, .6));
}

TEST(HeadMapTest, ManyRecordsAreAveragedAndEachCountsOnce) {
  std::vector<HeadRecord> records;
  for (int i = 1; i <= 10; ++i) records.push_back({i, {{static_cast<double>(i)}}});
  const HeadMap map = MakeHeadMap(records, 4);
  EXPECT_THAT(map.steps, ElementsAre(2, 5, 7, 10));
  EXPECT_THAT(map.cells[0], ElementsAre(1.5, 4, 6.5, 9));
}

TEST(HeadMapTest, WhatARecordLacksIsNotZero) {
  const HeadMap map = MakeHeadMap({{1, {{.5, std::nan("")}}}, {2, {{.5}}}}, 1);
  EXPECT_EQ(map.cells[0][0], .5);
  EXPECT_TRUE(std::isnan(map.cells[1][0]));
}

TEST(HeadMapTest, PictureNamesItsRowsAndColumnsForScripts) {
  const std::string svg =
      DrawHeadMap(MakeHeadMap({{10, {{.125, .5}}}, {20, {{.25, .75}}}}, 120), "gates of <a>", "m");
  EXPECT_THAT(svg, HasSubstr("data-rows=\"0.0 0.1\" data-columns=\"10 20\""));
  EXPECT_THAT(svg, HasSubstr("gates of &lt;a&gt;"));
  EXPECT_THAT(svg, HasSubstr("0.0: 0.25, 0.1: 0.75"));
  EXPECT_EQ(DrawHeadMap(MakeHeadMap({{1, {}}}, 120), "", "m"), "");
}

// Bytes of the pixels: red, green, blue, opacity.
std::string Pixels(const std::string& address, size_t rows, size_t columns) {
  const std::string prefix = "data:image/png;base64,";
  EXPECT_TRUE(absl::StartsWith(address, prefix));
  std::string png;
  EXPECT_TRUE(absl::Base64Unescape(address.substr(prefix.size()), &png));
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  const size_t data = png.find("IDAT");
  std::string lines(rows * (1 + 4 * columns), '\0');
  uLongf size = lines.size();
  const auto* packed = reinterpret_cast<const Bytef*>(png.data() + data + 4);
  EXPECT_EQ(
      uncompress(reinterpret_cast<Bytef*>(lines.data()), &size, packed, png.size() - data - 4),
      Z_OK);
  EXPECT_EQ(size, lines.size());
  std::string pixels;
  for (size_t row = 0; row < rows; ++row) {
    pixels += lines.substr(row * (1 + 4 * columns) + 1, 4 * columns);
  }
  return pixels;
}

int Opacity(const std::string& pixels, size_t index) {
  return static_cast<unsigned char>(pixels[4 * index + 3]);
}

TEST(HeatPictureTest, OpacityIsTheValueOrItsRoot) {
  const std::vector<std::vector<double>> rows = {{0, .25, 1}, {2, -1, std::nan("")}};
  const std::string linear = Pixels(HeatPicture(rows, HeatScale::kLinear), 2, 3);
  EXPECT_EQ(Opacity(linear, 0), 0);
  EXPECT_EQ(Opacity(linear, 1), 64);
  EXPECT_EQ(Opacity(linear, 2), 255);
  EXPECT_EQ(Opacity(linear, 3), 255);
  EXPECT_EQ(Opacity(linear, 4), 0);
  EXPECT_EQ(linear[4 * 5], linear[4 * 5 + 2]);  // grey
  EXPECT_NE(linear[0], linear[2]);
  EXPECT_EQ(Opacity(Pixels(HeatPicture(rows, HeatScale::kSquareRoot), 2, 3), 1), 128);
}

}  // namespace
}  // namespace sluice
