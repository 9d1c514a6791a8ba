// Blocks of threads on a CPU: the threads of a block take turns on one CPU thread and change at barriers only.
#pragma once

#include <vector_types.h>

#include <cstddef>

namespace emulator {

constexpr unsigned WARP = 32;

// What a kernel sees of its place.
struct Place {
    uint3 threadIdx, blockIdx, blockDim, gridDim;
};
// Not thread_local, which would ask at each use whether it has been constructed. One look-up finds all of this library.
#define EMULATOR_OF_THREAD __thread __attribute__((tls_model("local-dynamic")))
extern EMULATOR_OF_THREAD Place place;

// A kernel by name. `threads` runs it for every thread of the current block that has not begun.
struct Kernel {
    const char *unit, *name;
    unsigned arguments;
    void (*threads)(void **arguments);
    // Fails where a pointer among the arguments is no device memory.
    void (*check)(const char *name, void **arguments);
};

struct Registration {
    explicit Registration(const Kernel &kernel);
};

// Ends the thread before, if any, and begins the next one; false where all have begun.
bool next_thread();
// All threads of the block, or of the warp, that have not ended meet here.
void block_barrier(const char *file, int line);
void warp_barrier(const char *file, int line);
// Where lane `lane` of the warp of this thread leaves 8 bytes for others.
void *warp_slot(unsigned lane);
unsigned lane();
void *dynamic_shared();

// Runs all blocks of a launch.
void run(const Kernel &kernel, uint3 grid, uint3 block, size_t shared_bytes, void **arguments);

} // namespace emulator
