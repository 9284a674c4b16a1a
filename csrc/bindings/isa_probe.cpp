// fastdeblur._isa_probe: asks the processor, before any code compiled for more than the baseline is loaded,
// which x86-64 level it and the operating system can run. One function, plain C API, nothing else to load.
//
// Levels: System V psABI for x86-64, section 3.1.1. Bits: Intel SDM volume 2A, CPUID; volume 1, section 13.3
// (XCR0).
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>

#if defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC))
#define FASTDEBLUR_X86_64 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace {

#ifdef FASTDEBLUR_X86_64

struct Registers {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// The registers of a CPUID leaf; all zero where the processor does not have it.
Registers cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  Registers r;
#if defined(_MSC_VER)
  int info[4];
  __cpuid(info, static_cast<int>(leaf & 0x80000000u));
  if (static_cast<std::uint32_t>(info[0]) < leaf) return r;
  __cpuidex(info, static_cast<int>(leaf), static_cast<int>(subleaf));
  r.eax = static_cast<std::uint32_t>(info[0]);
  r.ebx = static_cast<std::uint32_t>(info[1]);
  r.ecx = static_cast<std::uint32_t>(info[2]);
  r.edx = static_cast<std::uint32_t>(info[3]);
#else
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return Registers{};
#endif
  return r;
}

// Which registers the operating system saves when it switches tasks. Only where CPUID says OSXSAVE.
std::uint64_t xcr0() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  std::uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
#endif
}

bool has(std::uint64_t value, std::uint64_t bits) { return (value & bits) == bits; }

constexpr std::uint64_t bit(int i) { return std::uint64_t{1} << i; }

int x86_level() {
  const Registers features = cpuid(1), extended = cpuid(7), amd = cpuid(0x80000001u);

  // v2: SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF
  if (!has(features.ecx, bit(0) | bit(9) | bit(13) | bit(19) | bit(20) | bit(23)) || !has(amd.ecx, bit(0)))
    return 1;

  // v3: FMA, MOVBE, OSXSAVE, AVX, F16C; BMI1, AVX2, BMI2; LZCNT; the system saves SSE and AVX registers
  if (!has(features.ecx, bit(12) | bit(22) | bit(27) | bit(28) | bit(29)) ||
      !has(extended.ebx, bit(3) | bit(5) | bit(8)) || !has(amd.ecx, bit(5)) || !has(xcr0(), bit(1) | bit(2)))
    return 2;

  // v4: AVX-512 F, DQ, CD, BW, VL; the system saves the mask and all parts of the 512-bit registers
  if (!has(extended.ebx, bit(16) | bit(17) | bit(28) | bit(30) | bit(31)) ||
      !has(xcr0(), bit(5) | bit(6) | bit(7)))
    return 3;
  return 4;
}

#else

int x86_level() { return 0; }

#endif

PyObject* py_x86_level(PyObject*, PyObject*) { return PyLong_FromLong(x86_level()); }

PyMethodDef methods[] = {
    {"x86_level", py_x86_level, METH_NOARGS,
     "x86_level() -> int\n\nHighest x86-64 level (1 to 4) that this processor and operating system can run; "
     "0 on "
     "other processors."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef_Slot slots[] = {
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, nullptr},
};

PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "fastdeblur._isa_probe", nullptr, 0, methods, slots, nullptr, nullptr, nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__isa_probe() { return PyModuleDef_Init(&module); }
