// A tokenizer appends to what is there, and serves many threads at once.
#pragma once

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "data_tools/text/tokenizer.h"
#include "gtest/gtest.h"

namespace sluice::testing {

struct TokenizedText {
  std::string text;
  std::vector<int32_t> ids;  // what the tokenizer makes of it
};

inline void ExpectAppendsInManyThreads(const Tokenizer& tokenizer,
                                       const std::vector<TokenizedText>& texts) {
  std::vector<int32_t> expected = {7};
  for (const TokenizedText& each : texts) {
    expected.insert(expected.end(), each.ids.begin(), each.ids.end());
  }
  std::vector<std::vector<int32_t>> ids(4, {7});
  std::vector<std::thread> threads;
  threads.reserve(ids.size());
  for (std::vector<int32_t>& mine : ids) {
    threads.emplace_back([&] {
      for (const TokenizedText& each : texts) tokenizer.Tokenize(each.text, &mine);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<int32_t>& mine : ids) EXPECT_EQ(mine, expected);
}

}  // namespace sluice::testing
