// Convolutions, plain, strided, grouped, depthwise and transposed, with the sums in registers: direct, or
// where taps along a row and many channels make it pay, by Winograd's products.
#include <algorithm>

#include "core/host_device.h"
#include "cpu/buffer.h"
#include "nn/layer.h"
#include "nn/winograd.h"

namespace fastdeblur::nn {
namespace {

// Where a tap's inputs and weights are, for the first pixel of a row.
struct Tap {
  const float* in;
  const float* weight;
};

// Pixels to a tile of OB blocks of channels: as many sums as registers hold beside the operands.
template <int OB>
constexpr int kPixels = L == 16 ? (OB == 1   ? 14
                                   : OB == 2 ? 12
                                   : OB == 3 ? 8
                                             : 6)
                                : (OB == 1   ? 12
                                   : OB == 2 ? 6
                                   : OB == 3 ? 4
                                             : 3);
constexpr int kMostPixelsOfTile = 14;
constexpr int kMostBlocks = 4;
// Weights of a chunk of input channels stay in the first-level cache while a row goes by.
constexpr int64_t kChunkBytes = 16 << 10;
// Winograd's products of this many pixels stay in the second-level cache, and so do the weights, read for
// each of them.
constexpr int64_t kWinogradPixels = L == 16 ? 192 : 144;
// Of a block of channels, transformed; tiles are computed past the end.
constexpr int64_t kWinogradBlock = (kWinogradPixels / winograd::kOutputs + kMostPixelsOfTile) * L;
constexpr int64_t kWinogradChannels = 16;
// Products for each phase of a stride are weights of their own.
constexpr int64_t kMostPhases = 4;

struct Tiles {
  const Tap* taps;
  int count;
  int64_t pixels;                 // of the row; up to a tile more are computed
  int64_t step, in_block, lanes;  // input: from pixel to pixel, from block to block, numbers to a block
  int64_t numbers;                // of each tap, block after block
  bool first;                     // chunk: begins with the bias, else goes on from what is there
  const float* bias;              // of this group of blocks
  float* out;
  int64_t out_step, out_block;
};

// sums += weights x for n numbers at x (and at x + step, ...) and their weights [number][block][lane].
template <int OB, int P>
FD_HD void multiply_run(V (&sums)[OB][P], const float* x, const float* w, int64_t n, int64_t step) {
  for (int64_t i = 0; i < n; ++i, w += OB * L) {
    if constexpr (P < OB) {  // the fewer stay in registers
      V pixel[P];
      for (int p = 0; p < P; ++p) pixel[p] = broadcast(x[p * step + i]);
      for (int o = 0; o < OB; ++o) {
        const V weight = load(w + o * L);
        for (int p = 0; p < P; ++p) sums[o][p] += weight * pixel[p];
      }
    } else {
      V weight[OB];
      for (int o = 0; o < OB; ++o) weight[o] = load(w + o * L);
      for (int p = 0; p < P; ++p) {
        const V pixel = broadcast(x[p * step + i]);
        for (int o = 0; o < OB; ++o) sums[o][p] += weight[o] * pixel;
      }
    }
  }
}

template <int OB>
void run_tiles(const Tiles& t) {
  constexpr int P = kPixels<OB>;
  const int64_t whole = t.numbers / t.lanes, rest = t.numbers % t.lanes;
  for (int64_t first = 0; first < t.pixels; first += P) {
    float* out = t.out + first * t.out_step;
    V sums[OB][P];
    for (int o = 0; o < OB; ++o)
      for (int p = 0; p < P; ++p)
        sums[o][p] = t.first ? load(t.bias + o * L) : load(out + o * t.out_block + p * t.out_step);
    for (int i = 0; i < t.count; ++i) {
      const float *x = t.taps[i].in + first * t.step, *w = t.taps[i].weight;
      for (int64_t b = 0; b < whole; ++b, x += t.in_block, w += t.lanes * OB * L)
        multiply_run<OB, P>(sums, x, w, t.lanes, t.step);
      multiply_run<OB, P>(sums, x, w, rest, t.step);
    }
    for (int o = 0; o < OB; ++o)
      for (int p = 0; p < P; ++p) store(out + o * t.out_block + p * t.out_step, sums[o][p]);
  }
}

class Convolution final : public Layer {
 public:
  explicit Convolution(op::Convolution op)
      : op_(std::move(op)),
        kernel_(op_.kernel),
        stride_(op_.stride),
        padding_(op_.padding),
        reflect_(op_.reflect),
        transposed_(op_.transposed),
        depthwise_(op_.depthwise()),
        inputs_(op_.inputs),
        outputs_(op_.outputs),
        groups_(op_.groups) {
    bias_.assign(static_cast<std::size_t>(ceil_div(outputs_, L) * L), 0.0f);
    none_ = bias_;
    std::copy(op_.bias.begin(), op_.bias.end(), bias_.begin());
    dot_ = !transposed_ && groups_ == 1 && inputs_ % L == 0 && outputs_ <= std::max(1, L / 2);
    // Transposed, with a kernel twice its stride: two taps for each of the stride's phases.
    const bool taps = transposed_ ? kernel_[1] == 2 * stride_[1] && stride_[1] <= kMostPhases
                                  : kernel_[1] == 3 && stride_[1] == 1;
    if (taps && groups_ == 1 && kernel_[0] > 1 && inputs_ % L == 0 &&
        std::min(inputs_, outputs_) >= kWinogradChannels)
      winograd_ = transposed_ ? 2 : 3;
    pack();
    op_.weights = {};
  }

  Shape shape(const std::vector<Shape>& in) const override {
    const Shape made = op_.shape(in);
    if (epilogue_.adds()) require(in[1] == made, "add: expected values of the same shape");
    return made;
  }

  Range reads(int i, int axis, Range out, int64_t n) const override {
    if (i == 1) return out;
    const std::size_t a = static_cast<std::size_t>(axis);
    const int64_t k = kernel_[a], s = stride_[a], before = padding_[2 * a];
    Range places = out;
    if (winograd_ && axis == 1) {
      places = places_of(out);
      const Range whole = whole_products(places, op_.length(a, n));
      places = {std::min(places.lo, whole.lo), std::max(places.hi, whole.hi)};
    }
    if (winograd_ == 2 && axis == 1) return {places.lo - 1, places.hi};
    if (transposed_) return {ceil_div(out.lo + before - (k - 1), s), floor_div(out.hi - 1 + before, s) + 1};
    return {places.lo * s - before, (places.hi - 1) * s - before + k};
  }
  bool reflects() const override { return reflect_; }
  double cost(const std::vector<Shape>&) const override {
    const double taps = static_cast<double>(kernel_[0] * kernel_[1]);
    const double phases = transposed_ ? static_cast<double>(stride_[0] * stride_[1]) : 1.0;
    const double lanes =
        dot_ ? static_cast<double>(outputs_) : static_cast<double>(ceil_div(outputs_, L) * L);
    return taps / phases *
               (winograd_ == 3   ? 0.6
                : winograd_ == 2 ? 0.7
                                 : 1.0) *
               lanes * (depthwise_ ? 1.5 : static_cast<double>(inputs_)) +
           2 * lanes;
  }

  bool fuse(const Activation& activation) override { return epilogue_.fuse(activation); }
  bool fuse_add() override { return epilogue_.fuse_add(); }
  int64_t spills() const override { return kMostPixelsOfTile * (transposed_ ? stride_[1] : 1); }
  std::array<int64_t, 2> scratch() const override {
    if (!winograd_) return {0, 0};
    const int64_t block = (winograd_ + winograd::kOutputs - 1) * kWinogradBlock;
    const int64_t rows = transposed_ ? ceil_div(kernel_[0], stride_[0]) : kernel_[0];
    return {block * rows * (inputs_ / L), block * ceil_div(outputs_, L)};
  }
  int64_t stride() const { return stride_[1]; }
  bool takes_compact() const { return !transposed_ && groups_ == 1 && inputs_ < L; }

  void row(Call& call, int64_t y) const override {
    rows_.clear();
    const int64_t h = call.shapes[0].h;
    for (int64_t k = 0; k < kernel_[0]; ++k) {
      int64_t from = y * stride_[0] - padding_[0] + k;
      if (transposed_) {
        from = y + padding_[0] - k;
        if (from < 0 || from % stride_[0] != 0) continue;
        from /= stride_[0];
      }
      if (reflect_) from = from < 0 ? -from : from >= h ? 2 * (h - 1) - from : from;
      if (from >= 0 && from < h) rows_.push_back({from, k});
    }
    if (depthwise_) {
      depthwise_row(call, y);
    } else {
      int64_t from = call.columns.lo;
      if (winograd_ == 3) from = winograd_row<3>(call, y);
      if (winograd_ == 2) from = winograd_row<2>(call, y);
      if (transposed_) {
        for (int64_t phase = 0; phase < phases(); ++phase) transposed_row(call, y, from, phase);
      } else {
        taps_at(call, from);
        if (dot_)
          dot_row(call, y);
        else
          dense(call, call.out.at(y, from), call.columns.hi - from, stride_[1], 1);
      }
    }
    epilogue_.apply(call, y, dot_);
  }

 private:
  struct RowOf {
    int64_t from, k;
  };
  // Of a result's columns, each made by taps of its own.
  int64_t phases() const { return transposed_ ? stride_[1] : 1; }
  struct Place {
    const float* in;
    int64_t tap;
  };

  void pack() {
    const int64_t taps = kernel_[0] * kernel_[1], blocks = ceil_div(outputs_, L);
    if (depthwise_) {
      packed_.assign(static_cast<std::size_t>(blocks * taps * L), 0.0f);
      for (int64_t c = 0; c < outputs_; ++c)
        for (int64_t t = 0; t < taps; ++t)
          packed_[static_cast<std::size_t>((c / L * taps + t) * L + c % L)] =
              op_.weights[static_cast<std::size_t>(c * taps + t)];
      return;
    }
    if (dot_) {  // [output][tap][input]
      packed_.resize(op_.weights.size());
      for (int64_t o = 0; o < outputs_; ++o)
        for (int64_t t = 0; t < taps; ++t)
          for (int64_t k = 0; k < inputs_; ++k)
            packed_[static_cast<std::size_t>((o * taps + t) * inputs_ + k)] = weight(o, k, t);
      return;
    }
    // A group of outputs that fills whole blocks reads its own inputs only; other groups are one dense kernel
    // with zeros.
    const int64_t in_each = inputs_ / groups_, out_each = outputs_ / groups_;
    split_ = groups_ > 1 && in_each % L == 0 && out_each % L == 0;
    direct_ = packed(taps, [&](int64_t o, int64_t c, int64_t t) { return weight(o, c, t); });
    if (!winograd_) return;
    if (winograd_ == 3) pack_products<3>();
    if (winograd_ == 2) pack_products<2>();
  }

  // Phase by phase: its taps from the left are every stride-th of the kernel's from the right where it is
  // transposed.
  template <int Taps>
  void pack_products() {
    using Transform = winograd::Transform<Taps>;
    for (int64_t phase = 0; phase < phases(); ++phase)
      for (std::size_t f = 0; f < Transform::products; ++f)
        products_.push_back(packed(kernel_[0], [&](int64_t o, int64_t c, int64_t k) {
          std::array<double, Taps> taps;
          for (int j = 0; j < Taps; ++j)
            taps[static_cast<std::size_t>(j)] =
                weight(o, c, k * kernel_[1] + (transposed_ ? phase + (Taps - 1 - j) * phases() : j));
          return Transform::weights(taps)[f];
        }));
  }

  struct GroupOfBlocks {
    int64_t first, size, input, weights;
    int64_t chunk = 0;
  };
  // Groups of blocks of outputs, each with the taps' weights chunk by chunk of inputs:
  // [group][chunk][tap][input][block of the group][lane].
  struct Packed {
    int64_t taps = 0;
    std::vector<GroupOfBlocks> groups;
    std::vector<float> numbers;
  };

  // weight(output, input, tap).
  template <class Weight>
  Packed packed(int64_t taps, const Weight& weight) const {
    Packed result{taps, {}, {}};
    const int64_t blocks = ceil_div(outputs_, L);
    const int64_t parts = split_ ? groups_ : 1, part_blocks = blocks / parts, part_inputs = inputs_ / parts;
    require(
        static_cast<double>(taps) * static_cast<double>(part_inputs) * static_cast<double>(blocks * L) < 1e9,
        "weight: too large");
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t b = 0; b < part_blocks;) {
        const int64_t left = part_blocks - b;
        // 5 blocks are 3 and 2 rather than 4 and 1.
        const int64_t size = left <= kMostBlocks      ? left
                             : left < 2 * kMostBlocks ? ceil_div(left, 2)
                                                      : kMostBlocks;
        int64_t chunk = std::max<int64_t>(L, kChunkBytes / (taps * size * L * 4) / L * L);
        chunk = std::min(chunk, part_inputs);
        result.groups.push_back({part * part_blocks + b, size, part * part_inputs,
                                 static_cast<int64_t>(result.numbers.size()), chunk});
        for (int64_t c0 = 0; c0 < part_inputs; c0 += chunk)
          for (int64_t t = 0; t < taps; ++t)
            for (int64_t c = c0; c < std::min(c0 + chunk, part_inputs); ++c)
              for (int64_t lane = 0; lane < size * L; ++lane)
                result.numbers.push_back(
                    weight((part * part_blocks + b) * L + lane, part * part_inputs + c, t));
        b += size;
      }
    return result;
  }

  float weight(int64_t o, int64_t c, int64_t tap) const {
    return o < outputs_ ? op_.weight(o, c, tap) : 0.0f;
  }

  // What rows_ and the kernel's columns make of output pixel x.
  void taps_at(const Call& call, int64_t x) const {
    taps_.clear();
    // In a narrow block a row of taps is one run of numbers.
    const int64_t run = call.in[0].lanes < L ? kernel_[1] : 1;
    for (const auto& [from, k] : rows_)
      for (int64_t j = 0; j < kernel_[1]; j += run)
        taps_.push_back({call.in[0].at(from, x * stride_[1] - padding_[2] + j), k * kernel_[1] + j});
  }

  // The taps of taps_ on `pixels` pixels; input pixels lie `stride` apart, output pixels `apart`.
  void dense(Call& call, float* out, int64_t pixels, int64_t stride, int64_t apart) const {
    const Rows& in = call.in[0];
    Tiles t{};
    t.pixels = pixels;
    t.step = stride * in.lanes;
    t.in_block = in.block;
    t.lanes = in.lanes;
    t.bias = bias_.data();
    t.out = out;
    t.out_step = apart * L;
    t.out_block = call.out.block;
    products(t, direct_);
  }

  // t: with all outputs' bias and first block.
  void products(Tiles t, const Packed& packed) const {
    if (t.pixels <= 0) return;
    tap_list_.resize(taps_.size());
    t.taps = tap_list_.data();
    t.count = static_cast<int>(taps_.size());
    const float* bias = t.bias;
    float* out = t.out;
    const int64_t lanes = t.lanes;
    const bool narrow = lanes < L;
    if (narrow) t.lanes = kernel_[1] * lanes;
    const int64_t part_inputs = split_ ? inputs_ / groups_ : inputs_;
    for (const GroupOfBlocks& g : packed.groups) {
      t.bias = bias + g.first * L;
      t.out = out + g.first * t.out_block;
      const float* weights = packed.numbers.data() + g.weights;
      const int64_t shift = g.input / lanes * t.in_block;
      for (int64_t c0 = 0; c0 < part_inputs; c0 += g.chunk) {
        const int64_t count = std::min(g.chunk, part_inputs - c0), size = count * g.size * L;
        for (std::size_t i = 0; i < taps_.size(); ++i)
          tap_list_[i] = {taps_[i].in + shift + c0 / L * t.in_block, weights + taps_[i].tap * size};
        weights += packed.taps * size;
        t.numbers = narrow ? t.lanes : count;
        t.first = c0 == 0;
        switch (g.size) {
          case 1:
            run_tiles<1>(t);
            break;
          case 2:
            run_tiles<2>(t);
            break;
          case 3:
            run_tiles<3>(t);
            break;
          default:
            run_tiles<4>(t);
        }
      }
    }
  }

  // Where Winograd's products are: at output columns, or where it is transposed at input columns, each for
  // the stride's phases: column = place * stride - padding + phase.
  Range places_of(Range columns) const {
    if (!transposed_) return columns;
    const int64_t s = stride_[1], before = padding_[2];
    return {floor_div(columns.lo + before, s), floor_div(columns.hi - 1 + before, s) + 1};
  }

  // The places of these that are made by fours, and those beside them that are made as well: fours of the
  // frame, w columns wide, not of the part, so that the result does not depend on how the frame is divided.
  Range whole_products(Range places, int64_t w) const {
    constexpr int64_t n = winograd::kOutputs;
    const int64_t end = std::min(ceil_div(places.hi, n) * n, places_of({0, w}).hi / n * n);
    const int64_t begin = std::min(floor_div(places.lo, n) * n, end);
    return {begin, end};
  }

  // Returns the column from which on the rest is to be made.
  template <int Taps>
  int64_t winograd_row(Call& call, int64_t y) const {
    using Transform = winograd::Transform<Taps>;
    using winograd::kOutputs;
    const Rows &in = call.in[0], &to = call.out;
    const Range columns = call.columns, whole = whole_products(places_of(columns), call.shape.w);
    const int64_t blocks = inputs_ / L, rows = static_cast<int64_t>(rows_.size()), block = kWinogradBlock,
                  apart = rows * blocks * block, out_apart = to.blocks * block;
    const int64_t before = transposed_ ? Taps - 1 : padding_[2];  // of the inputs, from the place
    const int64_t stride = phases(), offset = transposed_ ? padding_[2] : 0;
    transformed_.require(Transform::products * apart);
    summed_.require(Transform::products * out_apart);
    for (int64_t x0 = whole.lo; x0 < whole.hi; x0 += kWinogradPixels) {
      const int64_t n = std::min(kWinogradPixels, whole.hi - x0) / kOutputs;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t b = 0; b < blocks; ++b) {
          const float* from = in.at(rows_[static_cast<std::size_t>(r)].from, x0 - before, b);
          float* result = transformed_.data() + (r * blocks + b) * block;
          for (int64_t i = 0; i < n; ++i) Transform::forward(from + i * kOutputs * L, result + i * L, apart);
          for (int64_t i = n; i < std::min<int64_t>(n + kMostPixelsOfTile, block / L); ++i)
            for (int f = 0; f < Transform::products; ++f) store(result + f * apart + i * L, broadcast(0));
        }
      for (int64_t phase = 0; phase < stride; ++phase) {
        for (int f = 0; f < Transform::products; ++f) {
          taps_.clear();
          for (int64_t r = 0; r < rows; ++r)
            taps_.push_back(
                {transformed_.data() + f * apart + r * blocks * block, rows_[static_cast<std::size_t>(r)].k});
          Tiles t{};
          t.pixels = n;
          t.step = t.out_step = t.lanes = L;
          t.in_block = t.out_block = block;
          t.bias = none_.data();
          t.out = summed_.data() + f * out_apart;
          products(t, products_[static_cast<std::size_t>(phase * Transform::products + f)]);
        }
        for (int64_t b = 0; b < to.blocks; ++b) {
          const V bias = load(bias_.data() + b * L);
          float* out = to.at(y, columns.lo, b);
          for (int64_t i = 0; i < n; ++i) {
            const auto values = Transform::inverse(summed_.data() + b * block + i * L, out_apart, bias);
            for (int64_t k = 0; k < kOutputs; ++k) {
              const int64_t x = (x0 + i * kOutputs + k) * stride - offset + phase - columns.lo;
              if (x >= 0 && x < columns.size()) store(out + x * L, values[static_cast<std::size_t>(k)]);
            }
          }
        }
      }
    }
    return std::clamp(whole.hi * stride - offset, columns.lo, columns.hi);
  }

  // Columns from lo on, every stride-th from that on.
  void transposed_row(Call& call, int64_t y, int64_t lo, int64_t phase) const {
    const int64_t s = stride_[1], hi = call.columns.hi;
    const int64_t first = lo + ((phase - lo) % s + s) % s;
    if (first >= hi) return;
    taps_.clear();
    for (const auto& [from, k] : rows_)
      for (int64_t j = 0; j < kernel_[1]; ++j) {
        const int64_t x = first + padding_[2] - j;
        if (((x % s) + s) % s == 0)
          taps_.push_back({call.in[0].at(from, floor_div(x, s)), k * kernel_[1] + j});
      }
    dense(call, call.out.at(y, first), ceil_div(hi - first, s), 1, s);
  }

  void depthwise_row(Call& call, int64_t y) const {
    const Rows& in = call.in[0];
    const int64_t taps = kernel_[0] * kernel_[1], step = stride_[1] * L;
    for (int64_t b = 0; b < call.out.blocks; ++b) {
      const float* weights = packed_.data() + b * taps * L;
      taps_.clear();
      for (const auto& [from, k] : rows_)
        for (int64_t j = 0; j < kernel_[1]; ++j)
          taps_.push_back(
              {in.at(from, call.columns.lo * stride_[1] - padding_[2] + j, b), k * kernel_[1] + j});
      float* out = call.out.at(y, call.columns.lo, b);
      const V bias = load(bias_.data() + b * L);
      constexpr int P = 8;
      for (int64_t x = 0; x < call.columns.size(); x += P) {
        V sums[P];
        for (V& sum : sums) sum = bias;
        for (const Place& tap : taps_) {
          const V w = load(weights + tap.tap * L);
          for (int p = 0; p < P; ++p) sums[p] += w * load(tap.in + (x + p) * step);
        }
        for (int p = 0; p < P; ++p) store(out + (x + p) * L, sums[p]);
      }
    }
  }

  // Few outputs: the lanes of a register are input channels, added up at the end.
  void dot_row(Call& call, int64_t y) const {
    switch (outputs_) {
      case 1:
        return dot_run<1, 8>(call, y, 0);
      case 2:
        return dot_run<2, 4>(call, y, 0);
      case 3:
        return dot_run<3, 4>(call, y, 0);
      default:
        for (int64_t o = 0; o < outputs_; o += 2) {
          if (o + 1 < outputs_)
            dot_run<2, 4>(call, y, o);
          else
            dot_run<1, 8>(call, y, o);
        }
    }
  }

  template <int O, int P>
  void dot_run(Call& call, int64_t y, int64_t first) const {
    constexpr int kSums = (O * P + L - 1) / L * L;  // whole transposes
    const Rows& in = call.in[0];
    const int64_t taps = kernel_[0] * kernel_[1], blocks = inputs_ / L, step = stride_[1] * L,
                  n = call.columns.size();
    float* out = call.out.at(y, call.columns.lo) + first;
    alignas(64) float parts[kSums * L] = {}, totals[kSums];
    for (int64_t x = 0; x < n; x += P) {
      V sums[O][P];
      for (int o = 0; o < O; ++o)
        for (int p = 0; p < P; ++p) sums[o][p] = broadcast(0.0f);
      for (const Place& tap : taps_)
        for (int64_t b = 0; b < blocks; ++b) {
          const float* pixels = tap.in + b * in.block + x * step;
          V weight[O];
          for (int o = 0; o < O; ++o)
            weight[o] = load(packed_.data() + (((first + o) * taps + tap.tap) * blocks + b) * L);
          for (int p = 0; p < P; ++p) {
            const V value = load(pixels + p * step);
            for (int o = 0; o < O; ++o) sums[o][p] += weight[o] * value;
          }
        }
      for (int o = 0; o < O; ++o)
        for (int p = 0; p < P; ++p) store(parts + (o * P + p) * L, sums[o][p]);
      for (int k = 0; k < kSums; k += L) row_totals(parts + k * L, totals + k);
      for (int o = 0; o < O; ++o)
        for (int p = 0; p < P; ++p) totals[o * P + p] += bias_[static_cast<std::size_t>(first + o)];
      epilogue_.activation().apply(totals, kSums);  // in the blocks most lanes are idle
      const int count = static_cast<int>(std::min<int64_t>(P, n - x));
      for (int o = 0; o < O; ++o)
        for (int p = 0; p < count; ++p) out[(x + p) * L + o] = totals[o * P + p];
    }
  }

  op::Convolution op_;  // without its weights once they are packed
  std::array<int64_t, 2> kernel_, stride_;
  std::array<int64_t, 4> padding_;
  bool reflect_, transposed_, depthwise_, split_ = false, dot_ = false;
  int winograd_ = 0;  // the taps that its products are for, or 0
  int64_t inputs_, outputs_, groups_;
  Epilogue epilogue_;
  std::vector<float> bias_, none_, packed_;  // none_: in place of the bias
  Packed direct_;
  std::vector<Packed> products_;  // Winograd's, of each phase
  // A row's, kept for their memory: one of each for a thread.
  static thread_local std::vector<RowOf> rows_;
  static thread_local std::vector<Place> taps_;
  static thread_local std::vector<Tap> tap_list_;
  static thread_local Buffer<float> transformed_, summed_;
};

thread_local std::vector<Convolution::RowOf> Convolution::rows_;
thread_local std::vector<Convolution::Place> Convolution::taps_;
thread_local std::vector<Tap> Convolution::tap_list_;
thread_local Buffer<float> Convolution::transformed_, Convolution::summed_;

}  // namespace

std::unique_ptr<Layer> make_convolution(op::Convolution op) {
  return std::make_unique<Convolution>(std::move(op));
}

bool takes_compact(const Layer& layer) {
  const auto* convolution = dynamic_cast<const Convolution*>(&layer);
  return convolution && convolution->takes_compact();
}

int64_t stride_of(const Layer& layer) {
  const auto* convolution = dynamic_cast<const Convolution*>(&layer);
  return convolution ? convolution->stride() : 1;
}

}  // namespace fastdeblur::nn
