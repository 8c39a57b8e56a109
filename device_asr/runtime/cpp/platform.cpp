#include "platform.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include <executorch/extension/threadpool/threadpool_guard.h>
#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

// ExecuTorch's wheel exports the thread pool but does not ship its header (extension/threadpool/threadpool.h).
namespace executorch::extension::threadpool {
class ThreadPool final {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t count);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace device_asr {
namespace {

using executorch::extension::threadpool::get_threadpool;
using executorch::extension::threadpool::NoThreadPoolGuard;

constexpr size_t kLongestText = 2000;  // bytes of messages that one error keeps

thread_local Log* current = nullptr;

void emit(
    et_timestamp_t,
    et_pal_log_level_t level,
    const char*,
    const char*,
    size_t,
    const char* message,
    size_t length) {
  const bool fatal = level == et_pal_log_level_t::kFatal;
  if (current != nullptr && (fatal || level == et_pal_log_level_t::kError)) {
    current->add(message, length);
  } else if (fatal) {  // the process ends after it
    std::fprintf(stderr, "ExecuTorch stops the process: %.*s\n", static_cast<int>(length), message);
  }
}

// ExecuTorch calls it when an assertion fails, mostly on a damaged program. Its libraries are built with exceptions,
// so that the call ends as any other failure does; only a worker of the thread pool, without a log, ends the process.
void give_up() {
  if (current == nullptr) {
    std::abort();
  }
  throw Failure(current->words(executorch::runtime::Error::Internal));
}

// The programs that use the thread pool now. Only `Threads` touches them.
std::mutex pool_mutex;
int pool_users = 0;

}  // namespace

void register_platform() {
  executorch::runtime::runtime_init();
  executorch::runtime::register_pal(executorch::runtime::PalImpl::create(
      nullptr, give_up, nullptr, nullptr, emit, nullptr, nullptr, __FILE__));
}

Log::Log() : outer_(current) {
  current = this;
}

Log::~Log() {
  current = outer_;
}

std::string Log::words(executorch::runtime::Error error) const {
  return text_.empty() ? executorch::runtime::to_string(error) : text_;
}

void Log::add(const char* message, size_t length) {
  if (text_.size() + length + 2 > kLongestText) {
    return;
  }
  if (!text_.empty()) {
    text_ += "; ";
  }
  text_.append(message, length);
}

Threads::Threads(uint32_t count) : count_(count) {
  if (count == 1) {
    return;
  }
  std::lock_guard<std::mutex> lock(pool_mutex);
  auto* pool = get_threadpool();
  if (pool == nullptr) {
    throw Failure("the thread pool cannot be made");
  }
  if (pool->get_thread_count() != count) {
    if (pool_users > 0) {
      throw Failure(
          "wanted " + std::to_string(count) + " threads, found programs loaded with " +
          std::to_string(pool->get_thread_count()) + " in this process");
    }
    if (!pool->_unsafe_reset_threadpool(count)) {
      throw Failure("a thread pool of " + std::to_string(count) + " threads cannot be made");
    }
  }
  ++pool_users;
}

Threads::~Threads() {
  if (count_ != 1) {
    std::lock_guard<std::mutex> lock(pool_mutex);
    --pool_users;
  }
}

WithoutPool::WithoutPool(const Threads& threads) : before_(NoThreadPoolGuard::is_enabled()) {
  NoThreadPoolGuard::set_enabled(threads.count() == 1);
}

WithoutPool::~WithoutPool() {
  NoThreadPoolGuard::set_enabled(before_);
}

}  // namespace device_asr
