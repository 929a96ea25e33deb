// The page as text; tests/report/browser_test.py looks at it as a browser does.
#include "report/report.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "gmock/gmock.h"
#include "report/html_table.h"
#include "support/compare.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ReportRun SmallRun(const std::string& name) {
  ReportRun run;
  run.folder = "runs/" + name;
  run.name = name;
  run.variant = "vanilla";
  run.config = {{"name", name}, {"training.seed", "1"}};
  run.series["train.loss"] = {{1, 3}, {2, 2}};
  return run;
}

TEST(ReportPageTest, ShowsWhatThereIsAndNothingElse) {
  const std::string page = ReportPage({SmallRun("one")});
  EXPECT_THAT(page, HasSubstr("<h1>1 run of sluice</h1>"));
  EXPECT_THAT(page, HasSubstr("<section id=\"training\""));
  EXPECT_THAT(page, HasSubstr("one: 3 at step 1, 2 at step 2"));
  for (const char* absent :
       {"sink", "outliers", "gap", "norms", "backcopy", "gates", "attention-maps", "alarms",
        "configuration", "notes", "quantization"}) {
    EXPECT_THAT(page, Not(HasSubstr(std::string("<section id=\"") + absent + "\""))) << absent;
  }
}

TEST(ReportPageTest, NeedsNothingFromOutside) {
  const std::string page = ReportPage({SmallRun("one"), SmallRun("two")});
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const char* outside : {"https://", "src=\"http", "href=\"http", "@import", "url("}) {
    EXPECT_THAT(page, Not(HasSubstr(outside))) << outside;
  }
}

TEST(ReportPageTest, NamesAreTextWhateverTheyHold) {
  ReportRun run = SmallRun("<script>alert(1)</script>&\"'\xff");
  run.notes = {"</main><b>"};
  run.alarms = {{.name = "<i>", .where = "&amp;", .count = 1, .over_step = {}}};
  const std::string page = ReportPage({run, SmallRun("two")});
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("<b>")));
  EXPECT_THAT(page, Not(HasSubstr("<i>")));
  EXPECT_THAT(page, Not(HasSubstr("\xff")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;\xEF\xBF\xBD"));
}

TEST(ReportPageTest, AHeadWithoutGatesHasNoMeanGate) {
  ReportRun run = SmallRun("one");
  GateStatistics gates = {.layers = 2, .heads = 1, .token_classes = {"all"}, .cells = {{}, {}}};
  gates.cell(1, 0) = {.count = 4, .mean = .25};
  gates.cell(1, 0).histogram[16] = 4;
  run.gates = {{.step = 3, .gates = gates}};
  const std::string page = ReportPage({run});
  EXPECT_THAT(page, HasSubstr("<td>0.0</td><td data-v=\"\" class=\"r0\">–</td>"));
  EXPECT_THAT(page, HasSubstr("<td>1.0</td><td data-v=\"0.25\" class=\"r0\">0.25</td>"));
}

TEST(ReportPageTest, TheSameRunsGiveTheSameBytes) {
  EXPECT_EQ(ReportPage({SmallRun("one"), SmallRun("two")}),
            ReportPage({SmallRun("one"), SmallRun("two")}));
}

TEST(ReportPageTest, TwentyLongRunsStaySmall) {
  std::vector<ReportRun> runs;
  for (int i = 0; i < 20; ++i) {
    ReportRun& run = runs.emplace_back(SmallRun("run_" + std::to_string(i)));
    for (const char* name :
         {"train.loss", "train.learning_rate", "train.gradient_norm", "train.tokens_per_s"}) {
      ReportPoints& points = run.series[name];
      points.clear();
      for (int step = 1; step <= 100000; ++step)
        points.emplace_back(step, 2 + std::sin(step * (i + 1.)));
    }
  }
  const std::string page = ReportPage(runs);
  EXPECT_LT(page.size(), 2u << 20);
  EXPECT_THAT(page, HasSubstr("body:has(#run19:not(:checked)) .r19{display:none}"));
}

TEST(WriteReportTest, ReplacesThePageOrLeavesItAsItWas) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/report.html";
  std::ofstream(path) << "old";
  ASSERT_TRUE(WriteReport({SmallRun("one")}, path).ok());
  std::stringstream written;
  written << std::ifstream(path).rdbuf();
  EXPECT_EQ(written.str(), ReportPage({SmallRun("one")}));
  EXPECT_EQ(ExitCodeOf(WriteReport({SmallRun("one")}, folder.path() + "/absent/report.html")),
            ExitCode::kDevice);
  std::filesystem::create_directory(folder.path() + "/folder");
  EXPECT_EQ(ExitCodeOf(WriteReport({SmallRun("one")}, folder.path() + "/folder")),
            ExitCode::kDevice);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

TEST(NumberCellTest, PeopleReadFourDigitsAndCsvHasAll) {
  EXPECT_EQ(NumberText(465.2108), "465.2");
  EXPECT_EQ(NumberText(64890.0985), "64890");
  EXPECT_EQ(NumberText(-INFINITY), "-inf");
  EXPECT_EQ(NumberText(std::nan("")), "nan");
  EXPECT_EQ(NumberCell({}).text, "–");
  EXPECT_EQ(SpreadCell(20.125, .5).text, "20.12 ± 0.5");
  EXPECT_EQ(SpreadCell(59835.2, 211.4).text, "59835 ± 211");
  const std::string table = TableMarkup({.id = "t",
                                         .caption = "c",
                                         .header = {{"n", {}, ""}},
                                         .rows = {{.style = 3, .cells = {NumberCell(1. / 3)}}}});
  EXPECT_THAT(table, HasSubstr("<tr class=\"r3\"><td data-v=\"0.333333333333\">"));
  EXPECT_THAT(table, HasSubstr("0.3333</td>"));
  // Nothing is nothing in CSV, too, and a spread has all digits.
  EXPECT_EQ(NumberCell({}).copied, "");
  EXPECT_EQ(SpreadCell(1. / 3, .0625).copied, "0.333333333333 ± 0.0625");
  EXPECT_EQ(SpreadCell(1, 99.7).text, "1 ± 100");
  EXPECT_EQ(NumberText(9999.7), "10000");
}

}  // namespace
}  // namespace sluice
