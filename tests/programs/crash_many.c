/* crash_many COUNT KINDS: COUNT children that crash at the same moment, at KINDS different places. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

__asm__(".text\n.globl many_places\nmany_places:\n.rept 4096\nud2\n.endr\n");
extern char many_places[];

int main(int argc, char **argv) {
  int count = atoi(argv[1]), kinds = argc > 2 ? atoi(argv[2]) : 1;
  pthread_barrierattr_t shared;
  pthread_barrier_t *together =
      mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_barrierattr_init(&shared);
  pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(together, &shared, (unsigned)count);
  for (int i = 0; i < count; i++)
    if (fork() == 0) {
      pthread_barrier_wait(together);
      ((void (*)(void))(many_places + 2 * (i % kinds)))();
    }
  int crashed = 0, status;
  while (wait(&status) > 0) crashed += WIFSIGNALED(status) && WTERMSIG(status) == 4;
  printf("%d\n", crashed);
  return 0;
}
