// What ExecuTorch asks of the process: its log, its failed assertions, its threads.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include <executorch/runtime/core/error.h>

namespace device_asr {

// Directs ExecuTorch's log to the `Log` of the calling thread instead of standard error, and makes a failed assertion
// a `Failure`. Called once, on import.
void register_platform();

// Collects the errors that ExecuTorch logs on this thread while the object lives. They nest.
class Log {
 public:
  Log();
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // The messages so far, or the name of `error` where nothing was logged.
  std::string words(executorch::runtime::Error error) const;

  void add(const char* message, size_t length);

 private:
  std::string text_;
  Log* outer_;
};

// An error that ExecuTorch reports; `what()` is its own words.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The threads that a program computes with, for as long as the program is loaded.
//
// One thread takes no thread pool at all. ExecuTorch has one pool a process, and loaded programs keep a pointer to
// it, so its size can change only while no program uses it.
class Threads {
 public:
  // Raises Failure where loaded programs use the pool with another size.
  explicit Threads(uint32_t count);
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  uint32_t count() const {
    return count_;
  }

 private:
  uint32_t count_;
};

// Keeps ExecuTorch from its thread pool, on this thread, while a program of one thread is loaded or run.
class WithoutPool {
 public:
  explicit WithoutPool(const Threads& threads);
  ~WithoutPool();
  WithoutPool(const WithoutPool&) = delete;
  WithoutPool& operator=(const WithoutPool&) = delete;

 private:
  bool before_;
};

}  // namespace device_asr
