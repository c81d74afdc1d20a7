/* A vfork child calls _exit while it lives in our memory: that is not our end. */
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
  pid_t child = vfork();
  if (child == 0) _exit(42);
  int status;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status) == 42 ? 0 : 1;
}
