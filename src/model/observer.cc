#include "model/observer.h"

#include <vector>

#include "core/status.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {

// Values of the mask on the host: `values` of the device where there is one, else null.
absl::StatusOr<HostTensor> ReadMask(ExecutionContext& context, const int32_t* values,
                                    const Shape& shape) {
  return HostTensor::Read(
      context.device(),
      values == nullptr ? TensorView() : TensorView::Of(const_cast<int32_t*>(values), shape));
}

}  // namespace

absl::StatusOr<bool> ObserverChain::ObserveInPlace(ExecutionContext& context, int layer,
                                                   absl::string_view tensor,
                                                   const TensorView& view) {
  first_done_ = second_done_ = false;
  if (first_.Wants(tensor)) {
    ASSIGN_OR_RETURN(first_done_, first_.ObserveInPlace(context, layer, tensor, view));
  } else {
    first_done_ = true;
  }
  // What the first one changes in Observe comes before the second one's look.
  if (!first_done_ && first_.changes_values()) return false;
  if (second_.Wants(tensor)) {
    ASSIGN_OR_RETURN(second_done_, second_.ObserveInPlace(context, layer, tensor, view));
  } else {
    second_done_ = true;
  }
  return first_done_ && second_done_;
}

void ObserverChain::Observe(int layer, absl::string_view tensor, const TensorView& view) {
  if (!first_done_ && first_.Wants(tensor)) first_.Observe(layer, tensor, view);
  if (!second_done_ && second_.Wants(tensor)) second_.Observe(layer, tensor, view);
}

absl::Status Show(ExecutionContext& context, Observer* observer, int layer, absl::string_view name,
                  const TensorView& tensor) {
  if (observer == nullptr || tensor.null() || name.empty() || !observer->Wants(name)) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const bool done, observer->ObserveInPlace(context, layer, name, tensor));
  if (done) return absl::OkStatus();
  ASSIGN_OR_RETURN(HostTensor host, HostTensor::Read(context.device(), tensor));
  observer->Observe(layer, name, host.view());
  return observer->changes_values() ? host.Store() : absl::OkStatus();
}

absl::Status ShowAttention(ExecutionContext& context, Observer& observer, int layer,
                           const ObservedAttention& attention) {
  Device& device = context.device();
  ASSIGN_OR_RETURN(const HostTensor qkv, HostTensor::Read(device, attention.qkv));
  ASSIGN_OR_RETURN(const HostTensor gate, HostTensor::Read(device, attention.gate));
  ASSIGN_OR_RETURN(const HostTensor sink_logit, HostTensor::Read(device, attention.sink_logit));
  ASSIGN_OR_RETURN(const HostTensor sink_key, HostTensor::Read(device, attention.sink_key));
  ASSIGN_OR_RETURN(const HostTensor sink_value, HostTensor::Read(device, attention.sink_value));
  ASSIGN_OR_RETURN(const HostTensor lengths,
                   ReadMask(context, attention.mask.lengths, {attention.B}));
  ASSIGN_OR_RETURN(const HostTensor documents,
                   ReadMask(context, attention.mask.documents, {attention.B, attention.T}));
  ASSIGN_OR_RETURN(HostTensor out, HostTensor::Read(device, attention.context));
  ObservedAttention host = {.B = attention.B,
                            .T = attention.T,
                            .H = attention.H,
                            .D = attention.D,
                            .qkv = qkv.view(),
                            .gate = gate.view(),
                            .sink_logit = sink_logit.view(),
                            .sink_key = sink_key.view(),
                            .sink_value = sink_value.view(),
                            .variant = attention.variant,
                            .mask = attention.mask,
                            .context = out.view()};
  host.mask.lengths = lengths.view().as<int32_t>();
  host.mask.documents = documents.view().as<int32_t>();
  RETURN_IF_ERROR(observer.ObserveAttention(layer, host));
  return observer.attention_look() == Observer::AttentionLook::kReplace ? out.Store()
                                                                        : absl::OkStatus();
}

}  // namespace sluice
