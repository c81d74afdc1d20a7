/* Hangs, while a forked child with the same recorder mapped goes on beating. */
#include <perimortem.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>
int main(void) {
  perimortem_open();
  int heartbeat = perimortem_heartbeat("main", 0.3);
  perimortem_beat(heartbeat);
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    for (;;) {
      perimortem_beat(heartbeat);
      usleep(10000);
    }
  }
  puts("ready");
  fflush(stdout);
  pause();
}
