// The extension module `_native`: Python's view of `LoadedProgram`. It uses CPython's limited API of 3.11.
// `EXECUTORCH` is the version whose headers it was compiled against.
#include <Python.h>

#include <limits>
#include <new>

#include "program.h"

namespace {

using device_asr::Input;
using device_asr::LoadedProgram;
using device_asr::Output;
using executorch::aten::ScalarType;

PyTypeObject* program_type = nullptr;
PyTypeObject* tensor_type = nullptr;

struct Dtype {
  ScalarType type;
  const char* format;  // of the struct module, as NumPy writes it
  Py_ssize_t itemsize;
};

constexpr Dtype kDtypes[] = {
    {ScalarType::Float, "f", 4},
    {ScalarType::Long, "l", 8},
    {ScalarType::Long, "q", 8},
    {ScalarType::Int, "i", 4},
    {ScalarType::Int, "l", 4},
    {ScalarType::Bool, "?", 1},
    {ScalarType::Char, "b", 1},
    {ScalarType::Byte, "B", 1},
    {ScalarType::Short, "h", 2},
    {ScalarType::Half, "e", 2},
    {ScalarType::Double, "d", 8},
    {ScalarType::UInt16, "H", 2},
    {ScalarType::UInt32, "I", 4},
};

// Sets Python's exception to the C++ one that is being handled.
void raise_caught() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    // a damaged program's names are bytes of any kind
    const std::string words(error.what());
    PyObject* text = PyUnicode_DecodeUTF8(words.data(), static_cast<Py_ssize_t>(words.size()), "replace");
    if (text != nullptr) {
      PyErr_SetObject(PyExc_RuntimeError, text);
      Py_DECREF(text);
    }
  }
}

// Runs `function` without the interpreter's lock. False where it raised; Python's exception is then set.
template <typename Function>
bool without_lock(Function function) {
  PyThreadState* state = PyEval_SaveThread();
  try {
    function();
  } catch (...) {
    PyEval_RestoreThread(state);
    raise_caught();
    return false;
  }
  PyEval_RestoreThread(state);
  return true;
}

// ---- Tensor: an output, which lends its memory through the buffer protocol

struct TensorObject {
  PyObject_HEAD
  Output* output;
  Py_ssize_t* strides;
};

const Dtype* dtype_of(ScalarType type) {
  for (const Dtype& dtype : kDtypes) {
    if (dtype.type == type) {
      return &dtype;
    }
  }
  return nullptr;
}

PyObject* wrap(Output&& output) {
  auto* self = reinterpret_cast<TensorObject*>(PyType_GenericAlloc(tensor_type, 0));
  if (self == nullptr) {
    return nullptr;
  }
  const size_t rank = output.shape.size();
  self->output = new (std::nothrow) Output(std::move(output));
  self->strides = new (std::nothrow) Py_ssize_t[rank + 1];
  if (self->output == nullptr || self->strides == nullptr) {
    Py_DECREF(reinterpret_cast<PyObject*>(self));
    return PyErr_NoMemory();
  }
  auto stride = static_cast<Py_ssize_t>(self->output->itemsize);
  for (size_t axis = rank; axis-- > 0;) {
    self->strides[axis] = stride;
    stride *= self->output->shape[axis];
  }
  return reinterpret_cast<PyObject*>(self);
}

void tensor_dealloc(PyObject* object) {
  auto* self = reinterpret_cast<TensorObject*>(object);
  PyTypeObject* type = Py_TYPE(object);
  delete self->output;
  delete[] self->strides;
  PyObject_Free(object);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

int tensor_getbuffer(PyObject* object, Py_buffer* view, int flags) {
  auto* self = reinterpret_cast<TensorObject*>(object);
  Output& output = *self->output;
  const Dtype* dtype = dtype_of(output.type);
  if (dtype == nullptr) {
    PyErr_Format(PyExc_BufferError, "NumPy has no dtype for ExecuTorch's %d", static_cast<int>(output.type));
    view->obj = nullptr;
    return -1;
  }
  Py_INCREF(object);
  view->obj = object;
  view->buf = output.data.get();
  view->len = static_cast<Py_ssize_t>(output.bytes);
  view->readonly = 0;
  view->itemsize = dtype->itemsize;
  view->format = (flags & PyBUF_FORMAT) != 0 ? const_cast<char*>(dtype->format) : nullptr;
  view->ndim = static_cast<int>(output.shape.size());
  view->shape = (flags & PyBUF_ND) != 0 ? output.shape.data() : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? self->strides : nullptr;
  view->suboffsets = nullptr;
  view->internal = nullptr;
  return 0;
}

// ---- inputs

// The buffers of the inputs, held until the object goes.
class Buffers {
 public:
  explicit Buffers(Py_ssize_t count) {
    views_.reserve(static_cast<size_t>(count));  // a view may point into itself, so it must not move
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers() {
    for (Py_buffer& view : views_) {
      PyBuffer_Release(&view);
    }
  }

  // Adds one of the `count` inputs. False where `object` is no C-contiguous array of a known dtype; Python's
  // exception is then set.
  bool add(PyObject* object) {
    views_.emplace_back();
    Py_buffer& view = views_.back();
    if (PyObject_GetBuffer(object, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
      views_.pop_back();
      return false;
    }
    const char* format = view.format == nullptr ? "B" : view.format;
    if (*format == '@' || *format == '=' || *format == '<') {  // every machine that we build for is little-endian
      ++format;
    }
    for (const Dtype& dtype : kDtypes) {
      if (std::string(format) == dtype.format && view.itemsize == dtype.itemsize) {
        inputs_.push_back({dtype.type, view.buf, {}});
        return add_shape(view);
      }
    }
    PyErr_Format(PyExc_RuntimeError, "an input has the format '%s', which ExecuTorch has no dtype for", view.format);
    return false;
  }

  const std::vector<Input>& inputs() const {
    return inputs_;
  }

 private:
  bool add_shape(const Py_buffer& view) {
    for (int axis = 0; axis < view.ndim; ++axis) {
      if (view.shape[axis] > std::numeric_limits<int32_t>::max()) {
        PyErr_SetString(PyExc_RuntimeError, "an input has an axis of more than 2^31 - 1 elements");
        return false;
      }
      inputs_.back().shape.push_back(static_cast<int32_t>(view.shape[axis]));
    }
    return true;
  }

  std::vector<Py_buffer> views_;
  std::vector<Input> inputs_;
};

// ---- Program

struct ProgramObject {
  PyObject_HEAD
  LoadedProgram* program;
};

LoadedProgram* loaded(PyObject* object) {
  return reinterpret_cast<ProgramObject*>(object)->program;
}

PyObject* program_new(PyTypeObject* type, PyObject* arguments, PyObject*) {
  PyObject* encoded = nullptr;
  unsigned int threads = 0;
  if (!PyArg_ParseTuple(arguments, "O&I", PyUnicode_FSConverter, &encoded, &threads)) {
    return nullptr;
  }
  const std::string path(PyBytes_AsString(encoded));
  Py_DECREF(encoded);
  LoadedProgram* program = nullptr;
  if (!without_lock([&] { program = new LoadedProgram(path, threads); })) {
    return nullptr;
  }
  PyObject* self = PyType_GenericAlloc(type, 0);
  if (self == nullptr) {
    delete program;
    return nullptr;
  }
  reinterpret_cast<ProgramObject*>(self)->program = program;
  return self;
}

void program_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  delete loaded(object);
  PyObject_Free(object);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

PyObject* program_methods(PyObject* self, PyObject*) {
  std::vector<std::string> names;
  if (!without_lock([&] { names = loaded(self)->method_names(); })) {
    return nullptr;
  }
  PyObject* list = PyList_New(static_cast<Py_ssize_t>(names.size()));
  for (size_t i = 0; list != nullptr && i < names.size(); ++i) {
    PyObject* name = PyUnicode_DecodeUTF8(names[i].data(), static_cast<Py_ssize_t>(names[i].size()), "replace");
    if (name == nullptr || PyList_SetItem(list, static_cast<Py_ssize_t>(i), name) != 0) {
      Py_CLEAR(list);
    }
  }
  return list;
}

PyObject* program_load(PyObject* self, PyObject* arguments) {
  const char* name = nullptr;
  if (!PyArg_ParseTuple(arguments, "s", &name)) {
    return nullptr;
  }
  const std::string method(name);
  if (!without_lock([&] { loaded(self)->load(method); })) {
    return nullptr;
  }
  Py_RETURN_NONE;
}

PyObject* program_run(PyObject* self, PyObject* arguments) {
  const char* name = nullptr;
  PyObject* arrays = nullptr;
  if (!PyArg_ParseTuple(arguments, "sO!", &name, &PyList_Type, &arrays)) {
    return nullptr;
  }
  const std::string method(name);
  Buffers buffers(PyList_Size(arrays));
  for (Py_ssize_t i = 0; i < PyList_Size(arrays); ++i) {
    if (!buffers.add(PyList_GetItem(arrays, i))) {
      return nullptr;
    }
  }
  std::vector<Output> outputs;
  if (!without_lock([&] { outputs = loaded(self)->run(method, buffers.inputs()); })) {
    return nullptr;
  }
  PyObject* list = PyList_New(static_cast<Py_ssize_t>(outputs.size()));
  for (size_t i = 0; list != nullptr && i < outputs.size(); ++i) {
    PyObject* tensor = wrap(std::move(outputs[i]));
    if (tensor == nullptr || PyList_SetItem(list, static_cast<Py_ssize_t>(i), tensor) != 0) {
      Py_CLEAR(list);
    }
  }
  return list;
}

// ---- the module

PyMethodDef program_functions[] = {
    {"methods", program_methods, METH_NOARGS, "methods() -> list[str]: the names of the program's methods."},
    {"load", program_load, METH_VARARGS, "load(method): prepares a method; it can be run then."},
    {"run",
     program_run,
     METH_VARARGS,
     "run(method, arrays: list) -> list[Tensor]: runs a loaded method on C-contiguous arrays."},
    {nullptr, nullptr, 0, nullptr}};

// CPython's slots hold functions as object pointers.
template <typename Function>
void* slot(Function* function) {
  return reinterpret_cast<void*>(function);
}

PyTypeObject* make_type(PyType_Spec* spec) {
  return reinterpret_cast<PyTypeObject*>(PyType_FromSpec(spec));
}

bool add_types(PyObject* module) {
  static char program_doc[] = "Program(path, threads): a program of ExecuTorch, mapped from its file.";
  static PyType_Slot program_slots[] = {
      {Py_tp_doc, program_doc},
      {Py_tp_new, slot(program_new)},
      {Py_tp_dealloc, slot(program_dealloc)},
      {Py_tp_methods, program_functions},
      {0, nullptr}};
  static PyType_Spec program_spec = {
      "device_asr.runtime._native.Program", sizeof(ProgramObject), 0, Py_TPFLAGS_DEFAULT, program_slots};
  static char tensor_doc[] = "An output of a method; numpy.asarray makes an array of it without a copy.";
  static PyType_Slot tensor_slots[] = {
      {Py_tp_doc, tensor_doc},
      {Py_tp_dealloc, slot(tensor_dealloc)},
      {Py_bf_getbuffer, slot(tensor_getbuffer)},
      {0, nullptr}};
  static PyType_Spec tensor_spec = {
      "device_asr.runtime._native.Tensor",
      sizeof(TensorObject),
      0,
      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
      tensor_slots};
  program_type = make_type(&program_spec);
  tensor_type = make_type(&tensor_spec);
  return program_type != nullptr && tensor_type != nullptr && PyModule_AddType(module, program_type) == 0;
}

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "_native",
    "Runs programs of ExecuTorch without torch; see device_asr/runtime/native.py.",
    -1,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() {
  device_asr::register_platform();
  PyObject* module = PyModule_Create(&definition);
  if (module != nullptr &&
      (!add_types(module) || PyModule_AddStringConstant(module, "EXECUTORCH", DEVICE_ASR_EXECUTORCH) != 0)) {
    Py_CLEAR(module);
  }
  return module;
}
