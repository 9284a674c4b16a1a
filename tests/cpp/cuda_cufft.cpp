// Where cuFFT is looked for, in which order, and what is said of one that is none: with libraries of its name
// in folders of the test's. Each search is in a process of its own, since a library that was found stays.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cuda/cufft_library.h"

namespace fastdeblur::tests {
namespace {

using cuda::cufft_library;

const std::string fakes = FASTDEBLUR_FAKES;
int failures = 0;

struct Place {
  std::vector<std::string> packages;
  std::vector<std::pair<const char*, std::string>> environment;
};

// The version that is found, or why there is none.
std::string found() {
  std::string why_not;
  const cuda::CufftLibrary* library = cufft_library(&why_not);
  return library ? library->version() : why_not;
}

void check(const std::string& name, const Place& place, const std::function<bool()>& holds) {
  const pid_t child = fork();
  if (child == 0) {
    for (const char* variable : {"CONDA_PREFIX", "CUDA_PATH", "CUDA_HOME"}) unsetenv(variable);
    for (const auto& [variable, value] : place.environment) setenv(variable, value.c_str(), 1);
    cuda::add_library_folders(place.packages);
    _exit(holds() ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  if (status == 0) return;
  ++failures;
  std::printf("FAILED: %s\n", name.c_str());
}

void says(const std::string& name, const Place& place, const std::string& wanted) {
  check(name, place, [&] {
    const std::string answer = found();
    if (answer != wanted) std::printf("%s\n", answer.c_str());
    std::fflush(stdout);
    return answer == wanted;
  });
}

// Whether there is a cuFFT of the machine's own, which then comes before or after the test's.
bool on_the_search_path() {
  for (const char* name : {"libcufft.so.12", "libcufft.so.11"})
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
      dlclose(library);
      return true;
    }
  return false;
}
bool in_the_usual_folder() {
  for (const char* name : {"libcufft.so.12", "libcufft.so.11"})
    if (access((std::string("/usr/local/cuda/lib64/") + name).c_str(), R_OK) == 0) return true;
  return false;
}

}  // namespace
}  // namespace fastdeblur::tests

int main() {
  using namespace fastdeblur::tests;
  const std::string a = fakes + "/12", b = fakes + "/11", both = fakes + "/both", part = fakes + "/part";
  says("a package's", {{a}, {}}, "12.0.1");
  says("the first package's", {{b, a}, {}}, "11.3.2");
  says("the newest of a folder", {{both}, {}}, "12.0.1");
  says("folders without it are passed over", {{fakes + "/none", fakes, b}, {}}, "11.3.2");
  says("packages before conda", {{b}, {{"CONDA_PREFIX", fakes + "/conda"}}}, "11.3.2");
  says("conda's", {{}, {{"CONDA_PREFIX", fakes + "/conda"}}}, "12.0.1");
  says("one that lacks functions", {{part}, {}}, "the cuFFT that was found lacks functions");
  if (!on_the_search_path()) {
    says("a toolkit's", {{}, {{"CUDA_HOME", fakes + "/toolkit"}}}, "11.3.2");
    says("CUDA_PATH before CUDA_HOME",
         {{}, {{"CUDA_HOME", fakes + "/toolkit"}, {"CUDA_PATH", fakes + "/conda"}}}, "12.0.1");
  }
  check("one that is loaded already", {{b}, {}}, [&] {
    return dlopen((a + "/libcufft.so.12").c_str(), RTLD_NOW | RTLD_LOCAL) && found() == "12.0.1";
  });
  check("what was found stays", {{a}, {}}, [&] {
    const auto* first = fastdeblur::cuda::cufft_library();
    fastdeblur::cuda::add_library_folders({b});
    return first && fastdeblur::cuda::cufft_library() == first;
  });
  if (!on_the_search_path() && !in_the_usual_folder())
    check("none, which is not remembered", {}, [&] {
      const std::string why = found();
      fastdeblur::cuda::add_library_folders({a});
      return why.find("cuFFT (libcufft.so.12) was not found: pip install") == 0 && found() == "12.0.1";
    });
  if (fastdeblur::cuda::cufft_error(2) != "cuFFT: allocation failed" ||
      fastdeblur::cuda::cufft_error(99) != "cuFFT: error 99") {
    ++failures;
    std::printf("FAILED: words for errors\n");
  }
  return failures ? 1 : 0;
}
