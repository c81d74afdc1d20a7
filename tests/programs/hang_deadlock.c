/* Two threads take two locks in opposite order; both had been beating. */
#include <perimortem.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER, b = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;
static void *left(void *unused) {
  int heartbeat = perimortem_heartbeat("left", 0.3);
  perimortem_beat(heartbeat);
  pthread_mutex_lock(&a);
  pthread_barrier_wait(&both);
  pthread_mutex_lock(&b);
  perimortem_beat(heartbeat);
  return unused;
}
static void *right(void *unused) {
  int heartbeat = perimortem_heartbeat("right", 0.3);
  perimortem_beat(heartbeat);
  pthread_mutex_lock(&b);
  pthread_barrier_wait(&both);
  pthread_mutex_lock(&a);
  perimortem_beat(heartbeat);
  return unused;
}
int main(void) {
  pthread_t one, two;
  perimortem_open();
  pthread_barrier_init(&both, 0, 2);
  pthread_create(&one, 0, left, 0);
  pthread_create(&two, 0, right, 0);
  puts("ready");
  fflush(stdout);
  pthread_join(one, 0);
  return 0;
}
