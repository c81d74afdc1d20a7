/* Hooks of exec: the recorder of a replaced image must not speak for the next one, and a program that
* does not support a preload (AddressSanitizer, another libc, a chroot) must not get ours.
 *
 * A mark in the recorder says that an exec was begun. If the new image carries the agent it creates a new
 * recorder; if not, the mark stays, and the monitor knows that the goodbye of that image cannot be
 * known. If the next image supports us the environment is unchanged; else our library, and only that,
 * is removed from LD_PRELOAD. A program that clears the environment keeps us out on purpose.
 *
 * All this may run in a vfork child or a signal handler: no allocation, no lock. */
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../src/clock.h"
#include "../src/linux/compat.h"
#include "../src/recorder.h"
#include "hooks.h"
#include "image.h"
#include "perimortem.h"

#define ON_STACK_MAX 256
#define PRELOAD "LD_PRELOAD="
#define OWN_NAME "libperimortem_preload.so"

extern char **environ;

typedef int (*execve_function)(const char *, char *const *, char *const *);
typedef int (*fexecve_function)(int, char *const *, char *const *);
typedef int (*spawn_function)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                              const posix_spawnattr_t *, char *const *, char *const *);

static execve_function real_execve, real_execvpe;
static fexecve_function real_fexecve;
static spawn_function real_posix_spawn, real_posix_spawnp;

void pmr_prepare_exec_hooks(void) {
  pmr_remember_library();
  real_execve = (execve_function)(uintptr_t)dlsym(RTLD_NEXT, "execve");
  real_execvpe = (execve_function)(uintptr_t)dlsym(RTLD_NEXT, "execvpe");
  real_fexecve = (fexecve_function)(uintptr_t)dlsym(RTLD_NEXT, "fexecve");
  real_posix_spawn = (spawn_function)(uintptr_t)dlsym(RTLD_NEXT, "posix_spawn");
  real_posix_spawnp = (spawn_function)(uintptr_t)dlsym(RTLD_NEXT, "posix_spawnp");
}

/* Another library's constructor may have run before ours. */
static void resolve_at_need(void) {
  if (!real_execve) pmr_prepare_exec_hooks();
}

/* The recorder if this is the watched process itself: not a fork (base is NULL there), and not a
* vfork child, which runs in our memory under another pid. */
static unsigned char *own_recorder(void) {
  unsigned char *base = pmr_base();
  if (pmr_under_seccomp) return base; /* even getpid may be forbidden then */
  return base && ((pmr_header *)(void *)base)->pid == (uint32_t)getpid() ? base : NULL;
}

static void set_exec_mark(unsigned char *base, uint64_t when_ns) {
  atomic_store_explicit(pmr_word_at(base, PMR_LIVE(exec_ns)), when_ns, memory_order_release);
}

/* `program`: NULL if only a descriptor names it. */
static void mark_exec(unsigned char *base, const char *program) {
  if (!base) return;
  const char *slash = program ? strrchr(program, '/') : NULL;
  pmr_copy_name((char *)base + PMR_EXEC_NAME_OFFSET, PMR_EXEC_NAME_SIZE, slash ? slash + 1 : program);
  set_exec_mark(base, pmr_now_ns());
}

int pmr_has_failed_to_exec;

/* This image continues; in a forked child most likely to its _exit. */
static void exec_failed(unsigned char *base) {
  pmr_has_failed_to_exec = 1;
  if (base) set_exec_mark(base, 0);
}

/* LD_PRELOAD without our library, into `to`, which has room for all of `entry`. */
static void strip_preload(const char *entry, char *to) {
  size_t length = strlen(PRELOAD);
  memmove(to, entry, length);
  for (const char *at = entry + length; *at;) {
    size_t part = strcspn(at, ": ");
    if (part && !memmem(at, part, OWN_NAME, strlen(OWN_NAME))) {
      if (to[length - 1] != '=') to[length++] = ':';
      memmove(to + length, at, part);
      length += part;
    }
    at += part + (at[part] != '\0');
  }
  to[length] = '\0';
}

static int is_our_preload(const char *entry) {
  return strncmp(entry, PRELOAD, strlen(PRELOAD)) == 0 && strstr(entry, OWN_NAME) != NULL;
}

/* The size of an environment without us: 0 entries if we are not in it, or if it is too large. */
static void measure(char *const *environment, size_t *entries, size_t *preload_size) {
  *entries = 0;
  *preload_size = 0;
  for (size_t i = 0; environment && environment[i]; i++) {
    if (is_our_preload(environment[i])) *preload_size = strlen(environment[i]) + 1;
    *entries = i + 1;
  }
  if (*preload_size == 0) *entries = 0;
}

/* The program reads its environment past our hooks (Go): what it starts itself gets no preload. */
void pmr_leave_environment(void) {
  for (char **entry = environ; entry && *entry; entry++)
    if (is_our_preload(*entry)) strip_preload(*entry, *entry);
}

static char *const *strip_environment(char *const *from, char **to, char *preload) {
  size_t kept = 0;
  for (size_t i = 0; from[i]; i++) {
    if (!is_our_preload(from[i])) {
      to[kept++] = from[i];
      continue;
    }
    strip_preload(from[i], preload);
    if (preload[strlen(PRELOAD)]) to[kept++] = preload; /* none left: no variable either */
  }
  to[kept] = NULL;
  return to;
}

/* Space for a large environment. After a vfork it is the parent's memory and stays allocated: few programs
* have so many variables and start others that do not support a preload. */
static char **map_room(size_t entries) {
  long room = pmr_real_syscall(SYS_mmap, 0, (long)(entries * sizeof(char *)), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return room == -1 ? NULL : (char **)(uintptr_t)room;
}

/* `environment` without us, in the frame of the calling function as long as it is small: a handler, or
* a thread of a server, may run on a stack of 8 KiB. */
#define WITHOUT_US(environment, result)                                             \
  char *const *result = (environment);                                              \
  size_t entries_, preload_size_;                                                   \
  measure(result, &entries_, &preload_size_);                                       \
  if (entries_) {                                                                   \
    char **room_ = entries_ <= ON_STACK_MAX ? alloca((entries_ + 1) * sizeof(char *)) \
                                            : map_room(entries_ + 1);               \
    if (room_) result = strip_environment(result, room_, alloca(preload_size_));    \
  }

/* May the preload stay for the program at `path`? Not under a seccomp filter: the agent's start makes
* system calls that the filter may forbid. */
static int goes_along(const unsigned char *own, const char *path) {
  if (pmr_under_seccomp || !(own || pmr_follows_children)) return 0;
  return pmr_bears_preload(path);
}

static int exec_marked(execve_function real, const char *path, const char *program,
                       char *const *argv, char *const *environment) {
  unsigned char *base = own_recorder();
  mark_exec(base, path);
  int result;
  if (goes_along(base, program)) {
    result = real(path, argv, environment);
  } else {
    WITHOUT_US(environment, stripped);
    result = real(path, argv, stripped);
  }
  exec_failed(base);
  return result;
}

static int exec_on_path(const char *file, char *const *argv, char *const *environment) {
  char path[PMR_PATH_MAX];
  return exec_marked(real_execvpe, file, pmr_find_on_path(file, path), argv, environment);
}

PERIMORTEM_API int execve(const char *path, char *const argv[], char *const environment[]) {
  resolve_at_need();
  return exec_marked(real_execve, path, path, argv, environment);
}

PERIMORTEM_API int execv(const char *path, char *const argv[]) {
  resolve_at_need();
  return exec_marked(real_execve, path, path, argv, environ);
}

PERIMORTEM_API int execvpe(const char *file, char *const argv[], char *const environment[]) {
  resolve_at_need();
  return exec_on_path(file, argv, environment);
}

PERIMORTEM_API int execvp(const char *file, char *const argv[]) {
  resolve_at_need();
  return exec_on_path(file, argv, environ);
}

/* "/proc/self/fd/" and the number: the program that a descriptor refers to. */
static const char *name_descriptor(int fd, char name[32]) {
  char digits[12];
  int count = 0;
  strcpy(name, "/proc/self/fd/");
  char *end = name + strlen(name);
  do digits[count++] = (char)('0' + fd % 10);
  while (fd /= 10);
  while (count) *end++ = digits[--count];
  *end = '\0';
  return name;
}

PERIMORTEM_API int fexecve(int fd, char *const argv[], char *const environment[]) {
  char name[32];
  resolve_at_need();
  unsigned char *base = own_recorder();
  mark_exec(base, NULL);
  int result;
  if (fd >= 0 && goes_along(base, name_descriptor(fd, name))) {
    result = real_fexecve(fd, argv, environment);
  } else {
    WITHOUT_US(environment, stripped);
    result = real_fexecve(fd, argv, stripped);
  }
  exec_failed(base);
  return result;
}

PERIMORTEM_API int execveat(int fd, const char *path, char *const argv[], char *const environment[],
                            int flags) {
  char name[32];
  unsigned char *base = own_recorder();
  const char *program = path;
  /* Relative to a directory: only as far as the kernel's own name for it can be followed. */
  if (path[0] != '/' && fd != AT_FDCWD)
    program = path[0] == '\0' && fd >= 0 ? name_descriptor(fd, name) : NULL;
  mark_exec(base, path[0] ? path : NULL);
  int result;
  if (goes_along(base, program)) {
    result = (int)pmr_real_syscall(SYS_execveat, fd, (long)path, (long)argv, (long)environment, flags, 0);
  } else {
    WITHOUT_US(environment, stripped);
    result = (int)pmr_real_syscall(SYS_execveat, fd, (long)path, (long)argv, (long)stripped, flags, 0);
  }
  exec_failed(base);
  return result;
}

/* The list forms: count the arguments, then lay them out as an array. */
#define COLLECT_ARGUMENTS(first, list, array)                       \
  size_t count = 0;                                                 \
  va_start(list, first);                                            \
  for (const char *a = (first); a; a = va_arg(list, const char *)) count++; \
  va_end(list);                                                     \
  char **array = alloca((count + 1) * sizeof(char *));              \
  va_start(list, first);                                            \
  array[0] = (char *)(uintptr_t)(first);                            \
  for (size_t i = 1; i <= count; i++) array[i] = va_arg(list, char *)

PERIMORTEM_API int execl(const char *path, const char *first, ...) {
  va_list list;
  COLLECT_ARGUMENTS(first, list, argv);
  va_end(list);
  resolve_at_need();
  return exec_marked(real_execve, path, path, argv, environ);
}

PERIMORTEM_API int execlp(const char *file, const char *first, ...) {
  va_list list;
  COLLECT_ARGUMENTS(first, list, argv);
  va_end(list);
  resolve_at_need();
  return exec_on_path(file, argv, environ);
}

PERIMORTEM_API int execle(const char *path, const char *first, ...) {
  va_list list;
  COLLECT_ARGUMENTS(first, list, argv);
  char *const *environment = va_arg(list, char *const *);
  va_end(list);
  resolve_at_need();
  return exec_marked(real_execve, path, path, argv, environment);
}

/* A child by posix_spawn, as seen from the parent, before any file action has changed directories. */
static int spawn(spawn_function real, pid_t *pid, const char *path, const char *program,
                 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                 char *const *argv, char *const *environment) {
  if (goes_along(NULL, program))
    return real(pid, path, actions, attributes, argv, environment);
  WITHOUT_US(environment, stripped);
  return real(pid, path, actions, attributes, argv, stripped);
}

PERIMORTEM_API int posix_spawn(pid_t *pid, const char *path,
                               const posix_spawn_file_actions_t *actions,
                               const posix_spawnattr_t *attributes, char *const argv[],
                               char *const environment[]) {
  resolve_at_need();
  return spawn(real_posix_spawn, pid, path, path, actions, attributes, argv, environment);
}

PERIMORTEM_API int posix_spawnp(pid_t *pid, const char *file,
                                const posix_spawn_file_actions_t *actions,
                                const posix_spawnattr_t *attributes, char *const argv[],
                                char *const environment[]) {
  char path[PMR_PATH_MAX];
  resolve_at_need();
  return spawn(real_posix_spawnp, pid, file, pmr_find_on_path(file, path), actions, attributes, argv,
               environment);
}
