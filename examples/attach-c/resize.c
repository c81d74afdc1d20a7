/* A worker that attaches itself: when it crashes, a monitor has its dump before it is gone.
 *
 *     make && ./resize 3 && ./resize 0; perimortem list
 */
#include <perimortem.h>
#include <stdio.h>
#include <stdlib.h>

static int tiles_per_row(int width, int tile) { return width / tile; }

int main(int argc, char **argv) {
  int tile = argc > 1 ? atoi(argv[1]) : 3;
  perimortem_guard *guard = perimortem_spawn_and_attach(NULL);
  if (!guard) fprintf(stderr, "resize: on without a monitor: %s\n", perimortem_attach_error());

  int work = perimortem_heartbeat("resize", 5.0);
  for (int width = 512; width <= 2048; width *= 2) {
    perimortem_beat(work);
    perimortem_emit("resize", width == 512 ? "{\"width\":512}" : "{\"width\":1024}");
    printf("%d tiles in %d\n", tiles_per_row(width, tile), width);
  }
  perimortem_release(guard);
  return 0;
}
