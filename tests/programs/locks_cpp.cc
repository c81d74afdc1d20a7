// locks_cpp N: N threads, std::mutex, a cycle.
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

int main(int count, char **arguments) {
  int threads = count > 1 ? std::atoi(arguments[1]) : 2;
  std::vector<std::mutex> locks(threads);
  std::barrier all(threads + 1);
  std::vector<std::thread> started;
  for (int i = 0; i < threads; i++)
    started.emplace_back([&, i] {
      std::lock_guard own(locks[i]);
      all.arrive_and_wait();
      std::lock_guard next(locks[(i + 1) % threads]);
    });
  all.arrive_and_wait();
  std::puts("ready");
  std::fflush(stdout);
  for (auto &thread : started) thread.join();
}
