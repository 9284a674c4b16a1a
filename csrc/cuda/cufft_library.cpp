#include "cuda/cufft_library.h"

#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <mutex>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace fastdeblur::cuda {
namespace {

// Versions that have all of the functions, newest first: those of CUDA 13 and 12.
#if defined(_WIN32)
constexpr const char* kNames[] = {"cufft64_12.dll", "cufft64_11.dll"};
constexpr char kSeparator = '\\';
constexpr std::initializer_list<const char*> kToolkitFolders = {"\\bin\\x64", "\\bin"};
constexpr std::initializer_list<const char*> kCondaFolders = {"\\Library\\bin", "\\Library\\bin\\x64"};

void* open_loaded(const char* name) { return GetModuleHandleA(name); }
void* open(const std::string& path) {
  const bool absolute = path.find(kSeparator) != std::string::npos;
  return LoadLibraryExA(path.c_str(), nullptr,
                        absolute ? LOAD_WITH_ALTERED_SEARCH_PATH : LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
}
void* symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}
#else
constexpr const char* kNames[] = {"libcufft.so.12", "libcufft.so.11"};
constexpr char kSeparator = '/';
constexpr std::initializer_list<const char*> kToolkitFolders = {"/lib64", "/lib"};
constexpr std::initializer_list<const char*> kCondaFolders = {"/lib"};

void* open_loaded(const char* name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD); }
void* open(const std::string& path) { return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); }
void* symbol(void* library, const char* name) { return dlsym(library, name); }
#endif

std::mutex mutex;
std::vector<std::string> given_folders;
std::unique_ptr<const CufftLibrary> loaded;  // stays for as long as the process

// Packages' folders first, then conda's, the system's search path, and a toolkit's.
void* find() {
  for (const char* name : kNames)
    if (void* library = open_loaded(name)) return library;
  std::vector<std::string> folders = given_folders;
  if (const char* conda = std::getenv("CONDA_PREFIX"))
    for (const char* below : kCondaFolders) folders.push_back(std::string(conda) + below);
  folders.push_back("");
  for (const char* variable : {"CUDA_PATH", "CUDA_HOME"})
    if (const char* toolkit = std::getenv(variable))
      for (const char* below : kToolkitFolders) folders.push_back(std::string(toolkit) + below);
#if !defined(_WIN32)
  folders.push_back("/usr/local/cuda/lib64");
#endif
  for (const std::string& folder : folders)
    for (const char* name : kNames)
      if (void* library = open(folder.empty() ? name : folder + kSeparator + name)) return library;
  return nullptr;
}

template <class F>
bool take(void* library, const char* name, F& to) {
  to = reinterpret_cast<F>(symbol(library, name));
  return to != nullptr;
}

}  // namespace

void add_library_folders(const std::vector<std::string>& folders) {
  const std::lock_guard<std::mutex> lock(mutex);
  given_folders = folders;
}

const CufftLibrary* cufft_library(std::string* why_not) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (loaded) return loaded.get();
  void* library = find();
  if (!library) {
    if (why_not)
      *why_not =
          std::string("cuFFT (") + kNames[0] + ") was not found: pip install \"fastdeblur[cuda]\" brings it";
    return nullptr;
  }
  auto l = std::make_unique<CufftLibrary>();
  const bool complete =
      take(library, "cufftCreate", l->create) && take(library, "cufftDestroy", l->destroy) &&
      take(library, "cufftSetAutoAllocation", l->set_auto_allocation) &&
      take(library, "cufftMakePlanMany64", l->make_plan_many_64) &&
      take(library, "cufftSetWorkArea", l->set_work_area) && take(library, "cufftSetStream", l->set_stream) &&
      take(library, "cufftExecR2C", l->exec_r2c) && take(library, "cufftExecC2R", l->exec_c2r) &&
      take(library, "cufftExecC2C", l->exec_c2c) && take(library, "cufftExecD2Z", l->exec_d2z) &&
      take(library, "cufftExecZ2D", l->exec_z2d) && take(library, "cufftExecZ2Z", l->exec_z2z) &&
      take(library, "cufftGetVersion", l->get_version);
  if (!complete) {
    if (why_not) *why_not = "the cuFFT that was found lacks functions";
    return nullptr;
  }
  loaded = std::move(l);
  return loaded.get();
}

std::string CufftLibrary::version() const {
  int v = 0;
  if (get_version(&v) != 0) return "unknown";
  return std::to_string(v / 1000) + "." + std::to_string(v / 100 % 10) + "." + std::to_string(v % 100);
}

std::string cufft_error(int result) {
  constexpr const char* names[] = {"success",        "invalid plan",   "allocation failed", "invalid type",
                                   "invalid value",  "internal error", "execution failed",  "setup failed",
                                   "invalid length", "unaligned data"};
  const bool known = result >= 0 && result < static_cast<int>(std::size(names));
  return std::string("cuFFT: ") + (known ? names[result] : "error " + std::to_string(result));
}

}  // namespace fastdeblur::cuda
