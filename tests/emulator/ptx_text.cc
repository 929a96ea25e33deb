#include "emulator/ptx_text.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluice::emulator {

void RejectPtx(const std::string& what, const std::string& where) {
  std::fprintf(stderr, "emulator: %s: %s\n", what.c_str(), where.c_str());
  std::abort();
}

std::string Trim(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  const size_t last = text.find_last_not_of(" \t\r\n");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::string part;
  int depth = 0;
  for (const char c : text) {
    if (std::strchr("[{(", c) != nullptr) ++depth;
    if (std::strchr("]})", c) != nullptr) --depth;
    if (c == separator && depth == 0) {
      parts.push_back(Trim(part));
      part.clear();
    } else {
      part += c;
    }
  }
  if (!Trim(part).empty()) parts.push_back(Trim(part));
  return parts;
}

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text + " ") {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(word);
      word.clear();
    }
  }
  return words;
}

std::string WithoutComments(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      const size_t end = text.find('"', i + 1);
      out += text.substr(i, end - i + 1);
      i = end;
    } else if (text.compare(i, 2, "//") == 0) {
      while (i < text.size() && text[i] != '\n') ++i;
      out += '\n';
    } else if (text.compare(i, 2, "/*") == 0) {
      i = text.find("*/", i) + 1;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("_$%.", c) != nullptr;
}
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool StartsWith(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

size_t ClosingBracket(const std::string& text, size_t open, char left, char right) {
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == left) ++depth;
    if (text[i] == right && --depth == 0) return i;
  }
  RejectPtx("unclosed bracket", text.substr(open, 60));
}

u32 TypeBytes(const std::string& type) {
  if (type == "pred") return 1;
  const size_t digit = type.find_first_of("0123456789");
  if (digit == std::string::npos) RejectPtx("unknown type", type);
  const u32 bytes = static_cast<u32>(std::atoi(type.c_str() + digit)) / 8;
  return type.find('x') == std::string::npos ? bytes : bytes * static_cast<u32>(type.back() - '0');
}

bool IsSizedType(const std::string& word) {
  if (StartsWith(word, "bf16")) return true;
  return word.size() >= 2 && std::strchr("busf", word[0]) != nullptr && IsDigit(word[1]);
}

Declaration ParseDeclaration(const std::string& text) {
  Declaration declaration{"", 0, 1, 1, false};
  const std::vector<std::string> words = Words(text.substr(0, text.find('=')));
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == ".align") {
      declaration.alignment = static_cast<u32>(std::atoi(words[++i].c_str()));
    } else if (words[i] == ".extern") {
      declaration.external = true;
    } else if (words[i][0] == '.' && IsSizedType(words[i].substr(1))) {
      declaration.element_bytes = TypeBytes(words[i].substr(1));
    }
  }
  const std::string& last = words.back();
  size_t bracket = last.find('[');
  declaration.name = last.substr(0, bracket);
  declaration.bytes = declaration.element_bytes;
  for (; bracket != std::string::npos; bracket = last.find('[', bracket + 1)) {
    declaration.bytes *= static_cast<u32>(std::atoi(last.c_str() + bracket + 1));
  }
  declaration.alignment = std::max(declaration.alignment, declaration.element_bytes);
  return declaration;
}

bool Opcode::Has(const char* part) const {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}
bool Opcode::IsOneOf(std::initializer_list<const char*> names) const {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return Is(name); });
}
std::string Opcode::FirstOf(std::initializer_list<const char*> candidates) const {
  for (const char* candidate : candidates) {
    if (Has(candidate)) return candidate;
  }
  return "";
}

}  // namespace sluice::emulator
