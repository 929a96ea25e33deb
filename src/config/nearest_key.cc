#include "config/nearest_key.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "config/fields.h"

namespace sluice {
namespace {

// Names that other trainers and papers use.
constexpr std::pair<const char*, const char*> kOtherNames[] = {
    {"lr", "optimizer.learning_rate"},
    {"peak_lr", "optimizer.learning_rate"},
    {"wd", "optimizer.weight_decay"},
    {"grad_clip", "optimizer.max_grad_norm"},
    {"clip_grad", "optimizer.max_grad_norm"},
    {"warmup", "schedule.warmup_steps"},
    {"warmup_iters", "schedule.warmup_steps"},
    {"num_warmup_steps", "schedule.warmup_steps"},
    {"lr_scheduler_type", "schedule.shape"},
    {"lr_schedule", "schedule.shape"},
    {"max_steps", "training.steps"},
    {"max_train_steps", "training.steps"},
    {"train_iters", "training.steps"},
    {"num_steps", "training.steps"},
    {"batch_size", "training.global_batch_size"},
    {"train_batch_size", "training.global_batch_size"},
    {"accumulation_steps", "training.gradient_accumulation_steps"},
    {"grad_accumulation_steps", "training.gradient_accumulation_steps"},
    {"dtype", "training.precision"},
    {"eval_interval", "training.evaluate_every"},
    {"eval_every", "training.evaluate_every"},
    {"log_interval", "training.log_every"},
    {"checkpointing_steps", "checkpoint.every"},
    {"save_interval", "checkpoint.every"},
    {"save_every", "checkpoint.every"},
    {"max_seq_length", "data.sequence_length"},
    {"seq_length", "data.sequence_length"},
    {"seq_len", "data.sequence_length"},
    {"block_size", "data.sequence_length"},
    {"n_layer", "model.num_hidden_layers"},
    {"num_layers", "model.num_hidden_layers"},
    {"layers", "model.num_hidden_layers"},
    {"n_head", "model.num_attention_heads"},
    {"num_heads", "model.num_attention_heads"},
    {"heads", "model.num_attention_heads"},
    {"n_embd", "model.hidden_size"},
    {"d_model", "model.hidden_size"},
    {"d_ff", "model.intermediate_size"},
    {"ffn_dim", "model.intermediate_size"},
    {"dropout", "model.hidden_dropout_prob"},
    {"attention_dropout", "model.attention_probs_dropout_prob"},
    {"activation", "model.hidden_act"},
    {"bucket_cap_mb", "runtime.gradient_bucket_bytes"},
    {"num_threads", "runtime.threads"},
    {"train_data", "data.train"},
    {"valid", "data.validation"},
    {"val", "data.validation"},
};

std::vector<std::string> AllPaths() {
  std::set<std::string> paths;
  for (const Field& field : FieldTable()) {
    for (size_t dot = field.key.find('.'); dot != std::string::npos;
         dot = field.key.find('.', dot + 1)) {
      paths.insert(field.key.substr(0, dot));
    }
    paths.insert(field.key);
  }
  return {paths.begin(), paths.end()};
}

absl::string_view LastPart(absl::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == absl::string_view::npos ? path : path.substr(dot + 1);
}

}  // namespace

int EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<int> before_previous;
  std::vector<int> previous(b.size() + 1);
  std::vector<int> current(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) previous[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int substituted = previous[j - 1] + (a[i - 1] != b[j - 1]);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, substituted});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before_previous[j - 2] + 1);
      }
    }
    before_previous = previous;
    std::swap(previous, current);
  }
  return previous[b.size()];
}

std::string NearestKey(absl::string_view path) {
  constexpr size_t kLongestTypo = 100;
  if (path.size() > kLongestTypo) return "";
  const std::string lower = absl::AsciiStrToLower(path);
  const absl::string_view last = LastPart(lower);
  const std::vector<std::string> paths = AllPaths();
  for (const auto& [other, key] : kOtherNames) {
    if (last == other) return key;
  }
  std::string nearest;
  int nearest_distance = static_cast<int>(lower.size()) / 3 + 1;
  for (const std::string& candidate : paths) {
    if (const int distance = EditDistance(lower, candidate); distance < nearest_distance) {
      nearest = candidate;
      nearest_distance = distance;
    }
  }
  if (nearest_distance <= 2 && !nearest.empty()) return nearest;
  for (const std::string& candidate : paths) {
    if (LastPart(candidate) == last) return candidate;
  }
  for (const std::string& candidate : paths) {  // a typo and the wrong section
    if (last.size() > 5 && EditDistance(LastPart(candidate), last) <= 2) return candidate;
  }
  return nearest;
}

}  // namespace sluice
