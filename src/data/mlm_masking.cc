#include "data/mlm_masking.h"

#include "core/check.h"

namespace sluice {

MlmMasking::MlmMasking(const MlmMaskingSettings& settings, PhiloxKey key)
    : settings_(settings), key_(key) {
  CHECK_GT(settings.vocabulary_size, 0);
  CHECK(settings.mask_share <= 0 || settings.special.mask >= 0);
}

bool MlmMasking::IsSpecial(int32_t id) const {
  const SpecialTokenIds& special = settings_.special;
  return id == special.cls || id == special.sep || id == special.pad || id == special.mask ||
         id == special.unk || id == special.bos || id == special.eos;
}

void MlmMasking::Apply(int64_t sample_index, int32_t first_position, std::span<int32_t> row,
                       std::vector<int32_t>* positions, std::vector<int32_t>* targets) const {
  const auto sample = static_cast<uint64_t>(sample_index);
  for (size_t t = 0; t < row.size(); ++t) {
    // The contract of the bits: word 0 chooses the target, word 1 its replacement, word 2 the id.
    const auto words = Philox(key_, PhiloxCounter(t, sample));
    if (UniformFromWord(words[0]) >= settings_.probability || IsSpecial(row[t])) continue;
    positions->push_back(first_position + static_cast<int32_t>(t));
    targets->push_back(row[t]);
    const double kind = UniformFromWord(words[1]);
    if (kind < settings_.mask_share) {
      row[t] = settings_.special.mask;
    } else if (kind < settings_.mask_share + settings_.random_share) {
      row[t] = static_cast<int32_t>(
          uint64_t{words[2]} * static_cast<uint64_t>(settings_.vocabulary_size) >> 32);
    }
  }
}

}  // namespace sluice
