/* beat_in_threads [ROUNDS]: eight threads use the library at once: own and shared heartbeats, events, and
 * heartbeats that are registered and retired meanwhile. For ThreadSanitizer (tools/sanitize.py); with -DRACE
 * it has a race, which shows that one would be found. */
#include <perimortem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8 };

static int shared, rounds = 2000;
#ifdef RACE
static long unguarded;
#endif

static void *work(void *argument) {
  char name[32];
  snprintf(name, sizeof name, "worker-%ld", (long)argument);
  int own = perimortem_heartbeat(name, 5.0);
  for (int round = 0; round < rounds; round++) {
#ifdef RACE
    unguarded++;
#endif
    perimortem_beat(own);
    perimortem_beat(shared);
    perimortem_emit("round", "{\"at\": 1}");
    if (round % 64 == 0) {
      perimortem_pause(own);
      perimortem_resume(own);
      perimortem_extend(shared, 1.0);
      perimortem_retire(own);
      own = perimortem_heartbeat(name, 5.0);
    }
  }
  return NULL;
}

int main(int argc, char **argv) {
  pthread_t threads[THREADS];
  if (argc > 1) rounds = atoi(argv[1]);
  if (perimortem_open() != 0) return 1;
  shared = perimortem_heartbeat("shared", 5.0);
  for (long i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, work, (void *)i) != 0) return 2;
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  perimortem_goodbye(0);
  return 0;
}
