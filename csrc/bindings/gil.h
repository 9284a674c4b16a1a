// Python's lock, given back and taken, so that a thread that still computes when the interpreter ends does no
// harm.
//
// Until 3.13 CPython ends such a (daemon) thread where it asks for the lock, by pthread_exit, which glibc
// does by unwinding the stack like an exception: through a destructor that ends the process, through others
// that touch Python's objects without the lock. As of 3.14 the thread waits for the process' end instead;
// here it does so everywhere.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>
#include <utility>
#if defined(__GNUC__)
#include <cxxabi.h>
#endif

#include "cpu/parallel.h"

namespace fastdeblur {

[[noreturn]] inline void wait_for_the_end() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// Other threads may run Python while it lives.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {  // nothing but pthread_exit
      wait_for_the_end();
    }
  }

 private:
  PyThreadState* state_;
};

// The lock is held while it lives, whether or not it was before.
class Locked {
 public:
  Locked() {
    try {
      state_ = PyGILState_Ensure();
    } catch (...) {
      wait_for_the_end();
    }
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  ~Locked() { PyGILState_Release(state_); }

 private:
  PyGILState_STATE state_;
};

// While it lives nobody asks whether to go on; see Interruptible.
class Uninterrupted {
 public:
  Uninterrupted() = default;
  Uninterrupted(const Uninterrupted&) = delete;
  Uninterrupted& operator=(const Uninterrupted&) = delete;
  ~Uninterrupted() { detail::interrupt = before_; }

 private:
  void (*before_)() = std::exchange(detail::interrupt, nullptr);
};

// Lets Ctrl-C through, every 50 ms: taking the GIL after every tiny image would cost more than the image.
// Only the thread that entered the call can hear a signal, so that the others do nothing.
class Poll {
 public:
  void operator()() {
    if (std::this_thread::get_id() != caller_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - looked_ < std::chrono::milliseconds(50)) return;
    looked_ = now;
    const Locked locked;
    const Uninterrupted uninterrupted;  // a signal's handler may compute, too
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
  }

 private:
  std::thread::id caller_ = std::this_thread::get_id();
  std::chrono::steady_clock::time_point looked_ = std::chrono::steady_clock::now();
};

// Unlocked, and Ctrl-C ends the computation between two chunks of a team's work. Only where nothing that the
// caller can see is written to before the end.
class Interruptible {
 public:
  Interruptible() {
    poll() = Poll();
    detail::interrupt = [] { poll()(); };
  }
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  static Poll& poll() {
    static thread_local Poll mine;
    return mine;
  }

  Unlocked unlocked_;
  Uninterrupted before_;  // of a computation in whose midst a signal's handler began this one
};

// What a call into Python answers. It may ask for the lock anew, and end there.
template <class F>
auto in_python(F call) {
#ifdef __GLIBCXX__
  try {
    return call();
  } catch (abi::__forced_unwind&) {
    wait_for_the_end();
  }
#else
  return call();
#endif
}

}  // namespace fastdeblur
