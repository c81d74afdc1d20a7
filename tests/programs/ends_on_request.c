/* ends_on_request PIDFILE HOW [attach]: writes its pid to PIDFILE, waits for a line, and ends.
 *
 * crash: writes to a null pointer. hang: stops beating for half a second first (threshold 0.2 s). exit: another
 * thread calls _exit(7). attach: it registers with the monitor that serves, and starts none. */
#include <perimortem.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void *leave(void *unused) {
  (void)unused;
  _exit(7);
}

int main(int argc, char **argv) {
  static const char *const no_monitor[] = { "/bin/false", NULL };
  perimortem_options options = { no_monitor, 1, 5 };
  char line[16];
  int heartbeat;
  FILE *file;
  pthread_t thread;
  if (argc < 3) return 2;
  perimortem_open();
  if (argc > 3) perimortem_spawn_and_attach(&options);
  heartbeat = perimortem_heartbeat("main", 0.2);
  perimortem_beat(heartbeat);
  perimortem_pause(heartbeat);
  file = fopen(argv[1], "w");
  if (!file) return 2;
  fprintf(file, "%d\n", (int)getpid());
  fclose(file);
  if (!fgets(line, sizeof line, stdin)) line[0] = 0;
  if (!strcmp(argv[2], "hang")) {
    perimortem_resume(heartbeat);
    perimortem_beat(heartbeat);
    usleep(500000);
  }
  if (!strcmp(argv[2], "exit")) {
    pthread_create(&thread, NULL, leave, NULL);
    pthread_join(thread, NULL);
  }
  *(volatile int *)8 = 1;
  return 0;
}
