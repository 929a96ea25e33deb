#include "config/config_reference.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "config/fields.h"

namespace sluice {
namespace {

TEST(ConfigReferenceTest, CommittedFileIsWhatIsGenerated) {
  std::ifstream stream("docs/config_reference.md");
  ASSERT_TRUE(stream.good()) << "docs/config_reference.md is missing";
  std::stringstream committed;
  committed << stream.rdbuf();
  EXPECT_EQ(committed.str(), GenerateConfigReference())
      << "docs/config_reference.md does not match src/config/field_table.cc; regenerate it with\n"
         "  build/bin/sluice_config_reference > docs/config_reference.md";
}

TEST(ConfigReferenceTest, HasARowForEveryKey) {
  const std::string document = GenerateConfigReference();
  for (const Field& field : FieldTable()) {
    EXPECT_NE(document.find("\n| `" + field.key + "` | "), std::string::npos) << field.key;
  }
}

}  // namespace
}  // namespace sluice
