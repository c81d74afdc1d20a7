/* Does what MODE says in its constructor, before main and before a preload's constructor. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

__attribute__((constructor)) static void act(void) {
  const char *mode = getenv("MODE");
  char *argv[] = {"echo", "from the child", NULL};
  pid_t child;
  if (!mode) return;
  if (!strcmp(mode, "fork")) {
    child = fork();
    if (child == 0) {
      execlp("echo", "echo", "from the child", (char *)NULL);
      _exit(9);
    }
    waitpid(child, NULL, 0);
  }
  if (!strcmp(mode, "spawn")) {
    if (posix_spawnp(&child, "echo", NULL, NULL, argv, environ) == 0) waitpid(child, NULL, 0);
  }
  if (!strcmp(mode, "exit")) {
    printf("not flushed");
    exit(4);
  }
  if (!strcmp(mode, "abort")) abort();
}
