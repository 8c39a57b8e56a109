// A program of ExecuTorch: loaded from a mapped file, its methods run on tensors that the caller keeps.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <executorch/extension/data_loader/mmap_data_loader.h>
#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/executor/program.h>

#include "platform.h"

namespace device_asr {

using executorch::aten::ScalarType;

// An input: C-contiguous memory that is read in place and never written.
struct Input {
  ScalarType type;
  const void* data;
  std::vector<int32_t> shape;
};

struct Free {
  void operator()(void* memory) const {
    std::free(memory);
  }
};
using Memory = std::unique_ptr<uint8_t, Free>;

// An output: a C-contiguous copy of what the method computed.
struct Output {
  ScalarType type;
  size_t itemsize;
  std::vector<ssize_t> shape;
  size_t bytes;
  Memory data;
};

// A method, ready to run. It computes in `arena`.
class LoadedMethod {
 public:
  LoadedMethod(const executorch::runtime::Program& program, const std::string& name, uint8_t* arena);
  std::vector<Output> run(const std::vector<Input>& inputs);

 private:
  std::vector<executorch::runtime::Span<uint8_t>> spans_;
  executorch::extension::MallocMemoryAllocator allocator_;
  std::unique_ptr<executorch::runtime::HierarchicalAllocator> planned_;
  std::unique_ptr<executorch::runtime::MemoryManager> manager_;
  std::optional<executorch::runtime::Method> method_;
};

// A program whose methods are loaded when they are asked for. Every function raises `Failure` with ExecuTorch's
// words, and may be called from any thread: calls of one program wait for one another.
//
// The methods compute in one arena, which is as large as the largest of them wants. They can, since a method of ours
// keeps nothing from one call to the next: its state is an input and an output.
class LoadedProgram {
 public:
  LoadedProgram(const std::string& path, uint32_t threads);
  ~LoadedProgram();

  std::vector<std::string> method_names();
  void load(const std::string& method);
  std::vector<Output> run(const std::string& method, const std::vector<Input>& inputs);

 private:
  std::mutex mutex_;
  const std::string path_;  // the loader keeps a pointer to it
  Threads threads_;
  std::optional<executorch::extension::MmapDataLoader> loader_;
  std::optional<executorch::runtime::Program> program_;
  Memory arena_;
  std::map<std::string, std::unique_ptr<LoadedMethod>> methods_;
};

}  // namespace device_asr
