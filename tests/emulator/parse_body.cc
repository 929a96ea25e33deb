#include "emulator/parse_body.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulator/machine.h"

namespace sluice::emulator {
namespace {

u32 RoundUpTo(u32 value, u32 multiple) { return (value + multiple - 1) / multiple * multiple; }

struct SpecialName {
  const char* name;
  Special kind;
};
constexpr SpecialName kSpecials[] = {
    {"%tid", Special::kThread},
    {"%ntid", Special::kBlockSize},
    {"%ctaid", Special::kBlock},
    {"%nctaid", Special::kGridSize},
    {"%laneid", Special::kLane},
    {"%warpid", Special::kWarp},
    {"%lanemask_eq", Special::kMaskEqual},
    {"%lanemask_lt", Special::kMaskBelow},
    {"%lanemask_le", Special::kMaskUpTo},
    {"%lanemask_gt", Special::kMaskAbove},
    {"%lanemask_ge", Special::kMaskFrom},
    {"%dynamic_smem_size", Special::kDynamicShared},
    {"%clock", Special::kClock},
    {"%clock64", Special::kClock},
    {"%globaltimer", Special::kClock},
};

// How wide an immediate operand is: as the last type of the opcode, but for shifts, fields and wide
// products, whose operands have types of their own.
u8 ImmediateBytes(const Opcode& op, size_t index) {
  u8 bytes = 4;
  for (const std::string& part : op.parts) {
    if (IsSizedType(part)) bytes = TypeBytes(part) == 8 ? 8 : 4;
  }
  if (op.Has("wide")) return index == 3 ? 8 : 4;
  if (op.IsOneOf({"shl", "shr"}) && index == 2) return 4;
  if ((op.Is("bfe") && index >= 2) || (op.Is("bfi") && index >= 3)) return 4;
  return bytes;
}

}  // namespace

u32 BodyParser::Allocate(u8 bytes) {
  if (bytes == 1) return kernel_.predicates++;
  const u32 at = kernel_.file_bytes;
  kernel_.file_bytes += 32 * bytes;
  return at;
}

u32 BodyParser::PlaceOfConstant(u64 value, u8 bytes) {
  const auto [found, fresh] = constants_.try_emplace({value, bytes}, 0);
  if (fresh) {
    found->second = Allocate(bytes);
    kernel_.constants.push_back({found->second, bytes, value});
  }
  return found->second;
}

u32 BodyParser::PlaceOfSpecial(const std::string& name) {
  if (const auto found = specials_.find(name); found != specials_.end()) return found->second;
  const size_t dot = name.find('.');
  for (const SpecialName& special : kSpecials) {
    if (name.substr(0, dot) != special.name) continue;
    const u8 axis = dot == std::string::npos ? 0 : static_cast<u8>(name[dot + 1] - 'x');
    const u8 bytes = name == "%clock64" || name == "%globaltimer" ? 8 : 4;
    const u32 at = Allocate(bytes);
    kernel_.specials.push_back({special.kind, axis, {at, bytes}});
    return specials_[name] = at;
  }
  RejectPtx("unknown special register", name + " in " + kernel_.name);
}

const Register* BodyParser::Find(const std::string& name) const {
  for (size_t i = scopes_.size(); i-- > 0;) {
    if (const auto found = scopes_[i].find(name); found != scopes_[i].end()) return &found->second;
  }
  return nullptr;
}

u64 BodyParser::AddressOf(const std::string& name) const {
  if (const auto found = symbols_.find(name); found != symbols_.end()) return found->second.at;
  if (const auto found = module_.globals.find(name); found != module_.globals.end()) {
    return found->second.at;
  }
  RejectPtx("unknown name", name + " in " + kernel_.name);
}

u32 BodyParser::PlaceOf(const std::string& text, u8 bytes) {
  if (const Register* found = Find(text); found != nullptr) return found->at;
  if (text[0] == '%') return PlaceOfSpecial(text);
  const char kind = text.size() > 1 ? text[1] : ' ';
  if (text[0] == '0' && (kind == 'f' || kind == 'F')) {
    return PlaceOfConstant(std::strtoull(text.c_str() + 2, nullptr, 16), 4);
  }
  if (text[0] == '0' && (kind == 'd' || kind == 'D')) {
    return PlaceOfConstant(std::strtoull(text.c_str() + 2, nullptr, 16), 8);
  }
  if (text[0] == '-') {
    return PlaceOfConstant(static_cast<u64>(std::strtoll(text.c_str(), nullptr, 0)), bytes);
  }
  if (IsDigit(text[0])) return PlaceOfConstant(std::strtoull(text.c_str(), nullptr, 0), bytes);
  if (text == "WARP_SZ") return PlaceOfConstant(32, bytes);
  if (const size_t plus = text.find('+'); plus != std::string::npos) {
    const auto offset = static_cast<u64>(std::atoll(text.c_str() + plus + 1));
    return PlaceOfConstant(AddressOf(Trim(text.substr(0, plus))) + offset, bytes);
  }
  return PlaceOfConstant(AddressOf(text), bytes);
}

void BodyParser::AddParameters(const std::string& list) {
  for (const std::string& parameter : Split(list, ',')) {
    const Declaration declaration = ParseDeclaration(parameter);
    kernel_.parameter_bytes = RoundUpTo(kernel_.parameter_bytes, declaration.alignment);
    const Symbol symbol = {kernel_.parameter_bytes, declaration.bytes};
    symbols_[declaration.name] = symbol;
    kernel_.parameters.push_back(symbol);
    kernel_.parameter_bytes += declaration.bytes;
  }
}

void BodyParser::AddShared(const std::string& text) {
  const Declaration declaration = ParseDeclaration(text);
  const u32 at = RoundUpTo(kernel_.static_shared, declaration.alignment);
  const u32 end = at + declaration.bytes;
  symbols_[declaration.name] = {at, declaration.bytes};
  if (at > kernel_.static_shared) kernel_.red_zones.push_back({kernel_.static_shared, at});
  kernel_.red_zones.push_back({end, end + kRedZoneBytes});
  kernel_.static_shared = end + kRedZoneBytes;
}

void BodyParser::AddDynamicShared(const std::vector<std::string>& names) {
  if (names.empty()) return;
  constexpr u32 kAlignment = 1024;
  const u32 at = RoundUpTo(kernel_.static_shared, kAlignment);
  if (at > kernel_.static_shared) kernel_.red_zones.push_back({kernel_.static_shared, at});
  kernel_.static_shared = at;
  for (const std::string& name : names) symbols_[name] = {at, 0};
}

// ".reg .pred %p<2>" or ".reg .b16 low, high"
void BodyParser::AddRegisters(const std::string& text) {
  const std::string rest = Trim(text.substr(4));
  const size_t space = rest.find_first_of(" \t");
  const std::string type = rest.substr(1, space - 1);
  const u8 bytes = type == "pred" ? 1 : TypeBytes(type) <= 4 ? 4 : 8;
  for (const std::string& name : Split(rest.substr(space), ',')) {
    const size_t less = name.find('<');
    if (less == std::string::npos) {
      scopes_.back()[name] = {Allocate(bytes), bytes};
      continue;
    }
    const int count = std::atoi(name.c_str() + less + 1);
    for (int i = 0; i < count; ++i) {
      scopes_.back()[name.substr(0, less) + std::to_string(i)] = {Allocate(bytes), bytes};
    }
  }
}

void BodyParser::AddDirective(const std::string& text) {
  const std::string first = Words(text)[0];
  if (StartsWith(first, ".reg")) {
    AddRegisters(text);
  } else if (text.find(".shared") != std::string::npos) {
    AddShared(text);
  } else if (first == ".local") {
    const Declaration declaration = ParseDeclaration(text);
    const u32 at = RoundUpTo(kernel_.local_bytes, declaration.alignment);
    symbols_[declaration.name] = {at, declaration.bytes};
    kernel_.local_bytes = at + declaration.bytes;
  } else if (first == ".param") {
    symbols_[ParseDeclaration(text).name] = {kCallParameters, 0};
  } else if (first != ".pragma") {
    RejectPtx("unknown directive", text);
  }
}

void BodyParser::AddGuard(const std::string& predicate, Instruction& instruction) {
  instruction.guard_negated = predicate[0] == '!';
  const Register* found = Find(predicate.substr(instruction.guard_negated ? 1 : 0));
  if (found == nullptr) RejectPtx("unknown predicate", instruction.text);
  instruction.guard = static_cast<s32>(found->at);
}

void BodyParser::AddStatement(const std::string& text) {
  Instruction instruction;
  instruction.text = text;
  instruction.place = place_;
  std::string rest = text;
  if (rest[0] == '@') {
    const size_t space = rest.find_first_of(" \t");
    AddGuard(rest.substr(1, space - 1), instruction);
    rest = Trim(rest.substr(space));
  }
  size_t end = 0;
  while (end < rest.size() && (IsNameCharacter(rest[end]) || rest[end] == ':')) ++end;
  const Opcode opcode = {Split(rest.substr(0, end), '.')};
  std::vector<std::string> arguments = Split(rest.substr(end), ',');
  if (opcode.Is("bra")) {
    branches_.push_back({static_cast<u32>(kernel_.code.size()), arguments[0]});
    arguments.clear();
  }
  if (opcode.Is("call")) arguments.clear();  // only failing ones matter: said when it runs
  instruction.register_bytes = ImmediateBytes(opcode, 1);
  if (opcode.Is("mov") && arguments[0][0] == '{') instruction.detail = 4;
  for (size_t i = 0; i < arguments.size(); ++i) AddArgument(arguments[i], i, opcode, instruction);
  SelectOperation(instruction, opcode);
  kernel_.has_fences = kernel_.has_fences || opcode.IsOneOf({"membar", "fence"});
  kernel_.has_atomics = kernel_.has_atomics || opcode.IsOneOf({"atom", "red"});
  kernel_.code.push_back(std::move(instruction));
}

// "[%rd1+16]", "[name]", "[4096]"
void BodyParser::AddAddress(const std::string& text, Instruction& instruction) {
  const std::string inside = Trim(text.substr(1, text.size() - 2));
  const size_t plus = inside.find('+');
  const std::string base = Trim(inside.substr(0, plus));
  if (plus != std::string::npos) instruction.offset = std::atoi(inside.c_str() + plus + 1);
  const Register* found = Find(base);
  instruction.wide_address = found == nullptr || found->bytes == 8;
  const auto symbol = symbols_.find(base);
  if (symbol != symbols_.end() && symbol->second.at == kCallParameters) {
    instruction.offset = kCallParameters;
  }
  u32& operand = instruction.operands[instruction.count++];
  if (IsDigit(base[0])) {
    operand = PlaceOfConstant(std::strtoull(base.c_str(), nullptr, 0), 8);
  } else {
    operand = found != nullptr ? found->at : PlaceOfConstant(AddressOf(base), 8);
  }
}

void BodyParser::AddArgument(const std::string& argument, size_t index, const Opcode& opcode,
                             Instruction& instruction) {
  // The destination of cp.async and its source are both addresses; the offset is the source's.
  if (argument[0] == '[') {
    const s32 offset = instruction.offset;
    AddAddress(argument, instruction);
    if (opcode.Is("cp") && offset != 0) RejectPtx("an offset of a destination", instruction.text);
    return;
  }
  std::vector<std::string> parts = {argument};
  if (argument[0] == '{') {
    parts = Split(argument.substr(1, argument.size() - 2), ',');
    instruction.elements = static_cast<u8>(parts.size());
    if (const Register* first = Find(parts[0]); first != nullptr) {
      instruction.register_bytes = first->bytes;
    }
  } else if (const size_t bar = argument.find('|'); bar != std::string::npos) {
    parts = {Trim(argument.substr(0, bar)), Trim(argument.substr(bar + 1))};
    if (opcode.Is("setp")) instruction.elements = 2;
  } else if (const Register* found = Find(argument);
             found != nullptr && index == (opcode.Is("st") || opcode.Is("cvt") ? 1u : 0u)) {
    instruction.register_bytes = found->bytes;
  }
  for (const std::string& part : parts) {
    AddOperand(part, ImmediateBytes(opcode, index), opcode, instruction);
  }
}

void BodyParser::AddOperand(std::string text, u8 bytes, const Opcode& opcode,
                            Instruction& instruction) {
  if (instruction.count == kMostOperands) RejectPtx("too many operands", instruction.text);
  u32& operand = instruction.operands[instruction.count++];
  if (text == "_") {
    instruction.has_sink = true;
    operand = opcode.Is("setp") ? Allocate(1) : Allocate(8);
    return;
  }
  if (opcode.Is("mov") && opcode.type() == "pred" && (IsDigit(text[0]) || text[0] == '-')) {
    instruction.detail = text == "0" ? 2 : 3;  // mov.pred p, 0 or 1
    return;
  }
  if (text[0] == '!') {
    instruction.detail = 1;
    text = text.substr(1);
  }
  operand = PlaceOf(text, bytes);
}

// ".loc file line column[, function_name x, inlined_at file line column]"
int BodyParser::AddPlace(const std::string& loc) {
  Place place{0, 0, 0, -1}, outer{0, 0, 0, -1};
  std::sscanf(loc.c_str(), ".loc %d %d %d", &place.file, &place.line, &place.column);
  const size_t inlined = loc.find("inlined_at");
  if (inlined != std::string::npos && std::sscanf(loc.c_str() + inlined, "inlined_at %d %d %d",
                                                  &outer.file, &outer.line, &outer.column) == 3) {
    std::vector<Place>& places = module_.places;
    for (int i = static_cast<int>(places.size()); i-- > 0 && place.parent < 0;) {
      if (places[i].file == outer.file && places[i].line == outer.line &&
          places[i].column == outer.column) {
        place.parent = i;
      }
    }
    if (place.parent < 0) {
      places.push_back(outer);
      place.parent = static_cast<int>(places.size()) - 1;
    }
  }
  module_.places.push_back(place);
  return static_cast<int>(module_.places.size()) - 1;
}

void BodyParser::Parse(const std::string& body) {
  size_t i = 0;
  const auto skip_space = [&](size_t from) {
    while (from < body.size() && std::isspace(static_cast<unsigned char>(body[from])) != 0) ++from;
    return from;
  };
  for (i = skip_space(i); i < body.size(); i = skip_space(i)) {
    if (body[i] == '{') scopes_.emplace_back();
    if (body[i] == '}') scopes_.pop_back();
    if (std::strchr("{};", body[i]) != nullptr) {
      ++i;
      continue;
    }
    if (body.compare(i, 4, ".loc") == 0 && (body[i + 4] == ' ' || body[i + 4] == '\t')) {
      const size_t end = body.find('\n', i);
      place_ = AddPlace(body.substr(i, end - i));
      i = end;
      continue;
    }
    size_t name_end = i;
    while (name_end < body.size() && IsNameCharacter(body[name_end])) ++name_end;
    const size_t colon = skip_space(name_end);
    if (name_end > i && body[colon] == ':' && body[colon + 1] != ':') {
      labels_[body.substr(i, name_end - i)] = static_cast<u32>(kernel_.code.size());
      i = colon + 1;
      continue;
    }
    const size_t end = body.find(';', i);
    if (end == std::string::npos) RejectPtx("no ; after", body.substr(i, 60));
    std::string text = Trim(body.substr(i, end - i));
    for (char& c : text) {
      if (c == '\n' || c == '\t') c = ' ';
    }
    i = end + 1;
    if (text[0] == '.') {
      AddDirective(text);
    } else {
      AddStatement(text);
    }
  }
  ResolveBranches();
}

void BodyParser::ResolveBranches() {
  for (const auto& [instruction, label] : branches_) {
    const auto found = labels_.find(label);
    if (found == labels_.end()) RejectPtx("unknown label", label);
    kernel_.code[instruction].target = found->second;
  }
}

}  // namespace sluice::emulator
