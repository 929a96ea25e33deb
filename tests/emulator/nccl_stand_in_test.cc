// The stand-in of NCCL: what it sums, and what it stops. Ranks are threads here, each with its own
// device; tests/comm/nccl_test.sh has processes.
#include <nccl.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "emulator/runtime.h"
#include "gtest/gtest.h"

namespace sluice::emulator {
namespace {

constexpr size_t kCount = 100000;  // more than a chunk

ncclResult_t Poll(ncclComm_t comm) {
  ncclResult_t state = ncclInProgress;
  while (state == ncclInProgress) ncclCommGetAsyncError(comm, &state);
  return state;
}

ncclConfig_t Config() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

// What a rank has in a test's body.
struct Rank {
  int rank;
  ncclComm_t comm;
  cudaStream_t stream;
  float* values;  // kCount on the device: rank + 1 … each
};

class NcclStandInTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("SLUICE_EMULATOR_DEVICES", "4", 1);
    setenv("SLUICE_EMULATOR_NCCL_TIMEOUT", "20", 1);
  }
  void TearDown() override {
    unsetenv("SLUICE_EMULATOR_DEVICES");
    unsetenv("SLUICE_EMULATOR_NCCL_TIMEOUT");
    unsetenv("SLUICE_EMULATOR_NCCL_FAULT");
  }

  // `body` on `ranks` threads, with communicators that are ready.
  static void RunRanks(int ranks, const std::function<void(const Rank& rank)>& body) {
    ncclUniqueId id;
    ncclGetUniqueId(&id);
    std::vector<Rank> all(static_cast<size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank) {
      Rank& made = all[static_cast<size_t>(rank)];
      made.rank = rank;
      cudaStreamCreateWithFlags(&made.stream, cudaStreamNonBlocking);
      cudaMalloc(reinterpret_cast<void**>(&made.values), kCount * sizeof(float));
      const std::vector<float> host(kCount, static_cast<float>(rank + 1));
      cudaMemcpy(made.values, host.data(), kCount * sizeof(float), cudaMemcpyHostToDevice);
    }
    std::vector<std::thread> threads;
    for (Rank& mine : all) {
      threads.emplace_back([&, ranks] {
        cudaSetDevice(mine.rank);
        ncclConfig_t config = Config();
        ASSERT_EQ(ncclCommInitRankConfig(&mine.comm, ranks, id, mine.rank, &config),
                  ncclInProgress);
        ASSERT_EQ(Poll(mine.comm), ncclSuccess);
        body(mine);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Rank& made : all) {
      cudaFree(made.values);
      cudaStreamDestroy(made.stream);
    }
  }
  static ncclResult_t SumOf(const Rank& rank, size_t count = kCount) {
    return ncclAllReduce(rank.values, rank.values, count, ncclFloat32, ncclSum, rank.comm,
                         rank.stream);
  }
  // In a communicator of one rank.
  static void ExpectStop(const std::function<void(const Rank& rank)>& body, const char* message) {
    EXPECT_DEATH(RunRanks(1, body), message);
  }
  static void Leave(const Rank& rank) {
    ASSERT_EQ(ncclCommFinalize(rank.comm), ncclInProgress);
    ASSERT_EQ(Poll(rank.comm), ncclSuccess);
    ASSERT_EQ(ncclCommDestroy(rank.comm), ncclSuccess);
  }
};
using NcclStandInDeathTest = NcclStandInTest;

TEST_F(NcclStandInTest, SumsOverRanks) {
  for (const int ranks : {1, 2, 4}) {
    RunRanks(ranks, [&](const Rank& rank) {
      ASSERT_EQ(SumOf(rank), ncclInProgress);
      ASSERT_EQ(Poll(rank.comm), ncclSuccess);
      std::vector<float> host(kCount);
      cudaMemcpyAsync(host.data(), rank.values, kCount * sizeof(float), cudaMemcpyDeviceToHost,
                      rank.stream);
      cudaStreamSynchronize(rank.stream);
      const auto expected = static_cast<float>(ranks * (ranks + 1) / 2);
      for (size_t i = 0; i < kCount; ++i) ASSERT_EQ(host[i], expected) << i;
      Leave(rank);
    });
  }
}

TEST_F(NcclStandInTest, AnAbortReachesTheOthers) {
  RunRanks(2, [](const Rank& rank) {
    if (rank.rank == 1) {
      ncclCommAbort(rank.comm);
      return;
    }
    SumOf(rank);
    EXPECT_EQ(Poll(rank.comm), ncclRemoteError);
    EXPECT_STREQ(ncclGetLastError(rank.comm), "rank 1 aborted");
    ncclCommAbort(rank.comm);
  });
}

TEST_F(NcclStandInTest, FaultsAreMadeOnRequest) {
  setenv("SLUICE_EMULATOR_NCCL_FAULT", "0:1:error", 1);
  RunRanks(1, [](const Rank& rank) {
    SumOf(rank);
    EXPECT_EQ(Poll(rank.comm), ncclSystemError);
    ncclCommAbort(rank.comm);
  });
  setenv("SLUICE_EMULATOR_NCCL_FAULT", "0:1:stall", 1);
  RunRanks(1, [](const Rank& rank) {
    SumOf(rank);
    ncclResult_t state = ncclSuccess;
    for (int i = 0; i < 100; ++i) ncclCommGetAsyncError(rank.comm, &state);
    EXPECT_EQ(state, ncclInProgress);
    ncclCommAbort(rank.comm);
  });
}

TEST_F(NcclStandInDeathTest, RanksThatDifferAreStopped) {
  EXPECT_DEATH(RunRanks(2,
                        [](const Rank& rank) {
                          SumOf(rank, rank.rank == 1 ? 7 : 8);
                          Poll(rank.comm);
                        }),
               "ranks differ in call 1: rank 0: ncclAllReduce of 8 .*; rank 1: ncclAllReduce of 7");
  EXPECT_DEATH(RunRanks(3,
                        [](const Rank& rank) {
                          if (rank.rank == 2) return Leave(rank);
                          SumOf(rank);
                          Poll(rank.comm);
                        }),
               "rank . of 3 waited .* in call 1, ncclAllReduce of .*: rank 2 has made no call, "
               "and has finalized");
}

TEST_F(NcclStandInDeathTest, MissingCallsAreStopped) {
  setenv("SLUICE_EMULATOR_NCCL_TIMEOUT", "1", 1);
  EXPECT_DEATH(RunRanks(3,
                        [](const Rank& rank) {
                          for (int i = 0; i < (rank.rank == 1 ? 1 : 2); ++i) {
                            SumOf(rank, 5);
                            Poll(rank.comm);
                          }
                        }),
               "rank . of 3 waited 1 s in call 2, ncclAllReduce of 5 values of float32, sum: "
               "rank 1 has made 1, the last ncclAllReduce of 5");
  EXPECT_DEATH(
      {
        ncclUniqueId id;
        ncclGetUniqueId(&id);
        ncclConfig_t config = Config();
        ncclComm_t comm = nullptr;
        ncclCommInitRankConfig(&comm, 2, id, 0, &config);
        Poll(comm);
      },
      "rank 0 of 2 waited 1 s in ncclCommInitRankConfig: rank 1 has not initialized");
}

TEST_F(NcclStandInDeathTest, WrongArgumentsAreStopped) {
  static float host[4];
  ExpectStop(
      [](const Rank& r) {
        ncclAllReduce(host, host, 4, ncclFloat32, ncclSum, r.comm, r.stream);
        Poll(r.comm);
      },
      "sendbuff, 0x.*, is not memory of the device");
  ExpectStop([](const Rank& r) { SumOf(r, kCount + 1), Poll(r.comm); },
             "sendbuff: .* of an allocation of 400000 bytes");
  ExpectStop(
      [](const Rank& r) {
        ncclAllReduce(r.values, r.values + 1, 4, ncclFloat32, ncclSum, r.comm, r.stream);
      },
      "overlap without being the same");
  ExpectStop(
      [](const Rank& r) {
        auto* odd = reinterpret_cast<char*>(r.values) + 2;
        ncclAllReduce(odd, odd, 4, ncclFloat32, ncclSum, r.comm, r.stream);
      },
      "not aligned");
  ExpectStop(
      [](const Rank& r) {
        ncclAllReduce(r.values, r.values, 4, ncclFloat16, ncclSum, r.comm, r.stream);
      },
      "only sums of float32");
  ExpectStop(
      [](const Rank& r) {
        ncclAllReduce(r.values, r.values, 4, ncclFloat32, ncclMax, r.comm, r.stream);
      },
      "only sums of float32");
  ExpectStop(
      [](const Rank& r) {
        ncclAllReduce(r.values, r.values, 4, ncclFloat32, ncclSum, r.comm, nullptr);
      },
      "the default stream");
}

TEST_F(NcclStandInDeathTest, CommunicatorsInAWrongStateAreStopped) {
  ExpectStop([](const Rank& r) { SumOf(r), SumOf(r); }, "the call before is in progress");
  ExpectStop([](const Rank& r) { ncclCommDestroy(r.comm); }, "is not finalized");
  ExpectStop([](const Rank& r) { Leave(r), SumOf(r); }, "does not exist");
  ExpectStop([](const Rank& r) { ncclCommFinalize(r.comm), Poll(r.comm), SumOf(r); },
             "is finalized");
  // The sum is not in the stream yet: an event that is recorded now does not stand for it.
  ExpectStop(
      [](const Rank& r) {
        cudaStream_t other = nullptr;
        cudaEvent_t event = nullptr;
        cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
        cudaEventCreate(&event);
        SumOf(r);
        cudaEventRecord(event, r.stream);
        Poll(r.comm);
        cudaStreamWaitEvent(other, event, 0);
        cudaMemsetAsync(r.values, 0, 4, other);
      },
      "cudaMemsetAsync.* memory that ncclAllReduce");
}

TEST_F(NcclStandInDeathTest, WrongInitializationIsStopped) {
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  ncclConfig_t config = Config(), blocking = Config(), empty = {};
  blocking.blocking = 1;
  ncclComm_t comm = nullptr;
  EXPECT_DEATH(ncclCommInitRankConfig(&comm, 2, id, 2, &config), "rank 2 of 2");
  EXPECT_DEATH(ncclCommInitRankConfig(&comm, 1, {}, 0, &config), "not of ncclGetUniqueId");
  EXPECT_DEATH(ncclCommInitRankConfig(&comm, 1, id, 0, &blocking), "blocking = 0");
  EXPECT_DEATH(ncclCommInitRankConfig(&comm, 1, id, 0, &empty), "NCCL_CONFIG_INITIALIZER");
  EXPECT_DEATH((ncclCommInitRankConfig(&comm, 2, id, 0, &config),
                ncclCommInitRankConfig(&comm, 2, id, 0, &config)),
               "two ranks call themselves rank 0");
  EXPECT_DEATH((ncclCommInitRankConfig(&comm, 2, id, 0, &config),
                ncclCommInitRankConfig(&comm, 3, id, 1, &config)),
               "rank 1 says 3 ranks, another rank 2");
  EXPECT_DEATH((ncclCommInitRankConfig(&comm, 2, id, 0, &config), std::thread([&] {
                                                                    ncclComm_t second = nullptr;
                                                                    ncclCommInitRankConfig(
                                                                        &second, 2, id, 1, &config);
                                                                    Poll(second);
                                                                  }).detach(),
                Poll(comm), std::this_thread::sleep_for(std::chrono::seconds(5))),
               "both use device 0");
}

}  // namespace
}  // namespace sluice::emulator
