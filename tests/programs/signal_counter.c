/* Counts queued real-time signals until it gets SIGTERM; prints the count. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static volatile long counted;
static volatile sig_atomic_t done;
static void count(int s) { (void)s; counted++; }
static void end(int s) { (void)s; done = 1; }
int main(void) {
  struct sigaction action = {0};
  action.sa_handler = count;
  sigaction(SIGRTMIN, &action, 0);
  action.sa_handler = end;
  sigaction(SIGTERM, &action, 0);
  puts("ready");
  fflush(stdout);
  while (!done) pause();
  printf("%ld\n", counted);
  return 0;
}
