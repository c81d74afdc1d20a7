/* spawns HOW PROGRAM [ARGUMENT]: starts PROGRAM by fork, vfork, posix_spawn, posix_spawnp, system or popen,
 * waits for it, and exits with 0. */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
  pid_t pid = -1;
  int status;
  if (argc < 3) return 2;
  const char *how = argv[1];
  if (strcmp(how, "system") == 0) return system(argv[2]) == -1;
  if (strcmp(how, "popen") == 0) return pclose(popen(argv[2], "r")) == -1;
  if (strcmp(how, "fork") == 0 && (pid = fork()) == 0) _exit(127 + execv(argv[2], argv + 2));
  if (strcmp(how, "vfork") == 0 && (pid = vfork()) == 0) _exit(127 + execv(argv[2], argv + 2));
  if (strcmp(how, "posix_spawn") == 0) posix_spawn(&pid, argv[2], 0, 0, argv + 2, environ);
  if (strcmp(how, "posix_spawnp") == 0) posix_spawnp(&pid, argv[2], 0, 0, argv + 2, environ);
  waitpid(pid, &status, 0);
  return 0;
}
