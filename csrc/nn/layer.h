// A layer: how its result is shaped, what it reads, and how it makes one row.
//
// Networks run row by row: a layer makes a row of its result as soon as the rows that it reads are there, and
// a value keeps only the rows that some layer will still read, in a ring. So intermediates stay in cache, and
// memory does not grow with the frame.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/lanes.h"
#include "nn/operation.h"
#include "nn/sums.h"

namespace fastdeblur::nn {

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
  // It takes sums over the whole of its first input, or over each of the regions that these borders divide
  // it into: `finish` makes its state of them.
  virtual bool needs_sums() const { return false; }
  virtual bool needs_squares() const { return false; }
  virtual Borders regions(const Shape& in) const { return {{0, in.h}, {0, in.w}}; }
  virtual std::vector<float> finish(const Totals& totals, const Shape& in) const {
    (void)totals, (void)in;
    return {};
  }
  // Floats of that state, where it grows with the frame.
  virtual int64_t state(const Shape& in) const {
    (void)in;
    return 0;
  }
  // Bytes that `finish` works in.
  virtual int64_t finishing(const Shape& in) const {
    (void)in;
    return 0;
  }
  // Its result is made of its whole input at once, not by `row`.
  virtual bool is_whole() const { return false; }
  // It looks so far that its input is better kept whole.
  virtual bool looks_far() const { return false; }
  virtual void row(Call& call, int64_t y) const = 0;
  // Floats that calls for these columns work in.
  virtual int64_t working(Range columns, const Shape& in) const {
    (void)columns, (void)in;
    return 0;
  }
  // The same for each thread, whatever the columns: in two pieces, which every layer shares.
  virtual std::array<int64_t, 2> scratch() const { return {0, 0}; }
  // Multiplications for a pixel of the result, roughly; for dividing the work.
  virtual double cost(const std::vector<Shape>& in) const { return static_cast<double>(in[0].c); }
  // Channels to a block of the result: L, or all of the image's few.
  virtual int64_t lanes(const Shape&) const { return L; }

  // Whether it does this to its result as well.
  virtual bool fuse(const Activation&) { return false; }
  virtual bool fuse_add() { return false; }
  // Columns past those asked for that a row may overwrite.
  virtual int64_t spills() const { return 0; }
};

// A layer that is an operation of the table, with its shape.
template <class Op>
class Of : public Layer {
 public:
  explicit Of(Op op) : op_(std::move(op)) {}
  Shape shape(const std::vector<Shape>& in) const final { return op_.shape(in); }

 protected:
  Op op_;
};

// What follows a layer while its row is still in cache: an activation, then a value of the same shape added.
class Epilogue {
 public:
  bool fuse(const Activation& activation) {
    if (activation_.kind != Activation::none || adds_) return false;
    activation_ = activation;
    return true;
  }
  bool fuse_add() { return !std::exchange(adds_, true); }
  const Activation& activation() const { return activation_; }
  bool adds() const { return adds_; }
  // The value added is the layer's second input. activated: the row is already.
  void apply(Call& call, int64_t y, bool activated = false) const {
    activated = activated || activation_.kind == Activation::none;
    if (activated && !adds_) return;
    const int64_t n = call.columns.size() * L;
    for (int64_t b = 0; b < call.out.blocks; ++b) {
      float* out = call.out.at(y, call.columns.lo, b);
      if (!activated) activation_.apply(out, n);
      if (!adds_) continue;
      const float* add = call.in[1].at(y, call.columns.lo, b);
      for (int64_t i = 0; i < n; ++i) out[i] += add[i];
    }
  }

 private:
  Activation activation_;
  bool adds_ = false;
};

std::unique_ptr<Layer> make_convolution(op::Convolution op);
// Whether its input may have all of its few channels in one narrow block.
bool takes_compact(const Layer& layer);
int64_t stride_of(const Layer& layer);
std::unique_ptr<Layer> make_layer_norm(op::LayerNorm op);
std::unique_ptr<Layer> make_instance_norm(op::InstanceNorm op);
std::unique_ptr<Layer> make_frame_pool(op::FramePool op);
std::unique_ptr<Layer> make_window_pool(op::WindowPool op);
std::unique_ptr<Layer> make_spread(op::Spread op);
// The image's rows, `lanes` channels to a block.
std::unique_ptr<Layer> make_loader(int64_t lanes);
std::unique_ptr<Layer> make_copy();

// What a layer does to each number alone, or null.
const Activation* activation_of(const Layer& layer);

std::unique_ptr<Layer> make_layer(Operation operation);

}  // namespace fastdeblur::nn
