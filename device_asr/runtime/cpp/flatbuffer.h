// Reads FlatBuffers without trusting a byte of them.
//
// A table holds fields by number, in the order in which its schema declares them (a union takes two: type and value).
// https://flatbuffers.dev/internals/
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "platform.h"

namespace device_asr {

// Raises Failure; `what` goes on from "the program is damaged: ". Not inline: there are many calls.
[[noreturn]] void damaged(const char* what);

// Bytes of a file. Every read is checked.
struct Bytes {
  const uint8_t* data;
  size_t size;

  template <typename T>
  T read(size_t at) const {
    if (at > size || sizeof(T) > size - at) {
      damaged("an offset points out of it");
    }
    T value;
    std::memcpy(&value, data + at, sizeof(T));
    return value;
  }

  // Raises Failure where the part is not inside.
  Bytes part(uint64_t at, uint64_t length) const {
    if (at > size || length > size - at) {
      damaged("a part of it is said to lie outside");
    }
    return {data + at, static_cast<size_t>(length)};
  }
};

template <typename T>
class Vector;

class Table {
 public:
  Table(Bytes bytes, size_t at) : bytes_(bytes), at_(at) {
    const auto vtable = static_cast<int64_t>(at) - bytes.read<int32_t>(at);
    if (vtable < 0) {
      damaged("an offset points out of it");
    }
    vtable_ = static_cast<size_t>(vtable);
    vtable_size_ = bytes.read<uint16_t>(vtable_);
  }

  static Table root(Bytes bytes) {
    return Table(bytes, bytes.read<uint32_t>(0));
  }

  bool has(unsigned field) const {
    return position(field) != 0;
  }

  // A number, or what the schema says of one that is absent.
  template <typename T>
  T number(unsigned field, T absent = 0) const {
    const size_t at = position(field);
    return at == 0 ? absent : bytes_.read<T>(at);
  }

  // Raises Failure where the field is absent.
  Table table(unsigned field) const {
    return Table(bytes_, target(field));
  }

  // Empty where the field is absent.
  template <typename T>
  Vector<T> vector(unsigned field) const {
    return has(field) ? Vector<T>(bytes_, target(field)) : Vector<T>(bytes_);
  }

  // Empty where the field is absent.
  std::string text(unsigned field) const {
    if (!has(field)) {
      return "";
    }
    const size_t at = target(field);
    const Bytes found = bytes_.part(at + 4, bytes_.read<uint32_t>(at));
    return std::string(reinterpret_cast<const char*>(found.data), found.size);
  }

 private:
  // Where a field lies; 0: it is absent.
  size_t position(unsigned field) const {
    const size_t entry = 4 + 2 * static_cast<size_t>(field);
    if (entry + 2 > vtable_size_) {
      return 0;
    }
    const auto offset = bytes_.read<uint16_t>(vtable_ + entry);
    return offset == 0 ? 0 : at_ + offset;
  }

  size_t target(unsigned field) const {
    const size_t at = position(field);
    if (at == 0) {
      damaged("a part of it is missing");
    }
    return at + bytes_.read<uint32_t>(at);
  }

  Bytes bytes_;
  size_t at_, vtable_, vtable_size_;
};

// Of numbers, or of tables.
template <typename T>
class Vector {
 public:
  explicit Vector(Bytes bytes) : bytes_(bytes), at_(0), size_(0) {}
  Vector(Bytes bytes, size_t at) : bytes_(bytes), at_(at + 4), size_(bytes.read<uint32_t>(at)) {
    bytes.part(at_, static_cast<uint64_t>(size_) * kWidth);
  }

  size_t size() const {
    return size_;
  }

  // The elements as they lie in the file.
  Bytes bytes() const {
    return bytes_.part(at_, static_cast<uint64_t>(size_) * kWidth);
  }

  // Raises Failure where there is no such element.
  T operator[](size_t index) const {
    if (index >= size_) {
      damaged("it names a part that it does not have");
    }
    const size_t at = at_ + index * kWidth;
    if constexpr (std::is_same_v<T, Table>) {
      return Table(bytes_, at + bytes_.read<uint32_t>(at));
    } else {
      return bytes_.read<T>(at);
    }
  }

 private:
  static constexpr size_t width() {
    if constexpr (std::is_same_v<T, Table>) {
      return 4;
    } else {
      return sizeof(T);
    }
  }
  static constexpr size_t kWidth = width();

  Bytes bytes_;
  size_t at_, size_;
};

}  // namespace device_asr
