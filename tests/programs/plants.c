/* plants: reads 23 lines from standard input, each a word of at most 15 bytes, leaves each in one place
   (test_secrets.py names them), and then crashes or waits, as the last argument says. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <perimortem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum {
  ON_STACK, IN_FRAME, ON_THREAD_STACK, IN_ARGUMENT, ON_HEAP, ON_LARGE_HEAP, FREED, IN_DATA, IN_BSS, IN_TLS,
  IN_THREAD_TLS, ANONYMOUS, SHARED, IN_MEMFD, SET_IN_ENVIRONMENT, IN_PAYLOAD, IN_TEXT, IN_EVENT_NAME,
  THREAD_NAME, PROCESS_NAME, MAPPED_FILE, OPEN_FILE, SOCKET_NAME, COUNT
};

static char words[COUNT][16];
static char in_data[16] = "-";
static char in_bss[16];
static __thread char in_tls[16];
static char *kept[16];
static int crashes;
static pthread_barrier_t is_planted;

static void *waiting(void *unused) {
  char on_stack[16];
  (void)unused;
  strcpy(on_stack, words[ON_THREAD_STACK]);
  strcpy(in_tls, words[IN_THREAD_TLS]);
  prctl(PR_SET_NAME, words[THREAD_NAME]);
  kept[0] = on_stack;
  pthread_barrier_wait(&is_planted);
  for (;;) pause();
  return 0;
}

static char *map(int fd, int flags, const char *word) {
  char *at = mmap(0, 4096, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (at == MAP_FAILED) exit(2);
  strcpy(at, word);
  return at;
}

static int create(const char *word) {
  char name[64];
  snprintf(name, sizeof name, "%s.dat", word);
  int fd = open(name, O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, 4096) != 0) exit(2);
  return fd;
}

static void plant_names(void) {
  kept[1] = map(create(words[MAPPED_FILE]), MAP_SHARED, "x");
  create(words[OPEN_FILE]);
  int memfd = memfd_create("m", 0);
  if (ftruncate(memfd, 4096) != 0) exit(2);
  kept[2] = map(memfd, MAP_SHARED, words[IN_MEMFD]);
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s", words[SOCKET_NAME]);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0) exit(2);
}

static void plant_events(void) {
  char text[96];
  perimortem_open();
  snprintf(text, sizeof text, "{\"user\": \"me\", \"password\": \"%s\"}", words[IN_PAYLOAD]);
  perimortem_emit("login", text);
  snprintf(text, sizeof text, "connecting with password=%s", words[IN_TEXT]);
  perimortem_emit("connect", text);
  snprintf(text, sizeof text, "order of %s", words[IN_EVENT_NAME]);
  perimortem_emit(text, "1");
}

__attribute__((noinline)) static void end(const char *argument) {
  char in_frame[16];
  strcpy(in_frame, words[IN_FRAME]);
  kept[3] = in_frame;
  puts("ready");
  fflush(stdout);
  if (crashes) *(volatile int *)0 = argument[0];
  for (;;) syscall(SYS_pause, argument); /* in the register of the first argument */
}

int main(int argc, char **argv) {
  char on_stack[16], line[64];
  pthread_t thread;
  for (int i = 0; i < COUNT; i++) {
    if (!fgets(line, sizeof line, stdin)) return 2;
    line[strcspn(line, "\n")] = 0;
    if (strlen(line) >= sizeof words[i]) return 2;
    strcpy(words[i], line);
  }
  crashes = strcmp(argv[argc - 1], "crash") == 0;
  strcpy(on_stack, words[ON_STACK]);
  strcpy(in_data, words[IN_DATA]);
  strcpy(in_bss, words[IN_BSS]);
  strcpy(in_tls, words[IN_TLS]);
  kept[4] = on_stack;
  kept[5] = strdup(words[ON_HEAP]);
  kept[6] = strcpy(malloc(1 << 20), words[ON_LARGE_HEAP]);
  kept[7] = malloc(200);
  strcpy(kept[7] + 64, words[FREED]);
  free(kept[7]);
  kept[8] = map(-1, MAP_PRIVATE | MAP_ANONYMOUS, words[ANONYMOUS]);
  kept[9] = map(-1, MAP_SHARED | MAP_ANONYMOUS, words[SHARED]);
  kept[10] = strdup(words[IN_ARGUMENT]);
  kept[11] = getcwd(0, 0);
  setenv("SESSION", words[SET_IN_ENVIRONMENT], 1);
  prctl(PR_SET_NAME, words[PROCESS_NAME]);
  plant_names();
  plant_events();
  pthread_barrier_init(&is_planted, 0, 2);
  pthread_create(&thread, 0, waiting, 0);
  pthread_barrier_wait(&is_planted);
  end(kept[10]);
}
