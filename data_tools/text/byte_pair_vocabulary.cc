#include "data_tools/text/byte_pair_vocabulary.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "data/byte_alphabet.h"
#include "data/content_hash.h"
#include "data/vocabulary_json.h"
#include "data_tools/text/utf8.h"

namespace sluice {
namespace {

using Ids = absl::flat_hash_map<absl::string_view, int32_t>;

absl::Status CheckAlphabet(const Ids& ids, const std::string& name) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string character = ByteCharacter(static_cast<uint8_t>(byte));
    if (ids.contains(character)) continue;
    return DataError("vocabulary has no token for a byte", name,
                     absl::StrCat("0x", absl::Hex(byte, absl::kZeroPad2), ", \"", character, "\""));
  }
  return absl::OkStatus();
}

absl::StatusOr<BytePairMerge> ParseMerge(absl::string_view line, const std::string& where,
                                         const Ids& ids) {
  if (!line.empty() && line.back() == '\r') {
    return DataError("merges line ends with a carriage return (CR LF): store it with LF only",
                     where);
  }
  if (CountInvalidUtf8(line) > 0) return DataError("merges line is not UTF-8", where);
  const size_t space = line.find(' ');
  if (space == 0 || space == absl::string_view::npos || space + 1 == line.size() ||
      line.find(' ', space + 1) != absl::string_view::npos) {
    return DataError("merge is not two tokens with one space between", where,
                     absl::StrCat("\"", line, "\""));
  }
  const std::string merged = absl::StrCat(line.substr(0, space), line.substr(space + 1));
  BytePairMerge merge;
  const std::pair<absl::string_view, int32_t*> parts[] = {{line.substr(0, space), &merge.first},
                                                          {line.substr(space + 1), &merge.second},
                                                          {merged, &merge.merged}};
  for (const auto& [token, id] : parts) {
    const auto found = ids.find(token);
    if (found == ids.end()) {
      return DataError(id == &merge.merged ? "merge makes a token that the vocabulary lacks"
                                           : "merge of a token that the vocabulary lacks",
                       where, absl::StrCat("\"", token, "\""));
    }
    *id = found->second;
  }
  return merge;
}

absl::StatusOr<std::vector<BytePairMerge>> ParseMerges(const BytePairVocabulary::File& file,
                                                       const Ids& ids) {
  absl::string_view rest = file.bytes;
  if (rest.empty()) return DataError("merges are empty", file.name);
  std::vector<BytePairMerge> merges;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const absl::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::string where = absl::StrCat(file.name, ":", number);
    if (number == 1) {
      if (IsMergesVersionLine(line)) continue;
      return DataError(
          absl::StrCat("merges do not begin with the line \"", kMergesVersionLine, "\""), where,
          absl::StrCat("\"", line.substr(0, 40), "\""));
    }
    ASSIGN_OR_RETURN(const BytePairMerge merge, ParseMerge(line, where, ids));
    merges.push_back(merge);
  }
  return merges;
}

}  // namespace

int32_t BytePairVocabulary::Find(absl::string_view token) const {
  const auto found = std::find(tokens.begin(), tokens.end(), token);
  return found == tokens.end() ? -1 : static_cast<int32_t>(found - tokens.begin());
}

absl::StatusOr<BytePairVocabulary> BytePairVocabulary::FromBytes(const File& vocabulary,
                                                                 const File& merges) {
  BytePairVocabulary result;
  result.name = vocabulary.name;
  result.sha256 = Sha256Text(absl::StrCat(vocabulary.bytes, merges.bytes));
  ASSIGN_OR_RETURN(result.tokens, ParseVocabularyJson(vocabulary.bytes, vocabulary.name));
  Ids ids;
  for (size_t id = 0; id < result.tokens.size(); ++id) {
    ids.emplace(result.tokens[id], static_cast<int32_t>(id));
  }
  RETURN_IF_ERROR(CheckAlphabet(ids, vocabulary.name));
  ASSIGN_OR_RETURN(result.merges, ParseMerges(merges, ids));
  return result;
}

absl::StatusOr<BytePairVocabulary> BytePairVocabulary::Load(const std::string& vocabulary_path,
                                                            const std::string& merges_path) {
  File vocabulary{.name = vocabulary_path, .bytes = ""}, merges{.name = merges_path, .bytes = ""};
  for (File* file : {&vocabulary, &merges}) {
    ASSIGN_OR_RETURN(file->bytes, ReadWholeFile(file->name));
  }
  return FromBytes(vocabulary, merges);
}

}  // namespace sluice
