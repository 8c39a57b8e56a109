// The graphs that XNNPACK's delegate is given (backends/xnnpack/serialization/runtime_schema.fbs of ExecuTorch 1.5).
// ExecuTorch verifies no byte of them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "flatbuffer.h"

namespace device_asr {

// Checks the graph of a delegate: every offset lies inside, values have the dimensions and constants the sizes that
// they are said to have, nodes name values that exist.
//
// `named` has the sizes in bytes of the constants that lie in segments of their own. Returns the external ids: the
// positions of the graph's inputs and outputs among the arguments of the delegate's calls.
//
// Raises Failure where something is not as it must be.
std::set<uint32_t> verify_graph(Bytes payload, const std::map<std::string, uint64_t>& named);

}  // namespace device_asr
