#include "experiments/rule.h"

#include <string>

#include "schemas/error.h"

namespace headcount::experiments {

Rule rule_of(std::string_view name) {
  for (const auto& [rule, text] : kRules) {
    if (name == text) return rule;
  }
  throw Error("unknown quadrature \"" + std::string(name) + "\"");
}

std::vector<std::string_view> rule_names() {
  std::vector<std::string_view> names;
  for (const auto& [rule, text] : kRules) names.push_back(text);
  return names;
}

}  // namespace headcount::experiments
