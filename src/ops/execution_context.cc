#include "ops/execution_context.h"

#include <algorithm>

#include "core/check.h"
#include "core/integer_math.h"

namespace sluice {

void OpTimes::Add(absl::string_view op, double seconds) {
  auto entry =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.op == op; });
  if (entry == entries_.end()) entry = entries_.insert(entries_.end(), Entry{op});
  entry->seconds += seconds;
  ++entry->calls;
}

void ExecutionContext::NeedWorkspace(int64_t bytes) {
  CHECK(workspace_ == nullptr) << "workspace is reserved already";
  workspace_bytes_ = std::max(workspace_bytes_, bytes);
}

void ExecutionContext::ReserveWorkspace(Arena& arena) {
  CHECK(workspace_ == nullptr) << "workspace is reserved already";
  workspace_ = arena.Reserve("workspace", MemoryPurpose::kScratch, DType::kInt32,
                             {CeilDiv(workspace_bytes_, 4)});
  if (!on_cuda()) return;
  linear_workspace_ = arena.Reserve("linear workspace", MemoryPurpose::kScratch, DType::kInt32,
                                    {CeilDiv(cuda::kLinearWorkspaceBytes, 4)});
}

cuda::LinearContext& ExecutionContext::cuda_linear() {
  CHECK(linear_workspace_ != nullptr && !linear_workspace_->null()) << "no workspace was planned";
  cuda_linear_.SetWorkspace(linear_workspace_->data());
  return cuda_linear_;
}

void* ExecutionContext::workspace(int64_t bytes) const {
  if (bytes == 0) return nullptr;
  CHECK(workspace_ != nullptr && !workspace_->null()) << "no workspace was planned";
  CHECK_LE(bytes, workspace_bytes_);
  return workspace_->data();
}

}  // namespace sluice
