// Stacks of C++: stacks_cpp KIND.
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#define KEEP __attribute__((noinline, noclone))

namespace engine {

struct Lost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

KEEP void rest() {
  std::puts("ready");
  std::fflush(stdout);
  for (;;)
    pause();
}

template <typename T> struct CrashContext {
  std::vector<T> nodes;
  KEEP void visit(const std::function<void(T &)> &each)
  {
    for (auto &node : nodes)
      each(node);
  }
};

struct Guard {
  ~Guard() { rest(); }
};

KEEP void lose(const std::string &what) { throw Lost(what); }

KEEP void in_destructor() {
  Guard guard;
  lose("device");
}

} // namespace engine

int main(int count, char **arguments) {
  std::string kind = count > 1 ? arguments[1] : "lambda";
  engine::CrashContext<int> scene{{1, 2, 3}};
  if (kind == "lambda")
    scene.visit([](int &node) {
      node++;
      engine::rest();
    });
  if (kind == "catch") {
    try {
      engine::lose("context");
    } catch (const std::exception &) {
      engine::rest();
    }
  }
  if (kind == "unwinding") {
    try {
      engine::in_destructor();
    } catch (const std::exception &) {
    }
  }
  if (kind == "uncaught")
    engine::lose("the device was lost");
  return 2;
}
