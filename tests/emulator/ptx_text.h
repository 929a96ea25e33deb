// Pieces of PTX text.
#pragma once

#include <string>
#include <vector>

#include "emulator/program.h"

namespace sluice::emulator {

// Stops the program: this PTX is not understood.
[[noreturn]] void RejectPtx(const std::string& what, const std::string& where);

std::string Trim(const std::string& text);
// Between separators that are outside of brackets and braces; each part trimmed.
std::vector<std::string> Split(const std::string& text, char separator);
std::vector<std::string> Words(const std::string& text);
std::string WithoutComments(const std::string& text);
bool IsNameCharacter(char c);
bool IsDigit(char c);
bool StartsWith(const std::string& text, const char* prefix);
// The index of the bracket that closes the one at `open`.
size_t ClosingBracket(const std::string& text, size_t open, char left, char right);

// Bytes of a type such as "f32", "b16", "bf16x2"; 1 for "pred".
u32 TypeBytes(const std::string& type);
// Is it a type with a size, such as u32 or bf16x2?
bool IsSizedType(const std::string& word);

// ".extern .shared .align 16 .b8 name[64]"
struct Declaration {
  std::string name;
  u32 bytes;
  u32 element_bytes;
  u32 alignment;
  bool external;
};
Declaration ParseDeclaration(const std::string& text);

// An operation's name and its parts: "ld.global.v4.f32" is {"ld", "global", "v4", "f32"}.
struct Opcode {
  std::vector<std::string> parts;

  const std::string& name() const { return parts.front(); }
  const std::string& type() const { return parts.back(); }
  bool Is(const char* name) const { return parts.front() == name; }
  bool Has(const char* part) const;
  bool IsOneOf(std::initializer_list<const char*> names) const;
  // The first of these parts that the opcode has, or "".
  std::string FirstOf(std::initializer_list<const char*> candidates) const;
};

}  // namespace sluice::emulator
