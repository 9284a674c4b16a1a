// Planes whose arrays are in host memory, taken through a ring of buffers: while one job computes, the next
// is on its way in and the last on its way out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/element_bytes.h"
#include "cuda/deconvolver.h"
#include "cuda/staging.h"
#include "cuda/streams.h"

namespace fastdeblur::cuda {

template <class T>
HostArray host_array(const ImageView& view) {
  return {static_cast<char*>(const_cast<void*>(view.data)), view.stride, bytes_of(view.element)};
}
template <class T>
HostArray host_array(const MutableImageView<T>& view) {
  return {reinterpret_cast<char*>(view.data), view.stride, static_cast<std::int64_t>(sizeof(T))};
}

template <class T>
class Pipeline {
 public:
  explicit Pipeline(Arena& arena)
      : arena_(arena), up_(arena.runtime()), down_(arena.runtime()), room_(arena.runtime()) {}

  // compute(first plane, planes with all their arrays on the device) queues its work on the arena's stream;
  // *bad (on the device) is not 0 as soon as an image of the call is found to be bad, and then nothing is
  // written. Returns after everything that goes to host memory is there.
  template <class Compute>
  void run(const std::vector<LocatedPlane<T>>& planes, const Shape& frame, const int* bad, Compute compute) {
    in_flight_.clear();
    std::vector<Job> jobs = jobs_of(planes, frame);
    make_room(jobs, frame);
    for (Job& job : jobs) {
      if (job.travels())
        run_job(job, frame, bad, compute);
      else
        compute(job.first, job.planes);
    }
    while (!in_flight_.empty()) finish();
  }

  // Planes that are on the device, or lie in the same memory, such as the channels of an image, are one job.
  static std::size_t job_end(const std::vector<LocatedPlane<T>>& planes, std::size_t first,
                             const Shape& frame) {
    std::size_t end = first + 1;
    if (stays(planes[first])) {
      while (end < planes.size() && stays(planes[end])) ++end;
      return end;
    }
    if (planes[first].image_on_device) return end;
    const Span span = span_of(host_array<T>(planes[first].view.image), frame);
    while (end < planes.size() && !planes[end].image_on_device &&
           span.meets(span_of(host_array<T>(planes[end].view.image), frame)))
      ++end;
    return end;
  }

  // Whether compute is called once, for all planes.
  static bool is_one_job(const std::vector<LocatedPlane<T>>& planes, const Shape& frame) {
    return job_end(planes, 0, frame) == planes.size();
  }

  // After an error: nothing is under way any more.
  void stop() noexcept {
    up_.synchronize();
    down_.synchronize();
    in_flight_.clear();
  }

 private:
  static constexpr std::size_t kSlots = 3;

  // Arrays that have to travel, and where in the planes' views their address is to be put.
  struct Arrays {
    std::vector<HostArray> given;
    std::vector<std::function<void(const HostArray&)>> put;

    template <class View>
    void add(bool on_device, View& view) {
      if (on_device || !view.data) return;
      given.push_back(host_array<T>(view));
      put.push_back([&view](const HostArray& there) {
        view.data = static_cast<decltype(view.data)>(static_cast<void*>(there.data));
        view.stride = there.stride;
      });
    }
    bool empty() const { return given.empty(); }
  };

  struct Slot {
    Transfer in, out;
    Pinned flag;
    OwnEvent uploaded, computed, looked;
    bool computing = false;  // an earlier job may still be reading what lies in `in`
    explicit Slot(Arena& arena)
        : in(arena),
          out(arena),
          flag(arena.runtime()),
          uploaded(arena.runtime()),
          computed(arena.runtime()),
          looked(arena.runtime()) {}
  };

  struct Job {
    std::size_t first = 0;  // plane
    std::vector<LocatedPlane<T>> planes;
    Arrays in, out;
    std::size_t number = 0;  // among those that travel
    bool travels() const { return !in.empty() || !out.empty(); }
  };

  static bool stays(const LocatedPlane<T>& p) {
    return p.image_on_device && p.out_on_device && (p.weights_on_device || !p.view.weights) &&
           (p.init_on_device || !p.view.init);
  }
  static std::vector<Job> jobs_of(const std::vector<LocatedPlane<T>>& planes, const Shape& frame) {
    std::vector<Job> jobs;
    std::size_t number = 0;
    for (std::size_t first = 0; first < planes.size();) {
      const std::size_t end = job_end(planes, first, frame);
      Job& job = jobs.emplace_back();
      job.first = first;
      job.planes.assign(planes.begin() + static_cast<std::ptrdiff_t>(first),
                        planes.begin() + static_cast<std::ptrdiff_t>(end));
      for (auto& plane : job.planes) {
        job.in.add(plane.image_on_device, plane.view.image);
        job.in.add(plane.weights_on_device, plane.view.weights);
        job.in.add(plane.init_on_device, plane.view.init);
        job.out.add(plane.out_on_device, plane.view.out);
      }
      if (job.travels()) job.number = number++;
      first = end;
    }
    return jobs;
  }

  // All memory that the jobs need, before the first: where there is too little, no result is there yet. From
  // the last on, so that the first jobs of all slots have their places afterwards.
  void make_room(const std::vector<Job>& jobs, const Shape& frame) {
    bool is_new = false;
    for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) {
      if (!job->travels()) continue;
      while (slots_.size() <= job->number % kSlots) slots_.emplace_back(arena_);
      Slot& slot = slots_[job->number % kSlots];
      is_new |= slot.in.place(job->in.given, frame, false);
      slot.out.place(job->out.given, frame, true);
      slot.flag.require(sizeof(int));
    }
    if (!is_new) return;  // else: memory is had in the order of the arena's stream
    arena_.runtime().record(room_.get(), arena_.stream());
    arena_.runtime().wait(up_.get(), room_.get());
  }

  template <class Compute>
  void run_job(Job& job, const Shape& frame, const int* bad, Compute& compute) {
    Runtime& runtime = arena_.runtime();
    const Stream stream = arena_.stream();
    while (in_flight_.size() >= kSlots) finish();
    const std::size_t at = job.number % kSlots;
    Slot& slot = slots_[at];
    if (job.number >= kSlots) {  // there is room
      slot.in.place(job.in.given, frame, false);
      slot.out.place(job.out.given, frame, true);
    }
    if (slot.computing) runtime.wait(up_.get(), slot.computed.get());
    slot.in.send(up_.get());
    runtime.record(slot.uploaded.get(), up_.get());
    runtime.wait(stream, slot.uploaded.get());
    for (std::size_t i = 0; i < job.in.put.size(); ++i) job.in.put[i](slot.in.at(i));
    for (std::size_t i = 0; i < job.out.put.size(); ++i) job.out.put[i](slot.out.at(i));
    compute(job.first, job.planes);
    runtime.record(slot.computed.get(), stream);
    slot.computing = true;
    runtime.wait(down_.get(), slot.computed.get());
    runtime.copy(slot.flag.data(), bad, sizeof(int), down_.get());
    runtime.record(slot.looked.get(), down_.get());
    slot.out.fetch(down_.get());
    in_flight_.push_back(at);
  }

  // Waits for the oldest job, and hands out its results.
  void finish() {
    Slot& slot = slots_[in_flight_.front()];
    arena_.runtime().synchronize_event(slot.looked.get());
    in_flight_.erase(in_flight_.begin());
    if (*reinterpret_cast<const int*>(slot.flag.data()) == 0) slot.out.unpack();
  }

  Arena& arena_;
  OwnStream up_, down_;
  OwnEvent room_;  // memory asked for
  std::vector<Slot> slots_;
  std::vector<std::size_t> in_flight_;
};

}  // namespace fastdeblur::cuda
