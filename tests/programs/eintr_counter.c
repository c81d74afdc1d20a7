/* eintr_counter: threads that sleep in epoll_wait, sigtimedwait, recv with a time limit, semtimedop and poll.
 * At SIGTERM prints how many calls ended with EINTR. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
static atomic_int interrupted;
static void count(long result) {
  if (result < 0 && errno == EINTR) interrupted++;
}
static void *sleep_in_epoll(void *u) {
  struct epoll_event event;
  int fd = epoll_create1(0);
  for (;;) count(epoll_wait(fd, &event, 1, 100000));
  return u;
}
static void *sleep_in_sigwait(void *u) {
  sigset_t set;
  struct timespec limit = {100, 0};
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  for (;;) count(sigtimedwait(&set, 0, &limit));
  return u;
}
static void *sleep_in_recv(void *u) {
  int pair[2];
  char c;
  struct timeval limit = {100, 0};
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  for (;;) count(recv(pair[0], &c, 1, 0));
  return u;
}
static void *sleep_in_semop(void *u) {
  struct sembuf take = {0, -1, 0};
  struct timespec limit = {100, 0};
  int id = *(int *)u;
  for (;;) count(semtimedop(id, &take, 1, &limit));
  return u;
}
static void *sleep_in_poll(void *u) {
  for (;;) count(poll(0, 0, 100000));
  return u;
}
int main(void) {
  pthread_t thread;
  sigset_t set;
  int number, id = semget(IPC_PRIVATE, 1, 0600);
  sigfillset(&set);
  pthread_sigmask(SIG_BLOCK, &set, 0);
  pthread_create(&thread, 0, sleep_in_epoll, 0);
  pthread_create(&thread, 0, sleep_in_sigwait, 0);
  pthread_create(&thread, 0, sleep_in_recv, 0);
  pthread_create(&thread, 0, sleep_in_semop, &id);
  pthread_create(&thread, 0, sleep_in_poll, 0);
  puts("ready");
  fflush(stdout);
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigwait(&set, &number);
  semctl(id, 0, IPC_RMID);
  printf("%d\n", interrupted);
  return 0;
}
