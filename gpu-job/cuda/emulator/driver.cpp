// Devices, contexts, streams, events and memory of the driver. Everything runs at once, in the order of the calls.

#include "emulator.h"

#pragma GCC visibility push(default)
#include <cuda.h>
#pragma GCC visibility pop

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>

using emulator::check_device;
using emulator::check_host;
using emulator::check_stream;
using emulator::fail;

struct CUctx_st {};
struct CUmemPoolHandle_st {};
struct CUstream_st {};
struct CUevent_st {
    bool recorded = false;
    std::chrono::steady_clock::time_point at;
};

namespace {

CUctx_st primary;
CUmemPoolHandle_st pool;
thread_local CUcontext current = nullptr;
std::mutex guard;
std::set<const void *> streams;

// As a driver of CUDA 13.0 on an H200.
constexpr int VERSION = 13000;
constexpr char NAME[] = "emulated H200";

// The value of an attribute, or a failure.
int attribute(CUdevice_attribute which) {
    switch (which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return 9;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return 0;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return 132;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 0x7FFFFFFF;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return 48 << 10;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return 227 << 10;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return 228 << 10;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 50 << 20;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: return 1;
    case CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO: return 2;
    default: fail("the device attribute %d is not emulated", which);
    }
}

void *at(CUdeviceptr pointer) { return reinterpret_cast<void *>(pointer); }

CUresult allocate(CUdeviceptr *pointer, size_t bytes) {
    void *memory = emulator::allocate(bytes);
    *pointer = reinterpret_cast<CUdeviceptr>(memory);
    return memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult copy(void *to, const void *from, size_t bytes) {
    if (bytes > 0) memmove(to, from, bytes);
    return current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult set(CUdeviceptr pointer, unsigned char value, size_t bytes) {
    if (bytes == 0) return CUDA_SUCCESS;
    check_device(at(pointer), bytes, "cuMemset");
    memset(at(pointer), value, bytes);
    return CUDA_SUCCESS;
}

CUresult to_device(CUdeviceptr to, const void *from, size_t bytes) {
    if (bytes == 0) return CUDA_SUCCESS;
    check_device(at(to), bytes, "cuMemcpyHtoD, target");
    check_host(from, "cuMemcpyHtoD, source");
    emulator::trace("%zu bytes to the device", bytes);
    return copy(at(to), from, bytes);
}

CUresult to_host(void *to, CUdeviceptr from, size_t bytes) {
    if (bytes == 0) return CUDA_SUCCESS;
    check_device(at(from), bytes, "cuMemcpyDtoH, source");
    check_host(to, "cuMemcpyDtoH, target");
    emulator::trace("%zu bytes to the host", bytes);
    return copy(to, at(from), bytes);
}

CUresult within_device(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    if (bytes == 0) return CUDA_SUCCESS;
    check_device(at(to), bytes, "cuMemcpyDtoD, target");
    check_device(at(from), bytes, "cuMemcpyDtoD, source");
    return copy(at(to), at(from), bytes);
}

} // namespace

void emulator::check_stream(const void *stream, const char *what) {
    if (stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD) return;
    std::lock_guard lock(guard);
    if (!streams.count(stream)) fail("%s: %p is no stream, or was destroyed", what, stream);
}

extern "C" {

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }

CUresult cuDriverGetVersion(int *version) {
    *version = VERSION;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **text) {
    thread_local char name[32];
    snprintf(name, sizeof name, "CUDA error %d", error);
    *text = name;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text) { return cuGetErrorName(error, text); }

CUresult cuDeviceGetCount(int *count) {
    *count = 1;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    *device = ordinal;
    return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice) {
    snprintf(name, length, "%s", NAME);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice) {
    memset(uuid, 0, sizeof *uuid);
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice) {
    *bytes = emulator::memory_total();
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice) {
    *value = attribute(which);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice) {
    *context = &primary;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }

CUresult cuCtxGetCurrent(CUcontext *context) {
    *context = current;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    if (context && context != &primary) fail("cuCtxSetCurrent: %p is no context", static_cast<void *>(context));
    current = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned) { return CUDA_SUCCESS; }
CUresult cuCtxSynchronize(void) { return CUDA_SUCCESS; }

CUresult cuStreamCreate(CUstream *stream, unsigned) {
    *stream = new CUstream_st;
    std::lock_guard lock(guard);
    streams.insert(*stream);
    return current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }

CUresult cuStreamDestroy(CUstream stream) {
    check_stream(stream, "cuStreamDestroy");
    std::lock_guard lock(guard);
    streams.erase(stream);
    delete stream;
    return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
    check_stream(stream, "cuStreamSynchronize");
    return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent, unsigned) {
    check_stream(stream, "cuStreamWaitEvent");
    return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
    check_stream(stream, "cuStreamIsCapturing");
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data) {
    check_stream(stream, "cuLaunchHostFunc");
    function(data);
    return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned) {
    *event = new CUevent_st;
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event) {
    delete event;
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    check_stream(stream, "cuEventRecord");
    event->recorded = true;
    event->at = std::chrono::steady_clock::now();
    return CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent) { return CUDA_SUCCESS; }
CUresult cuEventSynchronize(CUevent) { return CUDA_SUCCESS; }

CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
    if (!start->recorded || !end->recorded) return CUDA_ERROR_INVALID_HANDLE;
    *milliseconds = std::chrono::duration<float, std::milli>(end->at - start->at).count();
    return CUDA_SUCCESS;
}

CUresult cuMemGetInfo(size_t *free, size_t *total) {
    *free = emulator::memory_free();
    *total = emulator::memory_total();
    return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
    if (!current) return CUDA_ERROR_INVALID_CONTEXT;
    return bytes > 0 ? allocate(pointer, bytes) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, CUstream stream) {
    check_stream(stream, "cuMemAllocAsync");
    *pointer = 0;
    if (!current) return CUDA_ERROR_INVALID_CONTEXT;
    return bytes > 0 ? allocate(pointer, bytes) : CUDA_SUCCESS;
}

// Freed memory never stays with the pool, whatever it is told: a use after that would not show.
CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *of_device, CUdevice) {
    *of_device = &pool;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetMemPool(CUmemoryPool *of_device, CUdevice device) {
    return cuDeviceGetDefaultMemPool(of_device, device);
}

CUresult cuMemPoolSetAttribute(CUmemoryPool, CUmemPool_attribute, void *) { return CUDA_SUCCESS; }
CUresult cuMemPoolTrimTo(CUmemoryPool, size_t) { return CUDA_SUCCESS; }

CUresult cuMemFree(CUdeviceptr pointer) {
    emulator::release(at(pointer));
    return CUDA_SUCCESS;
}

CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream stream) {
    check_stream(stream, "cuMemFreeAsync");
    return cuMemFree(pointer);
}

CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
    *pointer = malloc(bytes);
    return *pointer ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemFreeHost(void *pointer) {
    free(pointer);
    return CUDA_SUCCESS;
}

CUresult cuMemsetD8(CUdeviceptr pointer, unsigned char value, size_t bytes) { return set(pointer, value, bytes); }
CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) { return to_device(to, from, bytes); }
CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) { return to_host(to, from, bytes); }
CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return within_device(to, from, bytes); }

CUresult cuMemsetD8Async(CUdeviceptr pointer, unsigned char value, size_t bytes, CUstream stream) {
    check_stream(stream, "cuMemsetD8Async");
    return set(pointer, value, bytes);
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
    check_stream(stream, "cuMemcpyHtoDAsync");
    return to_device(to, from, bytes);
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
    check_stream(stream, "cuMemcpyDtoHAsync");
    return to_host(to, from, bytes);
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    check_stream(stream, "cuMemcpyDtoDAsync");
    return within_device(to, from, bytes);
}

} // extern "C"
