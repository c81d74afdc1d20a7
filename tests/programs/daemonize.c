/* daemonize HOW: forks twice with setsid between, closes every descriptor, clears the environment, and
 * then ends as HOW says: a status, or "crash". The first process exits with 0 at once. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "0";
  if (fork()) _exit(0);
  setsid();
  if (fork()) _exit(0);
  for (int fd = 0; fd < 1024; fd++) close(fd);
  clearenv();
  usleep(300000);
  if (strcmp(how, "crash") == 0) *(volatile int *)0 = 1;
  exit(atoi(how));
}
