/* Healthy programs that look deadlocked at first sight: what they wait for comes in ten minutes.
 *
 *   rests KIND [FOLDER]     says "ready" when all of its threads and processes wait */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static uint32_t word;
static char stack[1 << 16];
static const char *folder = ".";

static void long_sleep(void) {
  for (;;) sleep(600);
}

static pid_t start(void (*run)(void)) {
  pid_t child = fork();
  if (child) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  run();
  _exit(0);
}

static pthread_t begin(void *(*run)(void *), void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, run, argument)) abort();
  return thread;
}

static void ready(void) {
  usleep(200000); /* the others have begun to wait */
  if (write(1, "ready\n", 6) != 6) _exit(1);
}

static void wait_for(uint32_t *at, uint32_t value, int is_private) {
  syscall(SYS_futex, at, is_private ? FUTEX_WAIT_PRIVATE : FUTEX_WAIT, value, NULL, NULL, 0);
}

/* A mutex that another thread releases: undefined by POSIX, and in use. */
static void *release_later(void *unused) {
  sleep(600);
  pthread_mutex_unlock(&mutex);
  return unused;
}

static void mutex_as_event(void) {
  pthread_mutex_lock(&mutex);
  begin(release_later, NULL);
  ready();
  pthread_mutex_lock(&mutex);
}

static void *post_later(void *unused) {
  sleep(600);
  sem_post(&semaphore);
  return unused;
}

static void *wait_semaphore(void *unused) {
  sem_wait(&semaphore);
  return unused;
}

static void semaphore_as_event(void) {
  sem_init(&semaphore, 0, 0);
  begin(post_later, NULL);
  begin(wait_semaphore, NULL);
  ready();
  sem_wait(&semaphore);
}

/* The reader of a full pipe sleeps. */
static int pipe_ends[2];

static void poll_for_room(void) {
  if (pipe(pipe_ends)) abort();
  fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK);
  char page[4096] = {0};
  while (write(pipe_ends[1], page, sizeof page) > 0) continue;
  start(long_sleep);
  close(pipe_ends[0]);
  ready();
  struct pollfd one = {pipe_ends[1], POLLOUT, 0};
  poll(&one, 1, -1);
}

/* Shared memory that a process which has not mapped it yet may map. */
static uint32_t *shared;

static void wait_shared(void) { wait_for(shared, 0, 0); }

static void system_v(void) {
  int id = shmget(IPC_PRIVATE, 4096, 0600);
  shared = shmat(id, NULL, 0);
  shmctl(id, IPC_RMID, NULL);
  start(wait_shared);
  ready();
  wait_shared();
}

static void hold_descriptor(void) {
  munmap(shared, 4096);
  long_sleep();
}

static void memory_file(void) {
  int fd = memfd_create("rests", MFD_CLOEXEC);
  if (ftruncate(fd, 4096)) abort();
  shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  start(hold_descriptor);
  close(fd);
  start(wait_shared);
  ready();
  wait_shared();
}

/* One file with two names, each locked under its own. */
static int lock_path(const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int fd = open(path, O_RDWR | O_CREAT, 0600);
  flock(fd, LOCK_EX);
  return fd;
}

static void hold_file(void) {
  lock_path("one");
  long_sleep();
}

static void linked_file(void) {
  char one[4096], two[4096];
  snprintf(one, sizeof one, "%s/one", folder);
  snprintf(two, sizeof two, "%s/two", folder);
  close(open(one, O_RDWR | O_CREAT, 0600));
  if (link(one, two)) abort();
  start(hold_file);
  usleep(100000);
  ready();
  lock_path("two");
}

/* A process with the same memory, which is no thread. */
static int wake_later(void *unused) {
  (void)unused;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  long_sleep();
  return 0;
}

static void same_memory(void) {
  clone(wake_later, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
  ready();
  wait_for(&word, 0, 1);
}

/* The child of one of three hundred threads. */
static void *wait_condition(void *unused) {
  pthread_mutex_lock(&mutex);
  pthread_cond_wait(&condition, &mutex);
  return unused;
}

static void *start_child(void *unused) {
  pid_t child = fork(); /* not bound to this thread's end */
  if (!child) long_sleep();
  waitpid(child, NULL, 0);
  return unused;
}

static void many_threads(void) {
  for (int i = 0; i < 299; i++) begin(wait_condition, NULL);
  pthread_t last = begin(start_child, NULL);
  ready();
  pthread_join(last, NULL);
}

/* A descriptor that was closed after its registration, and lives on in another one. */
static void sleep_then_write(void) {
  sleep(600);
  if (write(pipe_ends[1], "x", 1) != 1) _exit(1);
}

static void closed_in_epoll(void) {
  if (pipe(pipe_ends)) abort();
  int set = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(set, EPOLL_CTL_ADD, pipe_ends[0], &event);
  start(sleep_then_write);
  if (dup(pipe_ends[0]) < 0) abort();
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  if (open("/dev/null", O_RDONLY) < 0) abort(); /* takes the number that was closed */
  ready();
  epoll_wait(set, &event, 1, -1);
}

static void high_in_select(void) {
  if (pipe(pipe_ends)) abort();
  start(sleep_then_write);
  int high = fcntl(pipe_ends[0], F_DUPFD, 200);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(high, &set);
  close(pipe_ends[1]);
  ready();
  select(high + 1, &set, NULL, NULL, NULL);
}

/* The other end is silent for ever; the kernel ends the connection if it is gone. */
static int sockets[2];

static void receive(void) {
  char byte;
  close(sockets[0]);
  recv(sockets[1], &byte, 1, 0);
}

static void limited_connection(void) {
  int server = socket(AF_INET, SOCK_STREAM, 0), limit = 600000;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  if (bind(server, (struct sockaddr *)&at, size) || listen(server, 1)) abort();
  getsockname(server, (struct sockaddr *)&at, &size);
  sockets[0] = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(sockets[0], (struct sockaddr *)&at, size)) abort();
  sockets[1] = accept(server, NULL, NULL);
  close(server);
  for (int i = 0; i < 2; i++)
    setsockopt(sockets[i], IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
  start(receive);
  close(sockets[1]);
  ready();
  char byte;
  recv(sockets[0], &byte, 1, 0);
}

/* In its own pid namespace: a mutex that others wait for has the value 2, which is a thread's number. */
static void *hold_mutex(void *unused) {
  pthread_mutex_lock(&mutex);
  sleep(600);
  return unused;
}

static void *want_mutex(void *unused) {
  pthread_mutex_lock(&mutex);
  return unused;
}

static void inside(void) {
  begin(want_mutex, NULL); /* thread 2: waits as well */
  ready();
  pthread_mutex_lock(&mutex);
}

static void inside_held(void) {
  begin(hold_mutex, NULL);
  usleep(100000);
  inside();
}

static void pid_namespace(void) {
  if (unshare(CLONE_NEWPID)) {
    if (write(1, "no namespace\n", 13) != 13) _exit(1);
    _exit(0);
  }
  pid_t child = start(inside_held);
  waitpid(child, NULL, 0);
}

static const struct {
  const char *name;
  void (*run)(void);
} kinds[] = {
    {"mutex-as-event", mutex_as_event},
    {"semaphore-as-event", semaphore_as_event},
    {"poll-for-room", poll_for_room},
    {"system-v", system_v},
    {"memory-file", memory_file},
    {"linked-file", linked_file},
    {"same-memory", same_memory},
    {"many-threads", many_threads},
    {"closed-in-epoll", closed_in_epoll},
    {"high-in-select", high_in_select},
    {"limited-connection", limited_connection},
    {"pid-namespace", pid_namespace},
};

int main(int argc, char **argv) {
  if (argc > 2) folder = argv[2];
  for (size_t i = 0; argc > 1 && i < sizeof kinds / sizeof *kinds; i++)
    if (!strcmp(argv[1], kinds[i].name)) {
      kinds[i].run();
      return 0;
    }
  return 2;
}
