#include "emulator/cudnn_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/bf16.h"
#include "core/fp16.h"
#include "emulator/report.h"

namespace sluice::emulator {
namespace {

float Load(const u8* memory, cudnnDataType_t type, int64_t i) {
  if (type == CUDNN_DATA_FLOAT) return reinterpret_cast<const float*>(memory)[i];
  if (type == CUDNN_DATA_BFLOAT16) return reinterpret_cast<const bf16*>(memory)[i];
  return reinterpret_cast<const fp16*>(memory)[i];
}
void Store(float value, u8* memory, cudnnDataType_t type, int64_t i) {
  if (type == CUDNN_DATA_FLOAT) {
    reinterpret_cast<float*>(memory)[i] = value;
  } else if (type == CUDNN_DATA_BFLOAT16) {
    reinterpret_cast<bf16*>(memory)[i] = bf16(value);
  } else {
    reinterpret_cast<fp16*>(memory)[i] = fp16(value);
  }
}
// As operands enter tensor cores.
float Rounded(float value, cudnnDataType_t type) {
  return type == CUDNN_DATA_BFLOAT16 ? static_cast<float>(bf16(value))
                                     : static_cast<float>(fp16(value));
}

struct Place {
  int64_t b, h, t = 0;
};

u8* Row(const Task& task, const CudnnTensor& tensor, const Place& place, Access access,
        const char* what) {
  const int64_t offset =
      place.b * tensor.strides[0] + place.h * tensor.strides[1] + place.t * tensor.strides[2];
  return ReachFromLibrary(
      task, static_cast<const u8*>(tensor.memory) + offset * tensor.element_bytes(),
      static_cast<size_t>(tensor.sizes[3] * tensor.element_bytes()), access, what);
}

// Head h of row b: (T, D).
std::vector<float> ReadHead(const Task& task, const CudnnTensor& tensor, int64_t b, int64_t h,
                            const char* what) {
  const int64_t T = tensor.sizes[2], D = tensor.sizes[3];
  std::vector<float> values(static_cast<size_t>(T * D));
  for (int64_t t = 0; t < T; ++t) {
    const u8* row = Row(task, tensor, {b, h, t}, Access::kRead, what);
    for (int64_t d = 0; d < D; ++d) values[t * D + d] = Load(row, tensor.type, d);
  }
  return values;
}
std::vector<float> ReadInput(const Task& task, const CudnnTensor& tensor, int64_t b, int64_t h,
                             const char* what) {
  std::vector<float> values = ReadHead(task, tensor, b, h, what);
  for (const float value : values) {
    if (!std::isfinite(value)) FailOnHost("cuDNN: %s has a value that is not finite", what);
  }
  return values;
}
// NaN from row `length` on.
void WriteHead(const Task& task, const CudnnTensor& tensor, const Place& head, int64_t length,
               const std::vector<float>& values, const char* what) {
  const int64_t T = tensor.sizes[2], D = tensor.sizes[3];
  for (int64_t t = 0; t < T; ++t) {
    u8* row = Row(task, tensor, {head.b, head.h, t}, Access::kWrite, what);
    for (int64_t d = 0; d < D; ++d) {
      Store(t < length ? values[t * D + d] : std::numeric_limits<float>::quiet_NaN(), row,
            tensor.type, d);
    }
  }
}

int64_t LengthOf(const Task& task, const CudnnTensor& lengths, int64_t b, int64_t T) {
  if (!lengths.exists()) return T;
  const int32_t length = reinterpret_cast<const int32_t*>(
      Row(task, lengths, {b, 0}, Access::kRead, "a sequence's length"))[0];
  if (length < 0 || length > T) FailOnHost("cuDNN: a sequence of %d of %ld tokens", length, T);
  return length;
}

float Dot(const float* a, const float* b, int64_t count) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// One head of one row of the batch.
struct Head {
  int64_t b, h, D, queries, keys;  // queries and keys that are not padding
  bool causal;
  float scale;
  std::vector<float> q, k, v;

  int64_t visible(int64_t i) const { return causal ? std::min(i + 1, keys) : keys; }
  float score(int64_t i, int64_t j) const { return scale * Dot(&q[i * D], &k[j * D], D); }
};

template <typename Body>
void ForEachHead(const Task& task, const CudnnAttentionTensors& tensors, const Body& body) {
  const auto [B, H, T, D] = tensors.q.sizes;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t h = 0; h < H; ++h) {
      body(Head{.b = b,
                .h = h,
                .D = D,
                .queries = LengthOf(task, tensors.query_lengths, b, T),
                .keys = LengthOf(task, tensors.key_lengths, b, T),
                .causal = tensors.causal,
                .scale = *static_cast<const float*>(tensors.scale.memory),
                .q = ReadInput(task, tensors.q, b, h, "Q"),
                .k = ReadInput(task, tensors.k, b, h, "K"),
                .v = ReadInput(task, tensors.v, b, h, "V")});
    }
  }
}

}  // namespace

void RunCudnnForward(const Task& task, const CudnnAttentionTensors& tensors) {
  ForEachHead(task, tensors, [&](const Head& head) {
    std::vector<float> o(head.q.size()), statistics(static_cast<size_t>(tensors.q.sizes[2]));
    std::vector<float> scores(statistics.size());
    for (int64_t i = 0; i < head.queries; ++i) {
      const int64_t visible = head.visible(i);
      float largest = -std::numeric_limits<float>::infinity(), sum = 0;
      for (int64_t j = 0; j < visible; ++j) {
        scores[j] = head.score(i, j);
        largest = std::max(largest, scores[j]);
      }
      for (int64_t j = 0; j < visible; ++j) {
        const float p = std::exp(scores[j] - largest);
        sum += p;
        const float rounded = Rounded(p, tensors.v.type);
        for (int64_t d = 0; d < head.D; ++d) o[i * head.D + d] += rounded * head.v[j * head.D + d];
      }
      for (int64_t d = 0; d < head.D; ++d) o[i * head.D + d] /= sum;
      statistics[i] = largest + std::log(sum);
    }
    WriteHead(task, tensors.o, {head.b, head.h}, head.queries, o, "O");
    if (tensors.statistics.exists()) {
      WriteHead(task, tensors.statistics, {head.b, head.h}, head.queries, statistics, "statistics");
    }
  });
}

void RunCudnnBackward(const Task& task, const CudnnAttentionTensors& tensors) {
  ForEachHead(task, tensors, [&](const Head& head) {
    const int64_t D = head.D;
    const cudnnDataType_t type = tensors.q.type;
    const std::vector<float> o = ReadInput(task, tensors.o, head.b, head.h, "O");
    const std::vector<float> dout = ReadInput(task, tensors.dout, head.b, head.h, "dO");
    const std::vector<float> statistics =
        ReadHead(task, tensors.statistics, head.b, head.h, "statistics");
    std::vector<float> dq(o.size()), dk(o.size()), dv(o.size());
    for (int64_t i = 0; i < head.queries; ++i) {
      const float mean = Dot(&dout[i * D], &o[i * D], D);
      for (int64_t j = 0; j < head.visible(i); ++j) {
        const float p = std::exp(head.score(i, j) - statistics[i]);
        const float dscore =
            Rounded(p * (Dot(&dout[i * D], &head.v[j * D], D) - mean), type) * head.scale;
        const float rounded = Rounded(p, type);
        for (int64_t d = 0; d < D; ++d) {
          dq[i * D + d] += dscore * head.k[j * D + d];
          dk[j * D + d] += dscore * head.q[i * D + d];
          dv[j * D + d] += rounded * dout[i * D + d];
        }
      }
    }
    WriteHead(task, tensors.dq, {head.b, head.h}, head.queries, dq, "dQ");
    WriteHead(task, tensors.dk, {head.b, head.h}, head.keys, dk, "dK");
    WriteHead(task, tensors.dv, {head.b, head.h}, head.keys, dv, "dV");
  });
}

}  // namespace sluice::emulator
