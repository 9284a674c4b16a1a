// Streams and events with an owner, made when they are first asked for.
#pragma once

#include <utility>

#include "cuda/runtime.h"

namespace fastdeblur::cuda {

// A stream of the plan's own.
class OwnStream {
 public:
  explicit OwnStream(Runtime& runtime) : runtime_(runtime) {}
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  ~OwnStream() {
    if (stream_) runtime_.destroy_stream(stream_);
  }
  Stream get() {
    if (!stream_) stream_ = runtime_.make_stream();
    return stream_;
  }
  void synchronize() noexcept {
    try {
      if (stream_) runtime_.synchronize(stream_);
    } catch (...) {  // whatever failed has been told already
    }
  }

 private:
  Runtime& runtime_;
  Stream stream_ = nullptr;
};

class OwnEvent {
 public:
  explicit OwnEvent(Runtime& runtime) : runtime_(&runtime) {}
  OwnEvent(OwnEvent&& other) noexcept
      : runtime_(other.runtime_), event_(std::exchange(other.event_, nullptr)) {}
  OwnEvent(const OwnEvent&) = delete;
  OwnEvent& operator=(const OwnEvent&) = delete;
  ~OwnEvent() {
    if (event_) runtime_->destroy_event(event_);
  }
  Event get() {
    if (!event_) event_ = runtime_->make_event();
    return event_;
  }

 private:
  Runtime* runtime_;
  Event event_ = nullptr;
};

}  // namespace fastdeblur::cuda
