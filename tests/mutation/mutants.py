"""One-line mutants of the attention and gate kernels and of the order of streams, each with the test that has to notice it.

A mutant that no test notices is a hole in the tests: close it there, not by another mutant. `old` has to stand exactly
once in the file. `objects` are the .cu files that are compiled anew, as few as show the mutant; a .cc file is its own.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str  # of kernels/cuda; a .cc file by its path
    old: str
    new: str
    objects: tuple  # stems of .cu files
    test: str  # its executable
    filter: str  # --gtest_filter; of gpu_profile: words of a problem


LENGTHS = ("kernels.attention_test.cuda", "AttentionTest.EverySequenceLengthAroundTheTiles")
DROPOUT = ("kernels.attention_test.cuda", "AttentionTest.EveryGateWithAndWithoutDropout")
MASKS = ("kernels.attention_masks_test.cuda", "AttentionMasksTest.EveryCombination")
WIDTHS = ("kernels.attention_test.cuda", "AttentionTest.EveryHeadSizeAroundTheVectors")
PADDING = ("kernels.attention_masks_test.cuda", "AttentionMasksTest.NaNInPaddingStaysThere")
GATES = ("kernels.attention_gate_test.cuda", "AttentionGateTest.EveryShapeAroundTheTiles")
# Right values, at a price: tests/gpu_budgets/profile_test.py has to say these words.
CONFLICTS = ("gpu_profile", "wavefronts of shared memory in loops")
PRODUCTS = ("gpu_profile", "tensor")
PLACES = ((), "runtime.device_test", "*CopiesAheadAndKernelsTakeTurns*")
BATCHES = ((), "model.device_batch_test", "*PrefetchedBatchesNeedNoWait*")
FORWARD, KEYS, QUERIES = ("attention_forward_bf16",), ("attention_backward_keys_bf16",), ("attention_backward_queries_bf16",)

# Changes nothing that a test could see: built and run as the others, it must pass. So a mutant is not "caught" by how it was built.
CONTROL = Mutant("control", "attention_gate.cu",
                 "return 1 / (1 + expf(-x)); }", "return 1 / (expf(-x) + 1); }", ("attention_gate",), *GATES)

MUTANTS = (
    Mutant("wrong swizzle", "tensor_core.cuh",
           "return (address ^ ((further & kMask) << 4))",
           "return (address + ((further & kMask) << 4))", FORWARD, *LENGTHS),
    Mutant("missing barrier of the tile loop", "attention_passing.cuh",
           "__syncthreads();  // this stage is there, and everyone is done with the other",
           "", FORWARD, *LENGTHS),
    Mutant("tail off by one", "attention_tile.cuh",
           "const bool there = first + row < source.limit && column < source.columns;",
           "const bool there = first + row <= source.limit && column < source.columns;", FORWARD, *LENGTHS),
    Mutant("no wait for cp.async", "tensor_core.cuh",
           'asm volatile("cp.async.wait_group 0;\\n"',
           'asm volatile("cp.async.wait_group 1;\\n"', FORWARD, *LENGTHS),
    Mutant("wrong stage", "attention_passing.cuh",
           "if (following < end) issue(following, stage ^ 1);",
           "if (following < end) issue(following, stage);", QUERIES, *LENGTHS),
    Mutant("no rescaling of the online softmax", "attention_forward.cuh",
           "out.ScaleRows(correction[0], correction[1]);",
           "", FORWARD, *LENGTHS),
    Mutant("a causal query does not see itself", "attention_problem.cuh",
           "if (causal_ && j > i) return false;",
           "if (causal_ && j >= i) return false;", FORWARD, *MASKS),
    Mutant("dropout's column off by one", "attention_dropout.cuh",
           "return (words[query][key / 16] >> key % 16 & 1) != 0;",
           "return (words[query][key / 16] >> (key + 1) % 16 & 1) != 0;", FORWARD, *DROPOUT),
    Mutant("no gate in dv", "attention_backward_keys.cuh",
           "          sum *= gate;\n",
           "\n", KEYS, *LENGTHS),
    Mutant("no gate of the query in dk", "attention_backward_keys.cuh",
           "probability * (query_gate * pair.gradient - passing.means[stage][column]);",
           "probability * (pair.gradient - passing.means[stage][column]);", KEYS, *LENGTHS),
    Mutant("no scale in dk", "attention_backward_keys.cuh",
           "    sums.ScaleRows(problem.scale, problem.scale);\n",
           "\n", KEYS, *LENGTHS),
    Mutant("a lane's part of D_i for all of it", "attention_backward_queries.cuh",
           "  return SumOfRow(sum);\n",
           "  return sum;\n", QUERIES, *LENGTHS),
    Mutant("D_i in padding", "attention_backward_queries.cuh",
           "i < mask.length() && !problem.clipped",
           "i < problem.T_ && !problem.clipped", QUERIES, *PADDING),
    Mutant("both parts of wide tiles write the first columns", "attention_tile.cuh",
           "return {rows + first, stride,",
           "return {rows, stride,", ("attention_forward_float",), *WIDTHS),
    Mutant("gate reads beyond the last token", "attention_gate.cu",
           "args.source + min(n + t, args.N - 1) * args.source_stride;",
           "args.source + (n + t) * args.source_stride;", ("attention_gate",), *GATES),
    Mutant("slope of the gate's sigmoid", "attention_gate_backward_product.cuh",
           "return args.dgate[n * args.H + h] * (gate * (1 - gate));",
           "return args.dgate[n * args.H + h] * gate;", ("attention_gate_backward",), *GATES),
    Mutant("no swizzle", "tensor_core.cuh",
           "static constexpr int kMask = kChunks % 8 == 0 ? 7 : kChunks % 4 == 0 ? 3 : 1;",
           "static constexpr int kMask = 0;", FORWARD, *CONFLICTS),
    Mutant("no causal tile is skipped", "attention_problem.cuh",
           "if (causal_ && !shared && j0 >= i1) return TileView::kNothing;",
           "", FORWARD, *PRODUCTS),
    Mutant("missing barrier between a gate's sums", "attention_gate_backward.cu",
           "  __syncthreads();  // what was there before has been read\n",
           "\n", ("attention_gate_backward",), *GATES),
    Mutant("copies do not wait for kernels", "src/runtime/device_cuda.cc",
           'return Check(cudaStreamWaitEvent(copy_stream_, places_[place].used, 0), "cannot wait");',
           "return places_[place].used == nullptr ? absl::InternalError(\"\") : absl::OkStatus();", *PLACES),
    Mutant("kernels do not wait for copies", "src/runtime/device_cuda.cc",
           'return Check(cudaStreamWaitEvent(stream_, places_[place].copied, 0), "cannot wait");',
           "return places_[place].copied == nullptr ? absl::InternalError(\"\") : absl::OkStatus();", *PLACES),
    Mutant("a copy is not recorded", "src/runtime/device_cuda.cc",
           'return Check(cudaEventRecord(places_[place].copied, copy_stream_), "cannot record an event");',
           "return places_[place].copied == nullptr ? absl::InternalError(\"\") : absl::OkStatus();", *PLACES),
    Mutant("a use is recorded in the wrong stream", "src/runtime/device_cuda.cc",
           "Check(cudaEventRecord(places_[place].used, stream_)",
           "Check(cudaEventRecord(places_[place].used, copy_stream_)", *PLACES),
    Mutant("a batch is used before it is there", "src/model/device_batch.cc",
           "return context.device().BeginUse(current_);",
           "return absl::OkStatus();", *BATCHES),
    Mutant("a batch is overwritten while it is read", "src/model/device_batch.cc",
           "  RETURN_IF_ERROR(context.device().BeginCopies(other));\n",
           "\n", *BATCHES),
    Mutant("the end of a batch's use is not told", "src/model/device_batch.cc",
           "  RETURN_IF_ERROR(context.device().EndUse(current_));\n",
           "\n", *BATCHES),
    Mutant("the end of a batch's copies is not told", "src/model/device_batch.cc",
           "return context.device().EndCopies(other);",
           "return absl::OkStatus();", *BATCHES),
    Mutant("the wrong batch's use ends", "src/model/device_batch.cc",
           "context.device().EndUse(current_)",
           "context.device().EndUse(1 - current_)", *BATCHES),
    Mutant("the next batch goes where this one lies", "src/model/device_batch.cc",
           "CopyInto(context.device(), batch, places_[other])",
           "CopyInto(context.device(), batch, places_[current_])", *BATCHES),
)
