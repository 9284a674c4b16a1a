// A network as it is handed over: nodes with attributes and tensors, and how an engine reads them. Every
// engine's.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace fastdeblur::nn {

using std::int64_t;

struct Shape {
  int64_t c = 0, h = 0, w = 0;
  bool operator==(const Shape&) const = default;
  int64_t size(int axis) const { return axis == 0 ? h : w; }
};

inline int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

using Attribute = std::variant<std::monostate, double, std::string, std::vector<double>>;

struct NodeSpec {
  std::string op;
  std::vector<int64_t> inputs;
  std::map<std::string, Attribute> attributes;
  std::map<std::string, Tensor> tensors;
};

[[noreturn]] inline void refuse(const std::string& what) { throw std::invalid_argument(what); }
inline void require(bool ok, const std::string& what) {
  if (!ok) refuse(what);
}

constexpr int64_t kMostChannels = 1 << 16;
constexpr int64_t kMostKernel = 1 << 12;            // on an axis
constexpr int64_t kMostPixels = int64_t(1) << 31;   // on an axis
constexpr int64_t kMostNumbers = int64_t(1) << 44;  // of a value: sums of sizes stay far below 64 bits

struct NetworkSpec {
  std::vector<NodeSpec> nodes;
  int64_t output = 0;
  int64_t channels = 1;
  float scale = 1, offset = 0, out_scale = 1, out_offset = 0;
  std::array<int64_t, 2> multiple_of{1, 1};
};

// --- reading a node ---

inline double number(const NodeSpec& n, const std::string& key) {
  const auto at = n.attributes.find(key);
  require(at != n.attributes.end() && std::holds_alternative<double>(at->second),
          key + ": expected a number");
  return std::get<double>(at->second);
}
inline int64_t whole(double x, const std::string& key, int64_t least, int64_t most) {
  require(x >= static_cast<double>(least) && x <= static_cast<double>(most) && x == std::floor(x),
          key + ": expected a whole number in range");
  return static_cast<int64_t>(x);
}
inline std::string text(const NodeSpec& n, const std::string& key) {
  const auto at = n.attributes.find(key);
  require(at != n.attributes.end() && std::holds_alternative<std::string>(at->second),
          key + ": expected a text");
  return std::get<std::string>(at->second);
}
inline std::vector<double> list(const NodeSpec& n, const std::string& key, std::size_t size) {
  const auto at = n.attributes.find(key);
  require(at != n.attributes.end() && std::holds_alternative<std::vector<double>>(at->second),
          key + ": expected a list");
  const auto& values = std::get<std::vector<double>>(at->second);
  require(values.size() == size, key + ": expected another length");
  return values;
}
inline bool missing(const NodeSpec& n, const std::string& key) {
  const auto at = n.attributes.find(key);
  return at == n.attributes.end() || std::holds_alternative<std::monostate>(at->second);
}
// A tensor with this many axes, or null if it is missing and may be.
inline const Tensor* tensor(const NodeSpec& n, const std::string& key, std::size_t axes,
                            bool optional = false) {
  const auto at = n.tensors.find(key);
  if (at == n.tensors.end()) {
    require(optional, key + ": expected a tensor");
    return nullptr;
  }
  const Tensor& t = at->second;
  require(t.shape.size() == axes, key + ": expected another number of axes");
  int64_t size = 1;
  for (const int64_t s : t.shape) {
    require(s >= 1 && s <= kMostPixels, key + ": expected sizes of at least 1");
    require(size <= kMostPixels / s, key + ": too large");
    size *= s;
  }
  require(size == static_cast<int64_t>(t.values.size()), key + ": expected as many values as its shape says");
  return &t;
}
// One number for each of c channels.
inline void per_channel(const std::vector<float>& values, int64_t c, const std::string& key) {
  require(values.empty() || static_cast<int64_t>(values.size()) == c,
          key + ": expected a value for each channel");
}
inline std::vector<float> values(const NodeSpec& n, const std::string& key, bool optional = false) {
  const Tensor* t = tensor(n, key, 1, optional);
  return t ? t->values : std::vector<float>();
}
}  // namespace fastdeblur::nn
