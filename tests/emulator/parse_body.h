// Parses the body of one kernel: declarations and instructions.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "emulator/program.h"
#include "emulator/ptx_text.h"

namespace sluice::emulator {

class BodyParser {
 public:
  BodyParser(Kernel& kernel, Module& module) : kernel_(kernel), module_(module) {}

  // The kernel's own parameter list.
  void AddParameters(const std::string& list);
  // One static .shared variable, with a red zone behind it.
  void AddShared(const std::string& declaration);
  // Where dynamic shared memory begins, known under each of these names; after all static ones.
  void AddDynamicShared(const std::vector<std::string>& names);
  void Parse(const std::string& body);

 private:
  void AddDirective(const std::string& text);
  void AddRegisters(const std::string& text);
  void AddStatement(const std::string& text);
  void AddGuard(const std::string& predicate, Instruction& instruction);
  // One comma-separated argument, number `index`, whose immediates are `bytes` wide.
  void AddArgument(const std::string& argument, size_t index, const Opcode& opcode,
                   Instruction& instruction);
  void AddAddress(const std::string& text, Instruction& instruction);
  void AddOperand(std::string text, u8 bytes, const Opcode& opcode, Instruction& instruction);

  u32 Allocate(u8 bytes);
  u32 PlaceOfConstant(u64 value, u8 bytes);
  u32 PlaceOfSpecial(const std::string& name);
  u32 PlaceOf(const std::string& text, u8 bytes);
  u64 AddressOf(const std::string& name) const;
  const Register* Find(const std::string& name) const;
  int AddPlace(const std::string& loc);
  void ResolveBranches();

  Kernel& kernel_;
  Module& module_;
  std::vector<std::map<std::string, Register>> scopes_{1};
  std::map<std::string, Symbol> symbols_;
  std::map<std::string, u32> labels_;
  std::vector<std::pair<u32, std::string>> branches_;
  std::map<std::pair<u64, u8>, u32> constants_;
  std::map<std::string, u32> specials_;
  int place_ = -1;
};

}  // namespace sluice::emulator
