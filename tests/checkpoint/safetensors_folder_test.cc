#include "checkpoint/safetensors_folder.h"

#include "core/error.h"
#include "gmock/gmock.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SafetensorsFolderTest : public ::testing::Test {
 protected:
  void WriteTensors(const std::string& file, const std::vector<std::string>& names) const {
    const std::vector<float> values = {static_cast<float>(names.size()), 7};
    std::vector<SafetensorsTensor> tensors;
    for (const std::string& name : names) {
      tensors.push_back(SafetensorsTensor::Of(name, {2}, values));
    }
    ASSERT_TRUE(WriteSafetensors(At(file), tensors, {}).ok());
  }
  void WriteIndex(const std::string& text) const {
    testing::SetFileBytes(At(kSafetensorsIndexFile), text);
  }
  std::string At(const std::string& name) const { return folder_.path() + "/" + name; }
  const std::string& folder() const { return folder_.path(); }
  void ExpectRefused(const std::string& message) const {
    const absl::Status status = SafetensorsFolder::Open(folder()).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(folder()));
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(SafetensorsFolderTest, OneFile) {
  WriteTensors("model.safetensors", {"b", "a"});
  const auto tensors = SafetensorsFolder::Open(folder());
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT(tensors->Names(), ElementsAre("a", "b"));
  EXPECT_EQ(tensors->Find("c"), nullptr);
  std::vector<float> values(2);
  EXPECT_THAT(std::string(tensors->Read("c", values).message()), HasSubstr("missing tensor"));
}

TEST_F(SafetensorsFolderTest, Shards) {
  WriteTensors("one.safetensors", {"a"});
  WriteTensors("two.safetensors", {"b", "c"});
  WriteIndex(R"({"metadata":{"total_size":24},"weight_map":
      {"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}})");
  const auto tensors = SafetensorsFolder::Open(folder());
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT(tensors->Names(), ElementsAre("a", "b", "c"));
  std::vector<float> values(2);
  ASSERT_TRUE(tensors->Read("a", values).ok());
  EXPECT_THAT(values, ElementsAre(1, 7));
  ASSERT_TRUE(tensors->Read("c", values).ok());
  EXPECT_THAT(values, ElementsAre(2, 7));
}

TEST_F(SafetensorsFolderTest, RefusesAnIndexThatIsWrong) {
  WriteTensors("one.safetensors", {"a"});
  WriteTensors("two.safetensors", {"b"});
  const auto refused = [&](const std::string& weight_map, const std::string& message) {
    SCOPED_TRACE(weight_map);
    WriteIndex("{\"weight_map\":" + weight_map + "}");
    ExpectRefused(message);
  };
  refused("7", "no object weight_map");
  refused(R"({"a":"one.safetensors","b":7})", "tensor b: 7");
  refused(R"({"a":"../one.safetensors"})", "what is no file beside it");
  refused(R"({"a":"/etc/passwd"})", "what is no file beside it");
  refused(R"({"a":".."})", "what is no file beside it");
  refused(R"({"a":"three.safetensors"})", "no such file");
  refused(R"({"a":"two.safetensors"})", "a: two.safetensors");
  refused(R"({"a":"one.safetensors","c":"two.safetensors"})", "c: two.safetensors");
  WriteTensors("two.safetensors", {"b", "c"});
  refused(R"({"a":"one.safetensors","b":"two.safetensors"})", "index does not name");
  WriteTensors("two.safetensors", {"a", "b"});
  refused(R"({"a":"one.safetensors","b":"two.safetensors"})", "two files have the same tensor");
  WriteIndex("{");
  ExpectRefused("is not JSON");
  WriteIndex("{}");
  ExpectRefused("no object weight_map");
}

TEST_F(SafetensorsFolderTest, RefusesFoldersWithoutOneMeaning) {
  ExpectRefused("neither model.safetensors nor");
  testing::SetFileBytes(At("pytorch_model.bin"), "x");
  ExpectRefused("save them as model.safetensors");
  WriteTensors("model.safetensors", {"a"});
  EXPECT_TRUE(SafetensorsFolder::Open(folder()).ok());
  WriteIndex("{}");
  ExpectRefused("both");
  const absl::Status status = SafetensorsFolder::Open(folder() + "/absent").status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("no such folder"));
}

}  // namespace
}  // namespace sluice
