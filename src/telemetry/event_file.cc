#include "telemetry/event_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

constexpr absl::string_view kFilePrefix = "events.out.tfevents.";
constexpr size_t kHeaderBytes = 12;  // length and its checksum
constexpr size_t kFooterBytes = 4;

static_assert(std::endian::native == std::endian::little, "records are little-endian");

template <typename T>
void AppendBytes(T value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Fields of a protocol buffer: key (number · 8 + wire type), then the value.
class Message {
 public:
  void Double(int field, double value) { Fixed(field, 1, value); }
  void Float(int field, float value) { Fixed(field, 5, value); }
  void Integer(int field, int64_t value) {  // 0 is what a field that is not there means
    if (value == 0) return;
    Varint(static_cast<uint64_t>(field) << 3);
    Varint(static_cast<uint64_t>(value));
  }
  void Bytes(int field, absl::string_view value) {
    Varint(static_cast<uint64_t>(field) << 3 | 2);
    Varint(value.size());
    bytes_.append(value.data(), value.size());
  }
  void Doubles(int field, const std::vector<double>& values) {
    Bytes(field, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)});
  }
  const std::string& bytes() const { return bytes_; }

 private:
  template <typename T>
  void Fixed(int field, int wire_type, T value) {
    Varint(static_cast<uint64_t>(field) << 3 | wire_type);
    AppendBytes(value, bytes_);
  }
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }
  std::string bytes_;
};

// An Event of now; `field` is file_version (3) or summary (5).
std::string EncodeEvent(int64_t step, int field, absl::string_view content) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  Message event;
  event.Double(1, now.count());
  event.Integer(2, step);
  event.Bytes(field, content);
  return event.bytes();
}

// A value of a summary under its tag.
Message Tagged(const std::string& tag) {
  Message value;
  value.Bytes(1, tag);
  return value;
}

Message EncodeHistogram(const EventHistogram& histogram) {
  Message message;
  message.Double(1, histogram.minimum);
  message.Double(2, histogram.maximum);
  message.Double(3, histogram.count);
  message.Double(4, histogram.sum);
  message.Double(5, histogram.sum_of_squares);
  message.Doubles(6, histogram.bounds);
  message.Doubles(7, histogram.counts);
  return message;
}

Message EncodeImage(const EventImage& image) {
  constexpr int64_t kGrey = 1;
  Message message;
  message.Integer(1, image.height);
  message.Integer(2, image.width);
  message.Integer(3, kGrey);
  message.Bytes(4, image.png);
  return message;
}

// Reads a varint at `at` and moves behind it; 0 and `at` past the end when there is none.
uint64_t ReadVarint(absl::string_view bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0; at < bytes.size() && shift < 64; shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes[at++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  at = bytes.size();
  return 0;
}

std::vector<std::string> FilesIn(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, kFilePrefix) && !absl::EndsWith(name, ".part")) {
      files.push_back(entry.path().string());
    }
  }
  return files;
}

// Keeps what belongs to steps up to last_step.
absl::Status RemoveLaterEvents(const std::string& path, int64_t last_step) {
  ASSIGN_OR_RETURN(const EventRecords records, ReadEventRecords(path));
  std::string kept;
  for (const std::string& event : records.events) {
    if (StepOfEvent(event) <= last_step) kept += EncodeEventRecord(event);
  }
  std::error_code error;
  if (kept.empty()) {
    std::filesystem::remove(path, error);
    return error ? DeviceError("cannot remove events", path, error.message()) : absl::OkStatus();
  }
  const auto size = std::filesystem::file_size(path, error);
  if (!error && size == kept.size()) return absl::OkStatus();
  const std::string part = path + ".part";
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  out << kept;
  out.close();
  if (!out) return DeviceError("cannot write events", part);
  std::filesystem::rename(part, path, error);
  return error ? DeviceError("cannot write events", path, error.message()) : absl::OkStatus();
}

}  // namespace

uint32_t Crc32c(absl::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> entries;
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
      entries[i] = value;
    }
    return entries;
  }();
  uint32_t crc = ~0u;
  for (char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

uint32_t MaskedCrc32c(absl::string_view bytes) {
  return std::rotr(Crc32c(bytes), 15) + 0xa282ead8u;
}

std::string EncodeEventRecord(absl::string_view event) {
  std::string record;
  AppendBytes(static_cast<uint64_t>(event.size()), record);
  AppendBytes(MaskedCrc32c(record), record);
  record.append(event.data(), event.size());
  AppendBytes(MaskedCrc32c(event), record);
  return record;
}

absl::StatusOr<EventRecords> ReadEventRecords(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in) return DataError("cannot read events", path);
  EventRecords records;
  const absl::string_view all = bytes;
  size_t at = 0;
  while (all.size() - at >= kHeaderBytes + kFooterBytes) {
    uint64_t length;
    std::memcpy(&length, all.data() + at, sizeof length);
    const size_t rest = all.size() - at - kHeaderBytes - kFooterBytes;
    if (length > rest) break;
    const absl::string_view event = all.substr(at + kHeaderBytes, length);
    const std::string record = EncodeEventRecord(event);
    if (all.substr(at, record.size()) != record) break;  // a checksum does not hold
    records.events.emplace_back(event);
    at += record.size();
  }
  records.bytes = static_cast<int64_t>(at);
  return records;
}

int64_t StepOfEvent(absl::string_view event) {
  for (size_t at = 0; at < event.size();) {
    const uint64_t key = ReadVarint(event, at);
    switch (key & 7) {
      case 0: {
        const uint64_t value = ReadVarint(event, at);
        if (key >> 3 == 2) return static_cast<int64_t>(value);
        break;
      }
      case 1:
        at += 8;
        break;
      case 2: {
        const uint64_t length = ReadVarint(event, at);
        at = length > event.size() - at ? event.size() : at + length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        return 0;
    }
  }
  return 0;
}

absl::Status EventFile::Open(const std::string& folder, int64_t resumed_step) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return DeviceError("cannot create the folder of events", folder, error.message());
  const std::vector<std::string> older = FilesIn(folder);
  for (const std::string& path : older) RETURN_IF_ERROR(RemoveLaterEvents(path, resumed_step));
  // TensorBoard reads files in the order of their names.
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch());
  path_ =
      absl::StrFormat("%s/%s%010d.sluice.%d", folder, kFilePrefix, seconds.count(), older.size());
  stream_.open(path_, std::ios::binary | std::ios::trunc);
  if (!stream_) return DeviceError("cannot write events", path_);
  return Append(EncodeEvent(0, 3, "brain.Event:2"));
}

absl::Status EventFile::Write(int64_t step, const std::vector<EventScalar>& scalars,
                              const std::vector<EventHistogram>& histograms,
                              const std::vector<EventImage>& images) {
  Message summary;
  for (const EventScalar& scalar : scalars) {
    Message value = Tagged(scalar.tag);
    value.Float(2, static_cast<float>(scalar.value));
    summary.Bytes(1, value.bytes());
  }
  for (const EventHistogram& histogram : histograms) {
    Message value = Tagged(histogram.tag);
    value.Bytes(5, EncodeHistogram(histogram).bytes());
    summary.Bytes(1, value.bytes());
  }
  for (const EventImage& image : images) {
    Message value = Tagged(image.tag);
    value.Bytes(4, EncodeImage(image).bytes());
    summary.Bytes(1, value.bytes());
  }
  return summary.bytes().empty() ? absl::OkStatus() : Append(EncodeEvent(step, 5, summary.bytes()));
}

absl::Status EventFile::Append(const std::string& event) {
  stream_ << EncodeEventRecord(event) << std::flush;
  if (!stream_) return DeviceError("cannot write events (is the disk full?)", path_);
  return absl::OkStatus();
}

}  // namespace sluice
