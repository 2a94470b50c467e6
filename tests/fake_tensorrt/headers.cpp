// Compares slots.def with real headers: `headers.sh DIR` compiles and runs this.
// A pointer to a virtual member holds 1 + its offset in the table (Itanium C++ ABI).
#include <NvInfer.h>
#if __has_include(<NvOnnxParser.h>)
#include <NvOnnxParser.h>
#endif
#include <cstdio>
#include <cstring>
#include <utility>

using namespace nvinfer1;
using namespace nvinfer1::apiv;
using Severity = ILogger::Severity;

template <class Member> int slot(Member member) {
    std::ptrdiff_t words[2];
    static_assert(sizeof words == sizeof member, "a pointer to member is two words");
    std::memcpy(words, &member, sizeof words);
    return static_cast<int>((words[0] - 1) / static_cast<std::ptrdiff_t>(sizeof(void*)));
}

// These two have overloads; the binding calls the one with this signature.
#if NV_TENSORRT_MAJOR == 8
template <class C> int deserializeCudaEngine(ICudaEngine* (C::*m)(void const*, std::size_t, IPluginFactory*) noexcept) { return slot(m); }
template <class C> int createExecutionContext(IExecutionContext* (C::*m)() noexcept) { return slot(m); }
#else
template <class C> int deserializeCudaEngine(ICudaEngine* (C::*m)(void const*, std::size_t) noexcept) { return slot(m); }
template <class C> int createExecutionContext(IExecutionContext* (C::*m)(ExecutionContextAllocationStrategy) noexcept) { return slot(m); }
#endif

// The slot that `delete` calls, found by deleting an object each of whose slots knows its number.
static int called;
template <int Slot> void here(void*) { called = Slot; }
template <class T, int... Slots> int deleted(std::integer_sequence<int, Slots...>) {
    static void (*table[])(void*) = {here<Slots>...};
    static void (**object)(void*) = table;
    T* volatile doomed = reinterpret_cast<T*>(&object);
    called = -1;
    delete doomed;
    return called;
}
template <class T> int deleted() { return deleted<T>(std::make_integer_sequence<int, 64>()); }

static int faults;
static void compare(char const* name, int header, int table, char const* kind = "slot") {
    if (header != table) {
        std::printf("%s: %s %d in the headers, %d in slots.def\n", name, kind, header, table);
        faults++;
    }
}

int main() {
#include "rows.inc"
    std::printf("TensorRT %d.%d.%d: %d of %d slots and values differ\n", NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH, faults, ROWS);
    return faults != 0;
}
