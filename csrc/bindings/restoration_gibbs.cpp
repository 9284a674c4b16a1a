#include <pybind11/complex.h>
#include <pybind11/stl.h>

#include <complex>
#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>

#include "bindings/gil.h"
#include "bindings/restoration.h"
#include "bindings/restoration_arrays.h"
#include "restoration/gibbs.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

using restoration::GibbsStep;
using restoration::GibbsSums;
using Words = std::tuple<std::uint64_t, std::uint64_t>;  // high, low

py::tuple as_tuple(const GibbsSums& s) {
  return py::make_tuple(s.residual, s.residual_first, s.roughness, s.roughness_first, s.change, s.size);
}

Pcg64 generator_of(const Words& state, const Words& increment) {
  return {{std::get<0>(state), std::get<1>(state)}, {std::get<0>(increment), std::get<1>(increment)}};
}

// A sampler and the arrays that it works on.
template <class T>
class Sampler {
 public:
  using Complex = RestorationArray<std::complex<T>>;

  Sampler(Complex otf, Complex data, RestorationArray<T> reg, Complex mean, int n_threads)
      : otf_(std::move(otf)), data_(std::move(data)), reg_(std::move(reg)), mean_(std::move(mean)) {
    require(otf_.ndim() == 2 && otf_.size() > 0, "otf: expected two axes and at least one frequency");
    require(same_shape(otf_, data_), "data: expected the transfer function's shape");
    require(same_shape(otf_, reg_), "reg: expected the transfer function's shape");
    require(same_shape(otf_, mean_), "mean: expected the transfer function's shape");
    gibbs_ = std::make_unique<restoration::Gibbs<T>>(
        restoration::GibbsProblem<T>{otf_.shape(0), otf_.shape(1), otf_.data(), data_.data(), reg_.data(),
                                     mean_.mutable_data()},
        n_threads);
  }

  py::tuple step_with(double noise, double prior, bool counts, std::int64_t measured,
                      const RestorationArray<double>& normals) {
    require(normals.size() == 2 * otf_.size(), "normals: expected two for each frequency");
    const double* from = normals.data();
    GibbsSums sums;
    {
      const Unlocked unlocked;
      sums = gibbs_->step(GibbsStep{noise, prior, counts, measured}, from);
    }
    return as_tuple(sums);
  }

  // next(sums, high, low) is told of a step what it gave and where it left the generator (None, 0, 0 before
  // the first), and answers (noise, prior, counts, measured, state, increment), or None to end the run.
  void run(const py::function& next) {
    const Unlocked unlocked;
    Team::run(gibbs_->threads(), [&](Team& team) {
      GibbsStep step{};
      Pcg64 generator{};
      if (!ask(next, nullptr, step, generator)) return;
      for (;;) {
        const GibbsSums sums = gibbs_->step(step, generator, team);
        if (!ask(next, &sums, step, generator)) return;
      }
    });
  }

 private:
  static bool ask(const py::function& next, const GibbsSums* sums, GibbsStep& step, Pcg64& generator) {
    const Locked locked;
    const py::object given = sums ? py::object(as_tuple(*sums)) : py::none();
    const py::object answer =
        in_python([&] { return next(given, generator.state.high, generator.state.low); });
    if (answer.is_none()) return false;
    const auto [noise, prior, counts, measured, state, increment] =
        answer.cast<std::tuple<double, double, bool, std::int64_t, Words, Words>>();
    step = {noise, prior, counts, measured};
    generator = generator_of(state, increment);
    return true;
  }

  Complex otf_, data_;
  RestorationArray<T> reg_;
  Complex mean_;
  std::unique_ptr<restoration::Gibbs<T>> gibbs_;
};

template <class T>
void bind_sampler(py::module_& m, const char* name) {
  py::class_<Sampler<T>>(m, name)
      .def(py::init<typename Sampler<T>::Complex, typename Sampler<T>::Complex, RestorationArray<T>,
                    typename Sampler<T>::Complex, int>(),
           py::arg("otf").noconvert(), py::arg("data").noconvert(), py::arg("reg").noconvert(),
           py::arg("mean").noconvert(), py::arg("n_threads"))
      .def("run", &Sampler<T>::run, py::arg("next"),
           "Draw samples with a PCG64 generator's numbers, as next(sums, high, low) asks for, until it "
           "answers "
           "None.")
      .def("step_with", &Sampler<T>::step_with, py::arg("noise"), py::arg("prior"), py::arg("counts"),
           py::arg("measured"), py::arg("normals").noconvert(),
           "Draw a sample with given numbers; the sums.");
}

}  // namespace

void bind_restoration_gibbs(py::module_& m) {
  bind_sampler<float>(m, "RestorationGibbsF32");
  bind_sampler<double>(m, "RestorationGibbsF64");
  m.def(
      "restoration_normals",
      [](const Words& state, const Words& increment, RestorationArray<double> out, int n_threads) {
        Pcg64 generator = generator_of(state, increment);
        double* to = out.mutable_data();
        const std::int64_t count = out.size();
        {
          const Unlocked unlocked;
          Team::run(n_threads, [&](Team& team) {
            restoration::NormalStream<double> stream;
            stream.draw(generator, count, team);
            stream.copy(0, count, to);
          });
        }
        return py::make_tuple(generator.state.high, generator.state.low);
      },
      py::arg("state"), py::arg("increment"), py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out with a PCG64 generator's standard normal numbers; the generator's new state.");
}

}  // namespace fastdeblur
