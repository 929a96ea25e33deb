#include "kernels/cpu/onednn_cache.h"

#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "kernels/cpu/block_packing.h"

namespace sluice::cpu {
namespace {

using dnnl::memory;

memory::data_type DataType(ElementType type) {
  switch (type) {
    case ElementType::kFloat:
      return memory::data_type::f32;
    case ElementType::kBf16:
      return memory::data_type::bf16;
    case ElementType::kInt8:
      return memory::data_type::s8;
    case ElementType::kInt32:
      return memory::data_type::s32;
  }
  return memory::data_type::undef;
}

// Of A, for a B of `type`.
memory::data_type LeftDataType(ElementType type) {
  return type == ElementType::kInt8 ? memory::data_type::u8 : DataType(type);
}

memory::desc RowMajor(int64_t rows, int64_t columns, int64_t stride, ElementType type) {
  return memory::desc({rows, columns}, DataType(type), memory::dims{stride, 1});
}

memory::desc Plain(const MatrixLayout& layout) {
  return memory::desc({layout.inner, layout.columns}, DataType(layout.type),
                      memory::dims{layout.inner_stride, layout.column_stride});
}

dnnl::primitive_attr Attributes(bool add_to_c) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (add_to_c) {
    dnnl::post_ops operations;
    operations.append_sum(1.0f);
    attributes.set_post_ops(operations);
  }
  return attributes;
}

// Whether a packed layout is the one that PackBlocks<T> writes.
template <typename T>
bool LiesInBlocks(const memory::desc& packed, const MatrixLayout& layout) {
  const dnnl_blocking_desc_t& blocking = packed.data.format_desc.blocking;
  const int64_t inner = RoundUp(layout.inner, kPackedBlockInner<T>);
  const bool in_pairs = kPackedWordInner<T> == 2;
  return packed.data.offset0 == 0 && blocking.inner_nblks == (in_pairs ? 3 : 2) &&
         blocking.inner_idxs[0] == 0 && blocking.inner_blks[0] == 16 &&
         blocking.inner_idxs[1] == 1 && blocking.inner_blks[1] == kPackedBlockColumns &&
         (!in_pairs || (blocking.inner_idxs[2] == 0 && blocking.inner_blks[2] == 2)) &&
         blocking.strides[0] == kPackedBlockInner<T> * kPackedBlockColumns &&
         blocking.strides[1] == inner * kPackedBlockColumns &&
         packed.data.padded_dims[0] == inner &&
         packed.data.padded_dims[1] == RoundUp(layout.columns, kPackedBlockColumns);
}

template <typename T>
void PackInBlocks(const MatrixLayout& plain, const void* b, void* packed) {
  PackBlocks<T>({.matrix = static_cast<const T*>(b),
                 .packed = static_cast<T*>(packed),
                 .inner = plain.inner,
                 .columns = plain.columns,
                 .inner_stride = plain.inner_stride,
                 .column_stride = plain.column_stride});
}

// Rows for which a layout is chosen. oneDNN 2.6 chooses by inner and columns alone; were a product
// with other rows unable to read it, FindMatmul would say null and the plain matrix be used.
constexpr int64_t kTypicalRows = 1024;

absl::Status LibraryError(const dnnl::error& error, absl::string_view what, int64_t inner,
                          int64_t columns) {
  return DeviceError(absl::StrCat("oneDNN cannot ", what), error.what(),
                     absl::StrCat("inner ", inner, ", columns ", columns, ", status ",
                                  static_cast<int>(error.status)));
}

bool RunsOn(dnnl::cpu_isa needed) {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  return (isa & static_cast<unsigned>(needed)) == static_cast<unsigned>(needed);
}

}  // namespace

bool HasNativeBf16Matmul() { return RunsOn(dnnl::cpu_isa::avx512_core_bf16); }

bool HasExactInt8Matmul() {
  return RunsOn(dnnl::cpu_isa::avx512_core_vnni) || RunsOn(dnnl::cpu_isa::avx2_vnni);
}

void Executable::AddArgument(int index, const memory::desc& desc, const dnnl::engine& engine) {
  memories_.emplace_back(desc, engine, static_cast<void*>(DNNL_MEMORY_NONE));
  arguments_.push_back({index, memories_.back().get()});
}

void Executable::SetPointer(int index, const void* pointer) {
  for (size_t i = 0; i < arguments_.size(); ++i) {
    if (arguments_[i].arg != index) continue;
    // Setting a pointer makes oneDNN zero the padding of a packed layout again: only when it moved.
    if (memories_[i].get_data_handle() == pointer) return;
    memories_[i].set_data_handle(const_cast<void*>(pointer));
    return;
  }
  CHECK(false) << "no argument " << index;
}

absl::Status Executable::Run(const dnnl::stream& stream) {
  const dnnl_status_t status = dnnl_primitive_execute(
      primitive.get(), stream.get(), static_cast<int>(arguments_.size()), arguments_.data());
  if (status == dnnl_success) return absl::OkStatus();
  return DeviceError("oneDNN failed to run a product", "", absl::StrCat("status ", status));
}

OneDnnCache::OneDnnCache() : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {}

std::unique_ptr<Matmul> OneDnnCache::MakeMatmul(const MatmulShape& shape, const memory::desc& b) {
  const memory::desc a({shape.rows, shape.b.inner}, LeftDataType(shape.b.type),
                       memory::dims{shape.a_stride, 1});
  const memory::desc c = RowMajor(shape.rows, shape.b.columns, shape.c_stride, shape.c_type);
  const memory::desc bias = RowMajor(1, shape.b.columns, shape.b.columns, shape.b.type);
  const dnnl::matmul::desc desc =
      shape.has_bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
  const dnnl::matmul::primitive_desc primitive_desc(desc, Attributes(shape.add_to_c), engine_,
                                                    /*allow_empty=*/true);
  if (!primitive_desc) return nullptr;
  // The library's own reference reads any layout, at a hundredth of the speed.
  if (shape.packed_b && std::strncmp(primitive_desc.impl_info_str(), "ref", 3) == 0) return nullptr;
  auto matmul = std::make_unique<Matmul>();
  Executable& executable = matmul->executable;
  executable.primitive = dnnl::matmul(primitive_desc);
  executable.AddArgument(DNNL_ARG_SRC, a, engine_);
  executable.AddArgument(DNNL_ARG_WEIGHTS, b, engine_);
  if (shape.has_bias) executable.AddArgument(DNNL_ARG_BIAS, bias, engine_);
  executable.AddArgument(DNNL_ARG_DST, c, engine_);
  executable.AddArgument(DNNL_ARG_SCRATCHPAD, primitive_desc.scratchpad_desc(), engine_);
  matmul->scratch_bytes = static_cast<int64_t>(primitive_desc.scratchpad_desc().get_size());
  ++primitive_count_;
  return matmul;
}

absl::StatusOr<Matmul*> OneDnnCache::FindMatmul(const MatmulShape& shape) {
  const auto found = matmuls_.find(shape);
  if (found != matmuls_.end()) return found->second.get();
  memory::desc b = Plain(shape.b);
  if (shape.packed_b) {
    ASSIGN_OR_RETURN(const Packing* packing, FindPacking(shape.b));
    b = packing->packed;
  }
  try {
    return (matmuls_[shape] = MakeMatmul(shape, b)).get();
  } catch (const dnnl::error& error) {
    matmuls_.erase(shape);
    return LibraryError(error, "make a product", shape.b.inner, shape.b.columns);
  }
}

std::unique_ptr<Packing> OneDnnCache::MakePacking(const MatrixLayout& layout) {
  auto packing = std::make_unique<Packing>();
  const memory::desc plain = Plain(layout);
  packing->packed = plain;
  packing->plain = layout;
  const memory::desc any({layout.inner, layout.columns}, DataType(layout.type),
                         memory::format_tag::any);
  const dnnl::matmul::desc desc(
      RowMajor(kTypicalRows, layout.inner, layout.inner, layout.type), any,
      RowMajor(kTypicalRows, layout.columns, layout.columns, layout.type));
  const dnnl::matmul::primitive_desc product(desc, Attributes(false), engine_,
                                             /*allow_empty=*/true);
  if (!product) return packing;
  const memory::desc packed = product.weights_desc();
  if (packed.data.format_kind != dnnl_blocked ||
      packed.data.format_desc.blocking.inner_nblks == 0) {
    return packing;  // plain, perhaps the other way round: not worth a copy
  }
  const dnnl::reorder::primitive_desc reorder(engine_, plain, engine_, packed, Attributes(false));
  packing->packed = packed;
  packing->bytes = static_cast<int64_t>(packed.get_size());
  packing->in_blocks = layout.type == ElementType::kBf16 ? LiesInBlocks<bf16>(packed, layout)
                                                         : LiesInBlocks<float>(packed, layout);
  packing->scratch_bytes = static_cast<int64_t>(reorder.scratchpad_desc().get_size());
  packing->executable.primitive = dnnl::reorder(reorder);
  packing->executable.AddArgument(DNNL_ARG_FROM, plain, engine_);
  packing->executable.AddArgument(DNNL_ARG_TO, packed, engine_);
  packing->executable.AddArgument(DNNL_ARG_SCRATCHPAD, reorder.scratchpad_desc(), engine_);
  ++primitive_count_;
  return packing;
}

absl::StatusOr<Packing*> OneDnnCache::FindPacking(const MatrixLayout& layout) {
  const auto found = packings_.find(layout);
  if (found != packings_.end()) return found->second.get();
  try {
    return (packings_[layout] = MakePacking(layout)).get();
  } catch (const dnnl::error& error) {
    packings_.erase(layout);
    return LibraryError(error, "lay out a matrix", layout.inner, layout.columns);
  }
}

absl::Status OneDnnCache::Run(Matmul& matmul, const MatmulOperands& operands, void* scratch) {
  Executable& executable = matmul.executable;
  executable.SetPointer(DNNL_ARG_SRC, operands.a);
  executable.SetPointer(DNNL_ARG_WEIGHTS, operands.b);
  if (operands.bias != nullptr) executable.SetPointer(DNNL_ARG_BIAS, operands.bias);
  executable.SetPointer(DNNL_ARG_DST, operands.c);
  executable.SetPointer(DNNL_ARG_SCRATCHPAD, scratch);
  return executable.Run(stream_);
}

absl::Status OneDnnCache::Pack(Packing& packing, const void* b, void* packed, void* scratch) {
  if (packing.in_blocks) {
    const auto pack =
        packing.plain.type == ElementType::kBf16 ? PackInBlocks<bf16> : PackInBlocks<float>;
    pack(packing.plain, b, packed);
    return absl::OkStatus();
  }
  packing.executable.SetPointer(DNNL_ARG_FROM, b);
  packing.executable.SetPointer(DNNL_ARG_TO, packed);
  packing.executable.SetPointer(DNNL_ARG_SCRATCHPAD, scratch);
  return packing.executable.Run(stream_);
}

}  // namespace sluice::cpu
