// Marks functions that the same source gives to the host and to a CUDA device.
#pragma once

#if defined(__CUDACC__)
#define FD_HD __host__ __device__ __forceinline__
#elif defined(FASTDEBLUR_STEPPED)  // kernels on the host, for tests: nothing is gained by large functions
#define FD_HD inline
#elif defined(_MSC_VER)
#define FD_HD __forceinline
#else
#define FD_HD inline __attribute__((always_inline))
#endif

// The same for longer functions, whose inlining is left to the compiler.
#if defined(__CUDACC__)
#define FD_HD_FUNCTION __host__ __device__ inline
#else
#define FD_HD_FUNCTION inline
#endif
