// What is said of machines whose devices cannot compute.
#include "cuda/why_not.h"

#include <cstdio>

namespace fastdeblur::tests {
namespace {

using cuda::MachineSeen;
using cuda::why_not;

int failures = 0;

void expect(const std::string& said, const std::string& expected) {
  if (said == expected) return;
  ++failures;
  std::printf("FAILED: said \"%s\", expected \"%s\"\n", said.c_str(), expected.c_str());
}

MachineSeen good() {
  MachineSeen seen;
  seen.driver = 13010;
  seen.runtime = 13000;
  seen.lowest = 80;
  seen.devices = {{9, 0, true}};
  seen.no_cufft = [] { return std::string(); };
  return seen;
}

void check() {
  expect(why_not(good()), "");
  expect(why_not(good(), 0), "");
  for (const int device : {1, -1})
    expect(why_not(good(), device), "there is no cuda:" + std::to_string(device) + ", only 1 device");
  MachineSeen seen = good();
  seen.driver = 0;
  seen.devices.clear();
  expect(why_not(seen), "there is no NVIDIA driver on this machine");
  expect(why_not(seen, 3), "there is no NVIDIA driver on this machine");
  seen.driver = 12080;
  seen.answer = MachineSeen::old_driver;
  for (const std::string& said : {why_not(seen), why_not(seen, 0)})
    expect(said, "the NVIDIA driver serves CUDA 12.8, and CUDA 13.0 is needed");
  seen.answer = MachineSeen::no_device;
  expect(why_not(seen), "there is no CUDA device");
  seen.answer = MachineSeen::good;  // and yet none
  expect(why_not(seen), "there is no CUDA device");
  seen.answer = MachineSeen::broken;
  seen.error = "system not yet initialized";
  expect(why_not(seen, 0), "the CUDA devices cannot be used: system not yet initialized");

  seen = good();
  seen.devices = {{7, 5, true}, {9, 0, false}};
  expect(why_not(seen), "cuda:0 has compute capability 7.5, and 8.0 is needed");
  expect(why_not(seen, 1), "cuda:1 has no memory pools");
  expect(why_not(seen, 2), "there is no cuda:2, only 2 devices");
  seen.devices.push_back({12, 0, true});  // one that can is enough
  expect(why_not(seen), "");
  expect(why_not(seen, 2), "");
  bool looked = false;
  seen.no_cufft = [&] {
    looked = true;
    return std::string("there is no cuFFT");
  };
  expect(why_not(seen, 0), "cuda:0 has compute capability 7.5, and 8.0 is needed");
  if (looked) expect("looked for cuFFT", "not where there is no use for it");
  expect(why_not(seen, 2), "there is no cuFFT");
}

}  // namespace
}  // namespace fastdeblur::tests

int main() {
  fastdeblur::tests::check();
  return fastdeblur::tests::failures ? 1 : 0;
}
