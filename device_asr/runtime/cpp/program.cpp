#include "program.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include <executorch/runtime/backend/backend_options_map.h>
#include <executorch/runtime/core/exec_aten/exec_aten.h>

#include "verify.h"

namespace device_asr {
namespace {

using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::extension::MmapDataLoader;
using executorch::runtime::BackendOptions;
using executorch::runtime::DataLoader;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::HierarchicalAllocator;
using executorch::runtime::LoadBackendOptionsMap;
using executorch::runtime::MemoryManager;
using executorch::runtime::MethodMeta;
using executorch::runtime::Program;
using executorch::runtime::Result;

// XNNPACK's microkernels may read so many bytes past the end of a tensor (XNN_EXTRA_BYTES is 16 or 128).
constexpr size_t kReadPastEnd = 128;

void check(Error error, const Log& log) {
  if (error != Error::Ok) {
    throw Failure(log.words(error));
  }
}

template <typename T>
T& checked(Result<T>& result, const Log& log) {
  check(result.error(), log);
  return result.get();
}

constexpr size_t kAlignment = 64;  // bytes: a cache line, and what the widest vector instructions like
constexpr int64_t kLargestBuffer = int64_t{1} << 30;  // bytes; en-tiny's largest has 33 million

// Zeros that take no memory until they are written.
Memory zeros(size_t bytes) {
  Memory memory(static_cast<uint8_t*>(std::calloc(1, bytes + kReadPastEnd)));
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// The sizes in bytes of the buffers that a method computes in.
std::vector<size_t> planned_sizes(const Program& program, const std::string& name) {
  const Log log;
  Result<MethodMeta> found = program.method_meta(name.c_str());
  const MethodMeta& meta = checked(found, log);
  std::vector<size_t> sizes;
  for (size_t i = 0; i < meta.num_memory_planned_buffers(); ++i) {
    Result<int64_t> size = meta.memory_planned_buffer_size(i);
    const int64_t bytes = checked(size, log);
    if (bytes < 0 || bytes > kLargestBuffer) {
      throw Failure("a buffer of the method '" + name + "' is said to have " + std::to_string(bytes) + " bytes");
    }
    sizes.push_back(static_cast<size_t>(bytes));
  }
  return sizes;
}

Output copy(const EValue& value, size_t index) {
  if (!value.isTensor()) {
    throw Failure("output " + std::to_string(index) + " is not a tensor");
  }
  const Tensor& tensor = value.toTensor();
  for (ssize_t i = 0; i < tensor.dim(); ++i) {
    if (tensor.dim_order()[i] != i) {
      throw Failure("output " + std::to_string(index) + " is not contiguous");
    }
  }
  Output output{
      tensor.scalar_type(),
      static_cast<size_t>(tensor.element_size()),
      {tensor.sizes().begin(), tensor.sizes().end()},
      tensor.nbytes(),
      Memory(static_cast<uint8_t*>(std::malloc(tensor.nbytes() + 1)))};
  if (output.data == nullptr) {
    throw std::bad_alloc();
  }
  if (output.bytes > 0) {
    std::memcpy(output.data.get(), tensor.const_data_ptr(), output.bytes);
  }
  return output;
}

}  // namespace

LoadedMethod::LoadedMethod(const Program& program, const std::string& name, uint8_t* arena) {
  const Log log;
  for (const size_t bytes : planned_sizes(program, name)) {
    spans_.emplace_back(arena, bytes);
    arena += aligned(bytes);
  }
  planned_ = std::make_unique<HierarchicalAllocator>(
      executorch::runtime::Span<executorch::runtime::Span<uint8_t>>(spans_.data(), spans_.size()));
  manager_ = std::make_unique<MemoryManager>(&allocator_, planned_.get());

  // XNNPACK's cache of packed weights would save 7 MB, but finds a layer by its integers alone: of two layers with
  // equal integers and different scales the second computes with the first one's.
  BackendOptions<1> xnnpack;
  LoadBackendOptionsMap options;
  check(xnnpack.set_option("weight_cache_enabled", false), log);
  check(options.set_options("XnnpackBackend", xnnpack.view()), log);
  auto method = program.load_method(name.c_str(), manager_.get(), nullptr, nullptr, &options);
  check(method.error(), log);
  method_.emplace(std::move(method.get()));
}

std::vector<Output> LoadedMethod::run(const std::vector<Input>& inputs) {
  const Log log;
  if (inputs.size() != method_->inputs_size()) {
    throw Failure(
        "wanted " + std::to_string(method_->inputs_size()) + " inputs, found " + std::to_string(inputs.size()));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Input& input = inputs[i];
    std::vector<TensorImpl::SizesType> sizes(input.shape.begin(), input.shape.end());
    std::vector<TensorImpl::DimOrderType> order(sizes.size());
    std::vector<TensorImpl::StridesType> strides(sizes.size());
    std::iota(order.begin(), order.end(), static_cast<TensorImpl::DimOrderType>(0));
    TensorImpl::StridesType stride = 1;
    for (size_t axis = sizes.size(); axis-- > 0;) {
      strides[axis] = stride;
      stride *= sizes[axis] > 0 ? sizes[axis] : 1;
    }
    // inputs are not memory-planned: the method keeps the pointer and reads from it
    TensorImpl tensor(
        input.type,
        static_cast<ssize_t>(sizes.size()),
        sizes.data(),
        const_cast<void*>(input.data),
        order.data(),
        strides.data());
    check(method_->set_input(EValue(Tensor(&tensor)), i), log);
  }
  check(method_->execute(), log);
  std::vector<Output> outputs;
  outputs.reserve(method_->outputs_size());
  for (size_t i = 0; i < method_->outputs_size(); ++i) {
    outputs.push_back(copy(method_->get_output(i), i));
  }
  return outputs;
}

LoadedProgram::LoadedProgram(const std::string& path, uint32_t threads) : path_(path), threads_(threads) {
  const Log log;
  Result<MmapDataLoader> loader = MmapDataLoader::from(path_.c_str(), MmapDataLoader::MlockConfig::NoMlock);
  loader_.emplace(std::move(checked(loader, log)));
  Result<Program> program = Program::load(&*loader_, Program::Verification::InternalConsistency);
  program_.emplace(std::move(checked(program, log)));
  const size_t size = loader_->size().get();
  const DataLoader::SegmentInfo whole(DataLoader::SegmentInfo::Type::Program);
  Result<FreeableBuffer> file = loader_->load(0, size, whole);
  verify_program({static_cast<const uint8_t*>(checked(file, log).data()), size});
  size_t largest = 0;
  for (const std::string& name : method_names()) {
    size_t bytes = 0;
    for (const size_t buffer : planned_sizes(*program_, name)) {
      bytes += aligned(buffer);
    }
    largest = std::max(largest, bytes);
  }
  arena_ = zeros(largest);
}

LoadedProgram::~LoadedProgram() {
  methods_.clear();  // before the program that they point into
}

std::vector<std::string> LoadedProgram::method_names() {
  const Log log;
  std::vector<std::string> names;
  for (size_t i = 0; i < program_->num_methods(); ++i) {
    Result<const char*> name = program_->get_method_name(i);
    names.emplace_back(checked(name, log));
  }
  return names;
}

void LoadedProgram::load(const std::string& method) {
  std::lock_guard<std::mutex> lock(mutex_);
  const WithoutPool without_pool(threads_);
  if (methods_.count(method) == 0) {
    methods_.emplace(method, std::make_unique<LoadedMethod>(*program_, method, arena_.get()));
  }
}

std::vector<Output> LoadedProgram::run(const std::string& method, const std::vector<Input>& inputs) {
  std::lock_guard<std::mutex> lock(mutex_);
  const WithoutPool without_pool(threads_);
  const auto found = methods_.find(method);
  if (found == methods_.end()) {
    throw Failure("the method '" + method + "' is not loaded");
  }
  return found->second->run(inputs);
}

}  // namespace device_asr
