// The CPU threads that stand in for the multiprocessors of a GPU.

#include "emulator.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace emulator {
namespace {

struct Job {
    const std::function<void(size_t)> &task;
    size_t count;
    std::atomic<size_t> next{0};

    void work() {
        for (size_t at; (at = next++) < count;) task(at);
    }
};

// Work within work stays on its thread.
thread_local bool inside = false;

class Pool {
    std::mutex one_job, state;
    std::condition_variable changed;
    Job *job = nullptr;
    size_t helpers, generation = 0, busy = 0;

    void help() {
        inside = true;
        size_t seen = 0;
        std::unique_lock lock(state);
        for (;;) {
            changed.wait(lock, [&] { return generation != seen; });
            seen = generation;
            Job &mine = *job;
            lock.unlock();
            mine.work();
            lock.lock();
            if (--busy == 0) changed.notify_all();
        }
    }

  public:
    Pool() {
        size_t processors = std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
        helpers = std::max(size_t(1), size_t(setting("CUDA_EMULATOR_THREADS", processors))) - 1;
        for (size_t at = 0; at < helpers; ++at) std::thread([this] { help(); }).detach();
    }

    void run(Job &mine) {
        std::lock_guard alone(one_job);
        {
            std::lock_guard lock(state);
            job = &mine;
            busy = helpers;
            ++generation;
        }
        changed.notify_all();
        inside = true;
        mine.work();
        inside = false;
        std::unique_lock lock(state);
        changed.wait(lock, [&] { return busy == 0; });
    }
};

} // namespace

void parallel(size_t count, const std::function<void(size_t)> &task) {
    // Never destroyed, since its threads live as long as the program.
    static Pool &pool = *new Pool;
    Job job{task, count};
    if (count < 2 || inside)
        job.work();
    else
        pool.run(job);
}

} // namespace emulator
