// Threads: the one home of OpenMP.
//
// A Team is made once per call. Its passes are handed out in small chunks, and a pass ends when its chunks
// are done, not when every thread has come by: a thread that the system gave no processor delays nobody
// unless it holds a chunk. OpenMP's own loops end in a barrier, which on a busy machine made two threads
// slower than one.
//
// OpenMP's runtimes do not survive fork(): in a child process, and where there is no OpenMP, teams are made
// of std::thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define FASTDEBLUR_HAVE_FORK 1
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace fastdeblur {

using std::int64_t;

namespace detail {

inline std::atomic<bool>& forked() {
  static std::atomic<bool> flag{false};
  return flag;
}

// Registered once per process; the flag it sets is never cleared. To be called before anybody could fork:
// another library may have started the OpenMP runtime that a child would wait for.
inline void watch_for_fork() {
#if defined(FASTDEBLUR_HAVE_FORK)
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forked().store(true); });
  (void)registered;
#endif
}

// Asked on the thread that entered a computation, before each of its chunks; throws to end it. Null: nobody
// asks.
inline thread_local void (*interrupt)() = nullptr;

inline void ask() {
  if (interrupt) interrupt();
}

inline void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ __volatile__("yield");
#endif
}

}  // namespace detail

// What n_threads = 0 means: all that OpenMP would use.
inline int default_threads() {
#if defined(_OPENMP)
  return omp_get_max_threads();
#else
  const unsigned n = std::thread::hardware_concurrency();
  return n ? static_cast<int>(n) : 1;
#endif
}

// The size of the team that a call gets. A thread costs scratch and a stack, and OpenMP ends the process
// where the system refuses one, so that absurd requests are cut.
inline int team_size(int n_threads) {
  if (n_threads <= 0) n_threads = default_threads();
  // Asking the system takes longer than to filter a small image.
  static const int most = std::max(64, 4 * static_cast<int>(std::thread::hardware_concurrency()));
  return std::min(n_threads, most);
}

class Team {
 public:
  // Runs body(team) on this thread, with n_threads - 1 others at its passes' disposal. Exceptions come back
  // to the caller.
  template <class Body>
  static void run(int n_threads, Body&& body) {
    detail::watch_for_fork();
    n_threads = team_size(n_threads);
    Team team(n_threads);
    if (n_threads == 1) return body(team);
#if defined(_OPENMP)
    if (!detail::forked().load()) {
      std::exception_ptr error;
#pragma omp parallel num_threads(n_threads)
      {
        if (omp_get_thread_num() == 0) {
          error = team.lead(body);
        } else {
          team.work(omp_get_thread_num());
        }
      }
      if (error) std::rethrow_exception(error);
      return;
    }
#endif
    std::vector<std::thread> workers;
    std::exception_ptr error;
    try {
      workers.reserve(static_cast<std::size_t>(n_threads - 1));
      for (int w = 1; w < n_threads; ++w) workers.emplace_back([&team, w] { team.work(w); });
    } catch (...) {
      // No more threads to be had: the team works with those it has.
    }
    error = team.lead(body);
    for (auto& worker : workers) worker.join();
    if (error) std::rethrow_exception(error);
  }

  int size() const { return size_; }

  // Calls f(i, worker) for every i in [0, n), each once, in any order, on any of the team's threads (worker <
  // size()).
  template <class F>
  void parallel_for(int64_t n, F&& f) {
    if (n <= 0) return;
    if (size_ == 1 || n == 1) {
      for (int64_t i = 0; i < n; ++i) {
        detail::ask();
        f(i, 0);
      }
      return;
    }
    constexpr int64_t most = int64_t(1) << 31;  // indices that fit beside the pass number
    for (int64_t begin = 0; begin < n; begin += most) {
      const int64_t count = n - begin < most ? n - begin : most;
      auto shifted = [&f, begin](int64_t i, int worker) { f(begin + i, worker); };
      hand_out(count, shifted);
    }
  }

 private:
  explicit Team(int size) : size_(size) {}

  // ticket_ = pass number << 32 | chunks not yet taken. Taking a chunk is one compare-and-swap, so that a
  // thread which comes late can never take a chunk of a pass under the impression that it belongs to another.
  static constexpr std::uint64_t kCount = 0xffffffffu;
  static constexpr std::uint64_t kStop = ~std::uint64_t(0);

  template <class F>
  void hand_out(int64_t n, F& f) {
    context_ = &f;
    invoke_ = [](void* context, int64_t i, int worker) { (*static_cast<F*>(context))(i, worker); };
    count_ = n;
    failed_.store(false, std::memory_order_relaxed);
    pending_.store(n, std::memory_order_relaxed);
    ++pass_;
    ticket_.store((pass_ << 32) | static_cast<std::uint64_t>(n), std::memory_order_release);
    ticket_.notify_all();
    while (take(0)) {
    }
    wait_until_done();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  bool take(int worker) {
    std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
    do {
      if (ticket == kStop || (ticket & kCount) == 0) return false;
    } while (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                            std::memory_order_acquire));
    // This chunk is ours, so its pass cannot end: context_, invoke_ and count_ are its own.
    const int64_t i = count_ - static_cast<int64_t>(ticket & kCount);
    if (!failed_.load(std::memory_order_relaxed)) {
      try {
        detail::ask();
        invoke_(context_, i, worker);
      } catch (...) {
        if (!failed_.exchange(true)) error_ = std::current_exception();
      }
    }
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_all();
    return true;
  }

  // Spinning bridges the gap between two passes, which is shorter than a system call; then the thread sleeps.
  static constexpr int kSpins = 200;

  void wait_until_done() {
    for (int spin = 0; spin < kSpins; ++spin) {
      if (pending_.load(std::memory_order_acquire) == 0) return;
      detail::pause();
    }
    for (int64_t left = pending_.load(std::memory_order_acquire); left != 0;
         left = pending_.load(std::memory_order_acquire))
      pending_.wait(left, std::memory_order_acquire);
  }

  void work(int worker) {
    int spin = 0;
    for (;;) {
      const std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
      if (ticket == kStop) return;
      if (take(worker)) {
        spin = 0;
      } else if (++spin < kSpins) {
        detail::pause();
      } else if ((ticket & kCount) == 0) {
        ticket_.wait(ticket, std::memory_order_acquire);
        spin = 0;
      }
    }
  }

  template <class Body>
  std::exception_ptr lead(Body& body) {
    std::exception_ptr error;
    try {
      body(*this);
    } catch (...) {
      error = std::current_exception();
    }
    ticket_.store(kStop, std::memory_order_release);
    ticket_.notify_all();
    return error;
  }

  const int size_;
  std::uint64_t pass_ = 0;
  void* context_ = nullptr;
  void (*invoke_)(void*, int64_t, int) = nullptr;
  int64_t count_ = 0;
  std::exception_ptr error_;
  std::atomic<bool> failed_{false};
  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  alignas(64) std::atomic<int64_t> pending_{0};
};

// Calls f(i) for every i in [0, n).
template <class F>
void parallel_for(int64_t n, int n_threads, F&& f) {
  if (n <= 0) return;
  n_threads = static_cast<int>(std::min<int64_t>(n, team_size(n_threads)));
  Team::run(n_threads, [&](Team& team) { team.parallel_for(n, [&](int64_t i, int) { f(i); }); });
}

}  // namespace fastdeblur
