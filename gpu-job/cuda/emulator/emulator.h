// What the parts of the emulator share: complaints, device memory, work on several CPU threads.
#pragma once

#include <cstddef>
#include <functional>

// Of libcuda, for the other libraries.
#pragma GCC visibility push(default)
namespace emulator {

// Says what the program did wrong and aborts: a test must not pass by luck.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Tells of a call, where CUDA_EMULATOR_TRACE=1 asks for it.
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

// The number in an environment variable, or `otherwise`.
double setting(const char *name, double otherwise);

// Device memory, filled with 0xFF bytes, which are NaN. Null where the device has no more.
void *allocate(size_t bytes);
void release(void *pointer);
size_t memory_total();
size_t memory_free();

// Fails unless `bytes` from `pointer` on lie in one allocation. `what` names the access in the message.
void check_device(const void *pointer, size_t bytes, const char *what);
// Fails where `pointer` is device memory, which the CPU of a real machine cannot read.
void check_host(const void *pointer, const char *what);
// Whether `pointer` is null or lies in an allocation or at the end of one.
bool may_be_device(const void *pointer);

// Fails unless `stream` is one of the streams of the device.
void check_stream(const void *stream, const char *what);

// The kernel that this CPU thread runs, for messages; null outside of kernels.
extern thread_local const char *running;

// Runs task(0), ..., task(count - 1) on all CPU threads of the emulator and waits for them.
void parallel(size_t count, const std::function<void(size_t)> &task);

} // namespace emulator
#pragma GCC visibility pop
