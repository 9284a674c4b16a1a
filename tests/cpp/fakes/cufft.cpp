// A library of cuFFT's name and functions, which do nothing but say which one it is.
extern "C" {

int cufftCreate(int*) { return 0; }
int cufftDestroy(int) { return 0; }
int cufftSetAutoAllocation(int, int) { return 0; }
int cufftMakePlanMany64(int, int, long long*, long long*, long long, long long, long long*, long long,
                        long long, int, long long, unsigned long*) {
  return 0;
}
int cufftSetWorkArea(int, void*) { return 0; }
int cufftSetStream(int, void*) { return 0; }
int cufftExecR2C(int, float*, void*) { return 0; }
int cufftExecC2R(int, void*, float*) { return 0; }
int cufftExecC2C(int, void*, void*, int) { return 0; }
int cufftExecD2Z(int, double*, void*) { return 0; }
int cufftExecZ2D(int, void*, double*) { return 0; }
#if FAKE_VERSION > 0  // else it is an unfinished one
int cufftExecZ2Z(int, void*, void*, int) { return 0; }
int cufftGetVersion(int* version) {
  *version = FAKE_VERSION;
  return 0;
}
#endif
}
