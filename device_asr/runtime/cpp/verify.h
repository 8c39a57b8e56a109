// Checks what ExecuTorch's own verifier leaves unchecked, before a damaged program can end the process.
#pragma once

#include "flatbuffer.h"

namespace device_asr {

// Checks a whole file whose flatbuffer `Program::load` has verified: that its tensors have memory, that its delegates
// have their data, and that XNNPACK's graphs are sound (see `verify_graph`).
//
// Raises Failure where something is not as it must be.
void verify_program(Bytes file);

}  // namespace device_asr
