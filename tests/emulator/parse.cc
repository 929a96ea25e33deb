// Parses a module: its files, variables and kernels.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulator/device_memory.h"
#include "emulator/parse_body.h"
#include "emulator/program.h"
#include "emulator/ptx_text.h"

namespace sluice::emulator {
namespace {

struct Entry {
  std::string name, parameters, attributes, body;
};

class ModuleParser {
 public:
  ModuleParser(std::string text, Module& module) : text_(std::move(text)), module_(module) {}

  void Parse() {
    for (SkipSpace(); at_ < text_.size(); SkipSpace()) ParseItem();
    for (const Entry& entry : entries_) ParseKernel(entry);
  }

 private:
  void SkipSpace() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  void ParseItem();
  void ParseEntry();
  void AddVariable(const std::string& text);
  void ParseKernel(const Entry& entry);
  void AddSharedVariables(std::string& body, BodyParser& parser);

  std::string text_;
  Module& module_;
  size_t at_ = 0;
  std::vector<std::string> shared_variables_;
  std::vector<Entry> entries_;
};

void ModuleParser::ParseItem() {
  const size_t line_end = std::min(text_.find('\n', at_), text_.size());
  const std::string head = text_.substr(at_, line_end - at_);
  const std::string first = Words(head)[0];
  if (first == ".version" || first == ".target" || first == ".address_size") {
    at_ = line_end;
    return;
  }
  if (first == ".file") {
    int number = 0;
    char name[4096];
    if (std::sscanf(head.c_str(), ".file %d \"%4095[^\"]\"", &number, name) == 2) {
      module_.files[number] = name;
    }
    at_ = line_end;
    return;
  }
  if (first == ".section") {
    at_ = ClosingBracket(text_, text_.find('{', at_), '{', '}') + 1;
    return;
  }
  if (head.find(".entry") != std::string::npos) return ParseEntry();
  const size_t semicolon = text_.find(';', at_), brace = text_.find('{', at_);
  if (head.find(".func") != std::string::npos) {  // a call of it stops the emulator when it runs
    at_ = (brace < semicolon ? ClosingBracket(text_, brace, '{', '}') : semicolon) + 1;
    return;
  }
  AddVariable(Trim(text_.substr(at_, semicolon - at_)));
  at_ = semicolon + 1;
}

void ModuleParser::ParseEntry() {
  const size_t name = text_.find(".entry", at_) + 6, open = text_.find('(', name);
  const size_t close = ClosingBracket(text_, open, '(', ')');
  const size_t begin = text_.find('{', close), end = ClosingBracket(text_, begin, '{', '}');
  entries_.push_back(
      {Trim(text_.substr(name, open - name)), text_.substr(open + 1, close - open - 1),
       text_.substr(close + 1, begin - close - 1), text_.substr(begin + 1, end - begin - 1)});
  at_ = end + 1;
}

// The bytes of ".b8 name[2] = {1, 0f3F800000}".
void FillInitializer(const std::string& text, u32 element_bytes, u8* memory) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return;
  std::string values = Trim(text.substr(equals + 1));
  if (values[0] == '{') values = values.substr(1, values.size() - 2);
  for (const std::string& value : Split(values, ',')) {
    const bool is_float = value.size() > 2 && value[0] == '0' && std::strchr("fFdD", value[1]);
    const u64 bits = is_float ? std::strtoull(value.c_str() + 2, nullptr, 16)
                              : std::strtoull(value.c_str(), nullptr, 0);
    std::memcpy(memory, &bits, element_bytes);
    memory += element_bytes;
  }
}

void ModuleParser::AddVariable(const std::string& text) {
  if (text.find(".shared") != std::string::npos) {
    shared_variables_.push_back(text);
    return;
  }
  if (text.find(".global") == std::string::npos && text.find(".const") == std::string::npos) return;
  const Declaration declaration = ParseDeclaration(text);
  const u64 at = AllocateMemory(std::max(declaration.bytes, 1u), MemoryKind::kVariable);
  u8* memory = HostView(at);
  std::memset(memory, 0, declaration.bytes);
  FillInitializer(text, declaration.element_bytes, memory);
  module_.globals[declaration.name] = {at, declaration.bytes};
}

bool Names(const std::string& body, const std::string& name) {
  for (size_t at = body.find(name); at != std::string::npos; at = body.find(name, at + 1)) {
    const bool begins = at == 0 || !IsNameCharacter(body[at - 1]);
    if (begins && !IsNameCharacter(body[at + name.size()])) return true;
  }
  return false;
}

// nvcc puts even function-local __shared__ variables at module level: this takes those that the
// kernel names, then the body's own, so that dynamic shared memory comes last.
void ModuleParser::AddSharedVariables(std::string& body, BodyParser& parser) {
  std::vector<std::string> dynamic;
  for (const std::string& text : shared_variables_) {
    const Declaration declaration = ParseDeclaration(text);
    if (!Names(body, declaration.name)) continue;
    if (declaration.external) {
      dynamic.push_back(declaration.name);
    } else {
      parser.AddShared(text);
    }
  }
  size_t at = 0;
  while ((at = body.find(".shared ", at)) != std::string::npos) {
    const bool begins = at == 0 || std::strchr(" \t\n;{}", body[at - 1]) != nullptr;
    const size_t end = body.find(';', at);
    if (begins) {
      parser.AddShared(body.substr(at, end - at));
      body.erase(at, end - at + 1);
    } else {
      at = end;
    }
  }
  parser.AddDynamicShared(dynamic);
}

void ModuleParser::ParseKernel(const Entry& entry) {
  Kernel& kernel = module_.kernels[entry.name];
  kernel.name = entry.name;
  kernel.module = &module_;
  BodyParser parser(kernel, module_);
  parser.AddParameters(entry.parameters);
  std::string attributes = entry.attributes;
  std::replace(attributes.begin(), attributes.end(), ',', ' ');
  const std::vector<std::string> words = Words(attributes);
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] != ".maxntid" && words[i] != ".reqntid") continue;
    kernel.most_threads = 1;
    for (size_t axis = i + 1; axis < words.size() && IsDigit(words[axis][0]); ++axis) {
      kernel.most_threads *= static_cast<u32>(std::atoi(words[axis].c_str()));
    }
  }
  std::string body = entry.body;
  AddSharedVariables(body, parser);
  parser.Parse(body);
}

}  // namespace

void Parse(const std::string& text, Module& module) {
  ModuleParser(WithoutComments(text), module).Parse();
}

}  // namespace sluice::emulator
