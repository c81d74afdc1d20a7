/* raw_exec_child PROGRAM: a child execs it by syscall(2); its status is ours. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
  pid_t child = fork();
  if (child == 0) {
    syscall(SYS_execve, argv[argc - 1], (char *[]){argv[argc - 1], "7", 0}, environ);
    _exit(9);
  }
  int status;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
