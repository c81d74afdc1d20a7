// The guard in C++: a member that removes the crash handler at the end of its scope.
//
//     ./build/render 3        renders and ends
//     ./build/render 7        throws an exception that nothing catches, in a thread
#include <perimortem.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <thread>

struct Release {
  void operator()(perimortem_guard *guard) const { perimortem_release(guard); }
};
using Guard = std::unique_ptr<perimortem_guard, Release>;

static void render_frame(int frame) {
  if (frame == 5) throw std::runtime_error("the texture of frame 5 is not there");
  std::cout << "frame " << frame << '\n';
}

int main(int argc, char **argv) {
  const int frames = argc > 1 ? std::atoi(argv[1]) : 3;
  Guard guard(perimortem_spawn_and_attach(nullptr));

  std::thread renderer([frames] {
    const int heartbeat = perimortem_heartbeat("render", 0.5);
    for (int frame = 0; frame < frames; frame++) {
      perimortem_beat(heartbeat);
      render_frame(frame);
    }
    perimortem_retire(heartbeat);
  });
  renderer.join();
}
