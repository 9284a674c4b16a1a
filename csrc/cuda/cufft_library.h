// cuFFT, found when it is first needed: nothing is linked to it, and the package runs without it where nobody
// asks for a device.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fastdeblur::cuda {

// The few functions that are used, as cufft.h declares them.
struct CufftLibrary {
  int (*create)(int* handle) = nullptr;
  int (*destroy)(int handle) = nullptr;
  int (*set_auto_allocation)(int handle, int on) = nullptr;
  int (*make_plan_many_64)(int handle, int rank, long long* n, long long* inembed, long long istride,
                           long long idist, long long* onembed, long long ostride, long long odist, int type,
                           long long batch, std::size_t* workspace) = nullptr;
  int (*set_work_area)(int handle, void* workspace) = nullptr;
  int (*set_stream)(int handle, void* stream) = nullptr;
  int (*exec_r2c)(int handle, float* in, void* out) = nullptr;
  int (*exec_c2r)(int handle, void* in, float* out) = nullptr;
  int (*exec_c2c)(int handle, void* in, void* out, int direction) = nullptr;
  int (*exec_d2z)(int handle, double* in, void* out) = nullptr;
  int (*exec_z2d)(int handle, void* in, double* out) = nullptr;
  int (*exec_z2z)(int handle, void* in, void* out, int direction) = nullptr;
  int (*get_version)(int* version) = nullptr;

  std::string version() const;  // "12.0.1"
};

// Folders to look in before the system's own: those of installed packages.
void add_library_folders(const std::vector<std::string>& folders);

// The library, or null and one sentence why not. Found once; not finding it is not remembered.
const CufftLibrary* cufft_library(std::string* why_not = nullptr);

std::string cufft_error(int result);

}  // namespace fastdeblur::cuda
