// A layer: how its result is shaped, what it reads, and how it makes one row.
//
// Networks run row by row: a layer makes a row of its result as soon as the rows that it reads are there, and
// a value keeps only the rows that some layer will still read, in a ring. So intermediates stay in cache, and
// memory does not grow with the frame.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "nn/lanes.h"

namespace fastdeblur::nn {

using std::int64_t;

struct Shape {
  int64_t c = 0, h = 0, w = 0;
  bool operator==(const Shape&) const = default;
  int64_t size(int axis) const { return axis == 0 ? h : w; }
};

// Half open.
struct Range {
  int64_t lo = 0, hi = 0;
  int64_t size() const { return hi - lo; }
};

inline int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// Rows of a value in memory; column x of block b of row y lies at row(y) + b * block + (x - x0) * lanes.
struct Rows {
  float* base = nullptr;
  int64_t ring = 1;    // rows that there is room for
  int64_t stride = 0;  // from row to row
  int64_t block = 0;   // from block to block
  int64_t x0 = 0;      // the first column in memory (in the margin)
  int64_t lanes = L;
  int64_t blocks = 0;

  float* at(int64_t y, int64_t x, int64_t b = 0) const {
    return base + (y % ring) * stride + b * block + (x - x0) * lanes;
  }
};

// The caller's image: (c, h, w), strides in floats; read as image * scale + offset.
struct Image {
  const float* data = nullptr;
  int64_t stride[3] = {0, 0, 0};
  int64_t h = 0, w = 0;
  float scale = 1, offset = 0;
};

// What a layer works with when it makes a row.
struct Call {
  std::vector<Rows> in;
  std::vector<Shape> shapes;  // of the inputs
  Rows out;
  Shape shape;                   // of the result
  Range columns;                 // to make
  const float* state = nullptr;  // what `finish` made of the frame's sums
  const Image* image = nullptr;
  std::vector<float> scratch;
  std::vector<double> sums;
  int64_t last_row = -2;  // that this call made
};

class Layer {
 public:
  virtual ~Layer() = default;
  // Throws std::invalid_argument where it cannot be applied.
  virtual Shape shape(const std::vector<Shape>& in) const = 0;
  // Rows or columns (axis 0 or 1) of input i that it reads for those of the result; may stick out of the
  // frame where it pads, and does not where it does not. n: the input's size on that axis.
  virtual Range reads(int i, int axis, Range out, int64_t n) const {
    (void)i, (void)axis, (void)n;
    return out;
  }
  virtual bool reflects() const { return false; }
  // It takes sums over the whole of its first input: `finish` makes its state of them.
  virtual bool needs_sums() const { return false; }
  virtual std::vector<float> finish(const std::vector<double>& sums, const std::vector<double>& squares,
                                    double pixels) const {
    (void)sums, (void)squares, (void)pixels;
    return {};
  }
  // Its result is made of its whole input at once, not by `row`.
  virtual bool is_whole() const { return false; }
  // It looks so far that its input is better kept whole.
  virtual bool looks_far() const { return false; }
  virtual void row(Call& call, int64_t y) const = 0;
  // Multiplications for a pixel of the result, roughly; for dividing the work.
  virtual double cost(const std::vector<Shape>& in) const { return static_cast<double>(in[0].c); }
  // Channels to a block of the result: L, or all of the image's few.
  virtual int64_t lanes(const Shape&) const { return L; }

  // A convolution's, for fusing.
  virtual bool fuse(const Activation&) { return false; }
  virtual bool fuse_add() { return false; }
  // Columns past those asked for that a row may overwrite.
  virtual int64_t spills() const { return 0; }
};

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
constexpr int64_t kMostKernel = 1 << 12;           // on an axis
constexpr int64_t kMostPixels = int64_t(1) << 31;  // on an axis

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

std::unique_ptr<Layer> make_convolution(const NodeSpec& node, bool transposed);
std::unique_ptr<Layer> make_linear(const NodeSpec& node);
// Whether its input may have all of its few channels in one narrow block.
bool takes_compact(const Layer& layer);
int64_t stride_of(const Layer& layer);
void use_planar(Layer& layer);
// The image's rows, `lanes` channels to a block.
std::unique_ptr<Layer> make_loader(int64_t lanes);
std::unique_ptr<Layer> make_copy();

// What a layer does to each number alone, or null.
const Activation* activation_of(const Layer& layer);

// What a node channel_attention stands for: a chain that begins at its input, whose last part multiplies that
// with what came before. Inputs are left to the caller.
std::vector<NodeSpec> parts_of_attention(const NodeSpec& node);

// The table of operations.
std::unique_ptr<Layer> make_layer(const NodeSpec& node);

}  // namespace fastdeblur::nn
