#include "xnnpack_graph.h"

#include <array>
#include <iterator>
#include <vector>

namespace device_asr {
namespace {

// Numbers of fields, as the schema declares them.
namespace graph {
enum { nodes = 1, values = 2, externs = 3, constants = 8 };
}
namespace value {
enum { datatype = 0, rank = 1, dims = 2, constant = 3, external = 4, flags = 5, id = 6 };
}
namespace constant {
enum { offset = 0, size = 1, key = 2 };
}

constexpr uint32_t kNone = UINT32_MAX;  // XNN_INVALID_VALUE_ID: no value, or none outside the graph
constexpr uint32_t kInput = 1;          // XNN_VALUE_FLAG_EXTERNAL_INPUT
constexpr size_t kHighestRank = 6;      // XNN_MAX_TENSOR_DIMS
constexpr uint64_t kMostElements = uint64_t{1} << 32;

void demand(bool holds, const char* what) {
  if (!holds) {
    damaged((std::string("a graph of XNNPACK has ") + what).c_str());
  }
}

// Bits of an element, by XNNDatatype.
unsigned bits(int16_t datatype) {
  constexpr unsigned kBits[] = {0, 32, 16, 8, 8, 32, 8, 32, 4, 8, 4, 8, 32, 32, 16};
  demand(datatype > 0 && static_cast<size_t>(datatype) < std::size(kBits), "a value of an unknown type");
  return kBits[datatype];
}

constexpr uint8_t kX = UINT8_MAX;  // no field

// The fields of a node that name values, by XNodeUnion.
struct NodeKind {
  std::array<uint8_t, 5> inputs = {kX, kX, kX, kX, kX};
  std::array<uint8_t, 2> outputs = {kX, kX};
  uint8_t optional = kX;               // an input that may be none
  std::array<uint8_t, 2> lists = {kX, kX};  // of as many numbers as field 0 says
};

constexpr NodeKind kOneInput = {{0, kX, kX, kX, kX}, {1, kX}};
constexpr NodeKind kTwoInputs = {{0, 1, kX, kX, kX}, {2, kX}};
constexpr NodeKind kConvolution = {{15, 16, kX, kX, kX}, {18, kX}, 17};
constexpr NodeKind kPooling = {{10, kX, kX, kX, kX}, {11, kX}};
constexpr NodeKind kResize = {{2, kX, kX, kX, kX}, {3, kX}};
constexpr NodeKind kShape = {{2, kX, kX, kX, kX}, {3, kX}, kX, {1, kX}};  // reshape, transpose
constexpr NodeKind kCurve = {{1, kX, kX, kX, kX}, {2, kX}};  // leaky ReLU, ELU

NodeKind node_kind(uint8_t type) {
  switch (type) {
    case 1: case 8: case 12: case 15: case 16: case 26: case 31: case 37:
      return kTwoInputs;
    case 2:  // fully connected
      return {{0, 1, kX, kX, kX}, {3, kX}, 2};
    case 3: case 4: case 6: case 17: case 18: case 19: case 22: case 23: case 24: case 27: case 28: case 30:
    case 40: case 41: case 42: case 43: case 44: case 45: case 46: case 47:
      return kOneInput;
    case 5: case 20:
      return kShape;
    case 7: case 13: case 39:
      return kConvolution;
    case 9:
      return kResize;
    case 10:  // pad
      return {{3, kX, kX, kX, kX}, {4, kX}};
    case 11: case 14:
      return kPooling;
    case 21:  // arg max
      return {{6, kX, kX, kX, kX}, {7, 8}};
    case 25: case 29:
      return kCurve;
    case 32:  // concatenations of two, three, four and five
      return {{1, 2, kX, kX, kX}, {5, kX}};
    case 33:
      return {{1, 2, 3, kX, kX}, {5, kX}};
    case 34:
      return {{1, 2, 3, 4, kX}, {5, kX}};
    case 38:
      return {{1, 2, 3, 4, 7}, {5, kX}};
    case 35:  // slice
      return {{3, kX, kX, kX, kX}, {4, kX}, kX, {1, 2}};
    case 36:  // attention
      return {{0, 1, 2, 3, kX}, {5, kX}, 4};
    default:
      damaged("a graph of XNNPACK has a node of an unknown kind");
  }
}

// The values of a graph: all of them, and those that have data so far.
struct Ids {
  std::set<uint32_t> all;
  std::set<uint32_t> ready;
};

struct Graph {
  Table table;
  Bytes constants;
  const std::map<std::string, uint64_t>& named;

  // Bytes of a constant.
  uint64_t constant_size(uint32_t index) const {
    const Table found = table.vector<Table>(graph::constants)[index];
    if (found.has(constant::key)) {
      const auto size = named.find(found.text(constant::key));
      demand(size != named.end(), "a constant that the program does not have");
      return size->second;
    }
    return constants.part(found.number<uint64_t>(constant::offset), found.number<uint64_t>(constant::size)).size;
  }

  void check_scales(const Table& quantized, const std::vector<uint64_t>& dims) const {
    const auto kind = quantized.number<uint8_t>(1);  // XNNQuantParams
    if (kind != 1 && kind != 4) {  // one scale a channel, or one a group of columns
      demand(kind != 2 || quantized.has(2), "a value without its scale");
      return;
    }
    const Table scales = quantized.table(2);
    const auto axis = scales.number<int32_t>(1);
    demand(axis >= 0 && static_cast<size_t>(axis) < dims.size(), "scales of an axis that is not there");
    uint64_t wanted = dims[static_cast<size_t>(axis)];
    const unsigned buffer = kind == 1 ? 2 : 4;
    if (kind == 4) {
      const auto group = scales.number<int32_t>(2);
      demand(group > 0 && dims.size() == 2, "scales of groups without a size");
      const uint64_t columns = dims[1 - static_cast<size_t>(axis)];
      wanted *= (columns + static_cast<uint64_t>(group) - 1) / static_cast<uint64_t>(group);
    }
    const auto index = scales.number<uint32_t>(buffer);
    const uint64_t found = index == 0 ? scales.vector<float>(0).size() : scales.number<uint32_t>(buffer + 1);
    demand(found >= wanted, "too few scales");
    demand(index == 0 || constant_size(index) >= wanted * (kind == 1 ? 4 : 2), "too few bytes of scales");
  }

  // Checks a value and returns its tensor.
  Table check_value(const Table& holder) const {
    const auto type = holder.number<uint8_t>(0);  // XValueUnion
    demand(type == 1 || type == 2, "a value of an unknown kind");
    const Table tensor = type == 1 ? holder.table(1) : holder.table(1).table(0);
    const auto found = tensor.vector<uint32_t>(value::dims);
    demand(found.size() <= kHighestRank && found.size() == tensor.number<uint32_t>(value::rank), "a wrong rank");
    std::vector<uint64_t> dims;
    uint64_t elements = 1;
    for (size_t i = 0; i < found.size(); ++i) {
      dims.push_back(found[i]);
      demand(found[i] <= kMostElements, "a huge value");
      elements *= found[i];
      demand(elements <= kMostElements, "a huge value");
    }
    const unsigned width = bits(tensor.number<int16_t>(value::datatype));
    if (const auto index = tensor.number<uint32_t>(value::constant); index != 0) {
      demand(constant_size(index) >= (elements * width + 7) / 8, "a constant of too few bytes");
    }
    if (type == 2) {
      check_scales(holder.table(1), dims);
    }
    return tensor;
  }

  // Checks a node, whose outputs have data then.
  void check_node(const Table& holder, Ids& ids) const {
    const NodeKind kind = node_kind(holder.number<uint8_t>(0));
    const Table node = holder.table(1);
    for (const uint8_t field : kind.inputs) {
      demand(field == kX || ids.ready.count(node.number<uint32_t>(field)) == 1, "a node of a value that is not there");
    }
    if (kind.optional != kX) {
      const auto id = node.number<uint32_t>(kind.optional);
      demand(id == kNone || ids.ready.count(id) == 1, "a node of a value that is not there");
    }
    for (const uint8_t field : kind.lists) {
      if (field != kX) {
        const size_t size = node.vector<uint32_t>(field).size();
        demand(size == node.number<uint32_t>(0) && size <= kHighestRank, "a node of a wrong rank");
      }
    }
    for (const uint8_t field : kind.outputs) {
      if (field != kX) {
        const auto id = node.number<uint32_t>(field);
        demand(ids.all.count(id) == 1, "a node of a value that is not there");
        ids.ready.insert(id);
      }
    }
  }
};

}  // namespace

std::set<uint32_t> verify_graph(Bytes payload, const std::map<std::string, uint64_t>& named) {
  // XNNHeader: 4 bytes, "XH00", its length (u16), then where the graph and the constants lie
  demand(std::string(reinterpret_cast<const char*>(payload.part(4, 4).data), 4) == "XH00", "an unknown header");
  const Bytes flatbuffer = payload.part(payload.read<uint32_t>(10), payload.read<uint32_t>(14));
  const Bytes constants = payload.part(payload.read<uint32_t>(18), payload.read<uint64_t>(22));
  const Graph found{Table::root(flatbuffer), constants, named};

  Ids ids;
  std::set<uint32_t> externals;
  const auto count = found.table.number<uint32_t>(graph::externs);
  const auto values = found.table.vector<Table>(graph::values);
  for (size_t i = 0; i < values.size(); ++i) {
    const Table tensor = found.check_value(values[i]);
    const auto id = tensor.number<uint32_t>(value::id);
    const auto flags = tensor.number<uint32_t>(value::flags);
    demand(ids.all.insert(id).second, "two values of one id");
    if ((flags & kInput) != 0 || tensor.number<uint32_t>(value::constant) != 0) {
      ids.ready.insert(id);
    }
    const auto external = tensor.number<uint32_t>(value::external);
    demand((flags == 0) == (external == kNone), "a wrong number of inputs and outputs");
    if (flags != 0) {  // an input or an output
      demand(external < count && externals.insert(external).second, "a wrong number of inputs and outputs");
    }
  }
  const auto nodes = found.table.vector<Table>(graph::nodes);
  for (size_t i = 0; i < nodes.size(); ++i) {
    found.check_node(nodes[i], ids);
  }
  demand(ids.ready == ids.all, "a value that nothing computes");
  return externals;
}

}  // namespace device_asr
