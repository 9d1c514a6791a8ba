// Modules, functions and launches. A module is PTX text, of which only the names and the numbers of parameters of its
// kernels are read: the kernels themselves are compiled into this library.

#include "blocks.h"
#include "emulator.h"

#pragma GCC visibility push(default)
#include <cuda.h>
#pragma GCC visibility pop

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

using emulator::fail;
using emulator::Kernel;

struct CUfunc_st {
    const Kernel *kernel;
    // Bytes that a launch may ask for.
    unsigned shared;
};

struct CUmod_st {
    // Kernels with their numbers of parameters.
    std::map<std::string, unsigned> entries;
    std::mutex guard;
    std::map<std::string, std::unique_ptr<CUfunc_st>> functions;
};

namespace emulator {
namespace {

constexpr unsigned THREADS_MOST = 1024, SHARED_MOST = 227 << 10, SHARED_UNLESS_SET = 48 << 10;

std::vector<Kernel> &registry() {
    static std::vector<Kernel> kernels;
    return kernels;
}

// Looks for `.entry NAME(.param ..., .param ...)`.
std::map<std::string, unsigned> read_entries(const std::string &ptx) {
    static const std::string ENTRY = ".entry ", PARAMETER = ".param";
    std::map<std::string, unsigned> entries;
    for (size_t at = 0; (at = ptx.find(ENTRY, at)) != std::string::npos;) {
        at += ENTRY.size();
        size_t from = ptx.find('(', at), to = ptx.find(')', at);
        unsigned parameters = 0;
        for (size_t found = from; (found = ptx.find(PARAMETER, found)) < to; ++found) ++parameters;
        entries[ptx.substr(at, from - at)] = parameters;
    }
    return entries;
}

// Of files with a kernel of the name, the one whose kernels all are in the module.
const Kernel *find(const CUmod_st &module, const std::string &name) {
    std::set<std::string> foreign;
    for (const Kernel &kernel : registry())
        if (!module.entries.count(kernel.name)) foreign.insert(kernel.unit);
    const Kernel *found = nullptr;
    for (const Kernel &kernel : registry())
        if (kernel.name == name && (!found || !foreign.count(kernel.unit))) found = &kernel;
    return found;
}

void check_dimensions(const char *name, const uint3 &grid, const uint3 &block) {
    const unsigned long long threads = 1ull * block.x * block.y * block.z;
    if (threads == 0 || threads > THREADS_MOST || block.z > 64)
        fail("%s: blocks of %u x %u x %u threads", name, block.x, block.y, block.z);
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535)
        fail("%s: a grid of %u x %u x %u blocks", name, grid.x, grid.y, grid.z);
}

} // namespace

Registration::Registration(const Kernel &kernel) { registry().push_back(kernel); }

} // namespace emulator

extern "C" {

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    const char *text = static_cast<const char *>(image);
    auto loaded = std::make_unique<CUmod_st>();
    loaded->entries = emulator::read_entries(text);
    if (loaded->entries.empty()) fail("a module without kernels, or none of PTX text");
    *module = loaded.release();
    return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
    delete module;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    auto entry = module->entries.find(name);
    if (entry == module->entries.end()) return CUDA_ERROR_NOT_FOUND;
    std::lock_guard lock(module->guard);
    auto &slot = module->functions[name];
    if (!slot) {
        const Kernel *kernel = emulator::find(*module, name);
        if (!kernel)
            fail("the kernel %s is not emulated, see candle.cu of the emulator, or build the emulator anew", name);
        if (kernel->arguments != entry->second)
            fail("%s has %u parameters in PTX and %u in the emulator, build both anew", name, entry->second,
                 kernel->arguments);
        slot.reset(new CUfunc_st{kernel, emulator::SHARED_UNLESS_SET});
    }
    *function = slot.get();
    return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction) {
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)
        fail("the function attribute %d is not emulated", attribute);
    *value = emulator::THREADS_MOST;
    return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        fail("%s: the function attribute %d is not emulated", function->kernel->name, attribute);
    if (value < 0 || unsigned(value) > emulator::SHARED_MOST) return CUDA_ERROR_INVALID_VALUE;
    function->shared = value;
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared, CUstream stream, void **arguments,
                        void **extra) {
    const Kernel &kernel = *function->kernel;
    uint3 grid{grid_x, grid_y, grid_z}, block{block_x, block_y, block_z};
    emulator::check_dimensions(kernel.name, grid, block);
    if (shared > function->shared)
        fail("%s: %u bytes of shared memory, where %u are allowed", kernel.name, shared, function->shared);
    if (extra) fail("%s: arguments in a buffer are not emulated", kernel.name);
    emulator::check_stream(stream, kernel.name);
    kernel.check(kernel.name, arguments);
    emulator::trace("%s: %u x %u x %u blocks of %u x %u x %u threads", kernel.name, grid_x, grid_y, grid_z, block_x,
                    block_y, block_z);
    emulator::run(kernel, grid, block, shared, arguments);
    return CUDA_SUCCESS;
}

} // extern "C"
