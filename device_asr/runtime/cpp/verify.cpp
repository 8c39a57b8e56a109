#include "verify.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "xnnpack_graph.h"

namespace device_asr {
namespace {

// Numbers of fields and types, as schema/program.fbs of ExecuTorch 1.5 declares them.
namespace program {
enum { plans = 1, inline_data = 3, segments = 4, named = 7 };
}
namespace plan {
enum { values = 2, inputs = 3, chains = 5, delegates = 7 };
}
namespace tensor {
enum { constant = 5, allocation = 6, extra = 9 };
}
constexpr uint8_t kTensor = 5;                         // KernelTypes
constexpr uint8_t kKernelCall = 1, kDelegateCall = 2;  // InstructionArguments
constexpr uint8_t kInSegment = 1;                      // DataLocation

// Where the parts of a file lie (schema/extended_header.h): a flatbuffer from the start, then segments.
struct File {
  explicit File(Bytes file) : bytes(file), base(0), table(Table::root(file)) {
    const std::string magic(reinterpret_cast<const char*>(file.part(8, 4).data), 4);
    if (magic == "eh00") {
      base = file.read<uint64_t>(24);
      table = Table::root(file.part(0, file.read<uint64_t>(16)));
    }
  }

  Bytes segment(uint32_t index) const {
    const Table found = table.vector<Table>(program::segments)[index];
    bytes.part(base, 0);
    return bytes.part(base, bytes.size - base).part(found.number<uint64_t>(0), found.number<uint64_t>(1));
  }

  // The data that a delegate is loaded from.
  Bytes data(const Table& delegate) const {
    const Table reference = delegate.table(1);
    const auto index = reference.number<uint32_t>(1);
    if (reference.number<uint8_t>(0) == kInSegment) {
      return segment(index);
    }
    const auto found = table.vector<Table>(program::inline_data)[index].vector<uint8_t>(0);
    return found.bytes();
  }

  Bytes bytes;
  uint64_t base;
  Table table;
};

void check_memory(const Table& value) {
  const Table found = value.table(1);
  if (!found.has(tensor::allocation) && found.number<uint32_t>(tensor::constant) == 0 && !found.has(tensor::extra)) {
    damaged("a tensor of it has no memory");
  }
}

// Checks the arguments of the calls of a method; `externals` has those that each delegate reads as tensors.
void check_calls(const Table& method, const std::vector<std::set<uint32_t>>& externals) {
  const auto values = method.vector<Table>(plan::values);
  std::set<int32_t> given;
  const auto inputs = method.vector<int32_t>(plan::inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    given.insert(inputs[i]);
  }
  const auto chains = method.vector<Table>(plan::chains);
  for (size_t c = 0; c < chains.size(); ++c) {
    const auto instructions = chains[c].vector<Table>(2);
    for (size_t i = 0; i < instructions.size(); ++i) {
      const auto kind = instructions[i].number<uint8_t>(0);
      if (kind != kKernelCall && kind != kDelegateCall) {
        continue;
      }
      const Table call = instructions[i].table(1);
      const auto arguments = call.vector<int32_t>(1);
      for (size_t a = 0; a < arguments.size(); ++a) {
        const Table value = values[static_cast<uint32_t>(arguments[a])];
        if (value.number<uint8_t>(0) == kTensor && given.count(arguments[a]) == 0) {
          check_memory(value);
        }
      }
      if (kind == kDelegateCall) {
        const auto index = call.number<uint32_t>(0);
        if (index >= externals.size()) {
          damaged("it calls a delegate that it does not have");
        }
        for (const uint32_t external : externals[index]) {
          if (values[static_cast<uint32_t>(arguments[external])].number<uint8_t>(0) != kTensor) {
            damaged("a delegate is not given a tensor");
          }
        }
      }
    }
  }
}

}  // namespace

void damaged(const char* what) {
  throw Failure(std::string("the program is damaged: ") + what);
}

void verify_program(Bytes bytes) {
  const File file(bytes);
  std::map<std::string, uint64_t> named;
  const auto names = file.table.vector<Table>(program::named);
  for (size_t i = 0; i < names.size(); ++i) {
    named[names[i].text(0)] = file.segment(names[i].number<uint32_t>(1)).size;
  }
  const auto methods = file.table.vector<Table>(program::plans);
  for (size_t m = 0; m < methods.size(); ++m) {
    std::vector<std::set<uint32_t>> externals;
    const auto delegates = methods[m].vector<Table>(plan::delegates);
    for (size_t d = 0; d < delegates.size(); ++d) {
      const Bytes data = file.data(delegates[d]);
      const bool ours = delegates[d].text(0) == "XnnpackBackend";
      externals.push_back(ours ? verify_graph(data, named) : std::set<uint32_t>());
    }
    check_calls(methods[m], externals);
  }
}

}  // namespace device_asr
