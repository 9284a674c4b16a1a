// One iteration of the Gibbs sampler behind unsupervised Wiener deconvolution, in one walk over the half
// spectrum.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/parallel.h"
#include "restoration/normal_stream.h"

namespace fastdeblur::restoration {

template <class T>
struct GibbsProblem {
  std::int64_t rows, n;         // of all arrays, contiguous
  const std::complex<T>* otf;   // H
  const std::complex<T>* data;  // Y
  const T* reg;                 // R
  std::complex<T>* mean;        // sum of the samples that count
};

// Given beforehand, what a step is to do with its sample.
struct GibbsStep {
  double noise, prior;    // precisions gn and gx
  bool counts;            // add the sample to the mean
  std::int64_t measured;  // number k of samples in the mean with this one, where its change is wanted, else 0
};

// |Y - H X|^2 and |R X|^2, over all columns and over the first alone; sum |M_k / k - M_{k-1} / (k - 1)| and
// sum |M_k|.
struct GibbsSums {
  double residual = 0, residual_first = 0, roughness = 0, roughness_first = 0, change = 0, size = 0;
};

// The sample is X = gn conj(H) Y / p + sqrt(1 / (2 p)) (a + i b), p = gn |H|^2 + gx |R|^2 (Orieux et al.
// 2010, doi:10.1364/JOSAA.27.001593, equations 27 to 30), with a and then b drawn for the whole spectrum.
template <class T>
class Gibbs {
 public:
  Gibbs(const GibbsProblem<T>& problem, int n_threads);

  int threads() const { return threads_; }

  // With numbers of its own, which move the generator on. The team, of at most threads(), outlives many
  // steps.
  GibbsSums step(const GibbsStep& step, Pcg64& generator, Team& team);
  // With given numbers: all of a, then all of b.
  GibbsSums step(const GibbsStep& step, const double* normals);

 private:
  template <class Normals>
  GibbsSums walk(Team& team, const GibbsStep& step, Normals normals);

  GibbsProblem<T> problem_;
  int threads_;
  std::int64_t band_;  // rows
  std::vector<GibbsSums> sums_;
  std::vector<Buffer<T>> scratch_;
  NormalStream<T> stream_;
};

extern template class Gibbs<float>;
extern template class Gibbs<double>;

}  // namespace fastdeblur::restoration
