/* locks KIND [N]: threads that wait for each other, or seem to. Prints "ready".
 *   cycle N    N threads, each holds a mutex and waits for that of the next: a deadlock
 *   beside N   the same, while the main thread rests in pause()
 *   self       a thread takes its own mutex twice
 *   join       a thread holds a mutex and joins one that wants it
 *   rwlock     two threads, two read-write locks
 *   busy N     N threads that take many mutexes in order, without end: healthy
 *   own        a thread waits in a self-made lock, which has the other's number in it: healthy
 *   pi         two priority-inheriting mutexes, taken in a cycle: glibc parks the second thread
 *   dead-owner a thread has ended with a mutex that another waits for
 *   writers    three writers wait for two readers
 *   chain N    each waits for the next, the last one works: healthy
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 64

static pthread_mutex_t locks[MOST];
static pthread_rwlock_t rwlocks[2] = {PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER};
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t all;
static int count;
static volatile long work;

static void *in_cycle(void *number) {
  long own = (long)number;
  pthread_mutex_lock(&locks[own]);
  pthread_barrier_wait(&all);
  pthread_mutex_lock(&locks[(own + 1) % count]);
  return NULL;
}

static void *in_chain(void *number) {
  long own = (long)number;
  pthread_mutex_lock(&locks[own]);
  pthread_barrier_wait(&all);
  if (own + 1 < count) pthread_mutex_lock(&locks[own + 1]);
  for (;;) work++;
  return NULL;
}

static void *busy(void *number) {
  unsigned seed = (unsigned)(long)number;
  for (;;) {
    int first = rand_r(&seed) % (MOST / 2), second = MOST / 2 + rand_r(&seed) % (MOST / 2);
    pthread_mutex_lock(&locks[first]);
    pthread_mutex_lock(&locks[second]);
    for (int i = 0; i < 200; i++) work++;
    pthread_mutex_unlock(&locks[second]);
    pthread_mutex_unlock(&locks[first]);
  }
  return NULL;
}

static void *with_rwlock(void *number) {
  long own = (long)number;
  pthread_rwlock_wrlock(&rwlocks[own]);
  pthread_barrier_wait(&all);
  pthread_rwlock_rdlock(&rwlocks[1 - own]);
  return NULL;
}

/* A lock that begins as glibc's do, and where they have their owner notes who made it. */
static struct {
  int word, spare, creator;
} own_lock;
static void *in_own_lock(void *unused) {
  own_lock.word = 2;
  syscall(SYS_futex, &own_lock.word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
  return unused;
}

static void make_inheriting(void) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
  for (int i = 0; i < MOST; i++) pthread_mutex_init(&locks[i], &attributes);
}

static void *reads(void *unused) {
  pthread_rwlock_rdlock(&rwlocks[0]);
  pthread_barrier_wait(&all);
  for (;;) pause();
}

static void *writes(void *unused) {
  pthread_rwlock_wrlock(&rwlocks[0]);
  return unused;
}

static void *wants_guard(void *unused) {
  pthread_mutex_lock(&guard);
  return unused;
}

static void *ends_with_guard(void *unused) {
  pthread_mutex_lock(&guard);
  return unused;
}

static pthread_t last;
static void start(void *(*function)(void *), int threads) {
  for (long i = 0; i < threads; i++) pthread_create(&last, NULL, function, (void *)i);
}

int main(int argc, char **argv) {
  const char *kind = argc > 1 ? argv[1] : "cycle";
  count = argc > 2 ? atoi(argv[2]) : 2;
  for (int i = 0; i < MOST; i++) pthread_mutex_init(&locks[i], NULL);
  pthread_barrier_init(&all, NULL, strcmp(kind, "rwlock") ? count + 1 : 3);
  if (!strcmp(kind, "cycle") || !strcmp(kind, "beside")) start(in_cycle, count);
  if (!strcmp(kind, "chain")) start(in_chain, count);
  if (!strcmp(kind, "pi")) {
    make_inheriting();
    start(in_cycle, count);
  }
  if (!strcmp(kind, "writers")) start(reads, count);
  if (!strcmp(kind, "rwlock")) start(with_rwlock, 2);
  if (!strcmp(kind, "busy")) start(busy, count);
  else if (strcmp(kind, "self") && strcmp(kind, "join") && strcmp(kind, "own") &&
           strcmp(kind, "dead-owner")) pthread_barrier_wait(&all);
  puts("ready");
  fflush(stdout);
  if (!strcmp(kind, "cycle")) pthread_join(last, NULL);
  if (!strcmp(kind, "self")) {
    pthread_mutex_lock(&guard);
    pthread_mutex_lock(&guard);
  }
  if (!strcmp(kind, "dead-owner")) {
    start(ends_with_guard, 1);
    pthread_join(last, NULL);
    pthread_mutex_lock(&guard);
  }
  if (!strcmp(kind, "own")) {
    own_lock.creator = gettid();
    start(in_own_lock, 1);
    pthread_join(last, NULL);
  }
  if (!strcmp(kind, "writers")) start(writes, 3);
  if (!strcmp(kind, "join")) {
    pthread_t thread;
    pthread_mutex_lock(&guard);
    pthread_create(&thread, NULL, wants_guard, NULL);
    pthread_join(thread, NULL);
  }
  for (;;) pause();
}
