// CHECKs for our own mistakes: always on, print both sides, abort. Input of the outside world is
// never CHECKed: core/error.h.
//
//   CHECK(!layers.empty()) << "model " << name;
//   CHECK_EQ(weight.dim(1), in_features);
//
// DCHECK is CHECK in builds without NDEBUG and compiles to nothing otherwise: for hot inner code
// only.
#pragma once

#include <memory>
#include <sstream>
#include <string>

namespace sluice::check_internal {

// Collects the message; its destructor prints it to stderr and aborts.
class Failure {
 public:
  Failure(const char* file, int line, const std::string& condition);
  [[noreturn]] ~Failure();
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

template <typename A, typename B>
std::string Describe(const char* text, const A& a, const B& b) {
  std::ostringstream out;
  out << text << " (" << a << " vs. " << b << ")";
  return out.str();
}

// Null when `op(a, b)` holds, else the description of both sides.
template <typename A, typename B, typename Op>
std::unique_ptr<std::string> Compare(const char* text, const A& a, const B& b, Op op) {
  if (op(a, b)) return nullptr;
  return std::make_unique<std::string>(Describe(text, a, b));
}

}  // namespace sluice::check_internal

// `while` and not `if`: a CHECK may be the body of an if without braces. It never repeats, Failure
// ends the program.
#define CHECK(condition) \
  while (!(condition))   \
  [[unlikely]] ::sluice::check_internal::Failure(__FILE__, __LINE__, #condition).stream()

#define SLUICE_CHECK_OP(op, a, b)                                                              \
  while (auto sluice_failure = ::sluice::check_internal::Compare(                              \
             #a " " #op " " #b, (a), (b),                                                      \
             [](const auto& sluice_a, const auto& sluice_b) { return sluice_a op sluice_b; })) \
  ::sluice::check_internal::Failure(__FILE__, __LINE__, *sluice_failure).stream()

#define CHECK_EQ(a, b) SLUICE_CHECK_OP(==, a, b)
#define CHECK_NE(a, b) SLUICE_CHECK_OP(!=, a, b)
#define CHECK_LT(a, b) SLUICE_CHECK_OP(<, a, b)
#define CHECK_LE(a, b) SLUICE_CHECK_OP(<=, a, b)
#define CHECK_GT(a, b) SLUICE_CHECK_OP(>, a, b)
#define CHECK_GE(a, b) SLUICE_CHECK_OP(>=, a, b)
#define CHECK_OK(expression)                                           \
  for (const auto& sluice_status = (expression); !sluice_status.ok();) \
  ::sluice::check_internal::Failure(__FILE__, __LINE__, #expression).stream() << sluice_status

#ifdef NDEBUG
#define DCHECK(condition) \
  while (false) CHECK(condition)
#else
#define DCHECK(condition) CHECK(condition)
#endif
