/* Read from an ELF file what the loader will do with it. The monitor decides the same for the first
* program (monitor/preload.py); here it is decided for each exec of a program that carries the agent.
 *
 * A preload can stop a program from starting: a sanitizer's runtime must come first, another libc
 * takes ours for its own and exits 127. A static program ignores it. */
#define _GNU_SOURCE
#include "image.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../src/linux/compat.h"

#define SCRIPTS_MAX 4
#define PROGRAM_HEADERS_MAX 64
#define NEEDED_MAX 512

#if defined(__x86_64__)
#define LOADER "ld-linux-x86-64.so.2"
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define LOADER "ld-linux-aarch64.so.1"
#define MACHINE EM_AARCH64
#endif

static char library_path[512];

void pmr_remember_library(void) {
  Dl_info info;
  if (dladdr(library_path, &info) && info.dli_fname && strlen(info.dli_fname) < sizeof library_path)
    strcpy(library_path, info.dli_fname);
}

static int read_at(int fd, uint64_t offset, void *to, size_t size) {
  return offset <= INT64_MAX && pread(fd, to, size, (off_t)offset) == (ssize_t)size;
}

/* Text up to its NUL, cut to `size`; 0 if nothing could be read. */
static int read_text(int fd, uint64_t offset, char *to, size_t size) {
  if (offset > INT64_MAX) return 0;
  ssize_t got = pread(fd, to, size - 1, (off_t)offset);
  if (got <= 0) return 0;
  to[got] = '\0';
  return 1;
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static int is_sanitizer(const char *name) {
  static const char *const prefixes[] = {"libasan.", "libhwasan.", "libclang_rt.asan",
                                         "libclang_rt.hwasan"};
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return 1;
  return 0;
}

static uint64_t file_offset(const Elf64_Phdr *headers, int count, uint64_t address) {
  for (int i = 0; i < count; i++)
    if (headers[i].p_type == PT_LOAD && headers[i].p_vaddr <= address &&
        address - headers[i].p_vaddr < headers[i].p_filesz)
      return headers[i].p_offset + (address - headers[i].p_vaddr);
  return UINT64_MAX;
}

static int needs_sanitizer(int fd, const Elf64_Phdr *headers, int count, const Elf64_Phdr *dynamic) {
  Elf64_Dyn entry;
  uint64_t names = UINT64_MAX;
  size_t entries = dynamic->p_filesz / sizeof entry;
  if (entries > NEEDED_MAX) entries = NEEDED_MAX;
  for (size_t i = 0; i < entries; i++) {
    if (!read_at(fd, dynamic->p_offset + i * sizeof entry, &entry, sizeof entry)) return 0;
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_STRTAB) names = file_offset(headers, count, entry.d_un.d_ptr);
  }
  if (names == UINT64_MAX) return 0;
  for (size_t i = 0; i < entries; i++) {
    char name[64];
    if (!read_at(fd, dynamic->p_offset + i * sizeof entry, &entry, sizeof entry)) return 0;
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_NEEDED && read_text(fd, names + entry.d_un.d_val, name, sizeof name) &&
        is_sanitizer(name))
      return 1;
  }
  return 0;
}

static int elf_bears_preload(int fd) {
#ifdef LOADER
  Elf64_Ehdr head;
  Elf64_Phdr headers[PROGRAM_HEADERS_MAX];
  const Elf64_Phdr *dynamic = NULL;
  int has_our_loader = 0;
  if (!read_at(fd, 0, &head, sizeof head) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return 0;
  if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_machine != MACHINE) return 0;
  if (head.e_phentsize != sizeof *headers || head.e_phnum > PROGRAM_HEADERS_MAX) return 0;
  if (!read_at(fd, head.e_phoff, headers, head.e_phnum * sizeof *headers)) return 0;
  for (int i = 0; i < head.e_phnum; i++) {
    char interpreter[256];
    if (headers[i].p_type == PT_DYNAMIC) dynamic = &headers[i];
    if (headers[i].p_type == PT_INTERP &&
        read_text(fd, headers[i].p_offset, interpreter, sizeof interpreter))
      has_our_loader = strcmp(base_name(interpreter), LOADER) == 0;
  }
  return has_our_loader && (!dynamic || !needs_sanitizer(fd, headers, head.e_phnum, dynamic));
#else
  (void)fd;
  return 0;
#endif
}

/* The interpreter of a script, in place in `line`; NULL if it is not one. */
static char *find_interpreter(char *line) {
  if (line[0] != '#' || line[1] != '!') return NULL;
  char *at = line + 2;
  while (*at == ' ' || *at == '\t') at++;
  at[strcspn(at, " \t\n")] = '\0';
  return *at ? at : NULL;
}

int pmr_bears_preload(const char *path) {
  char line[256];
  int saved_errno = errno;
  int bears = 0;
  if (!path || !library_path[0] || access(library_path, R_OK) != 0) path = NULL;
  for (int depth = 0; path && depth < SCRIPTS_MAX; depth++) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) break;
    path = read_text(fd, 0, line, sizeof line) ? find_interpreter(line) : NULL;
    if (!path) bears = elf_bears_preload(fd);
    close(fd);
  }
  errno = saved_errno;
  return bears;
}

static int find_go_note(struct dl_phdr_info *program, size_t size, void *found) {
  (void)size;
  for (int i = 0; i < program->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &program->dlpi_phdr[i];
    if (header->p_type != PT_NOTE) continue;
    const char *at = (const char *)(program->dlpi_addr + header->p_vaddr);
    const char *end = at + header->p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)(const void *)at;
      const char *name = at + sizeof *note;
      if (note->n_namesz == 4 && name + 4 <= end && memcmp(name, "Go", 3) == 0) *(int *)found = 1;
      size_t step = sizeof *note + ((note->n_namesz + 3) & ~3u) + ((note->n_descsz + 3) & ~3u);
      if (step > (size_t)(end - at)) break;
      at += step;
    }
  }
  return 1; /* the first is the program itself */
}

int pmr_is_go_program(void) {
  int found = 0;
  dl_iterate_phdr(find_go_note, &found);
  return found;
}

const char *pmr_find_on_path(const char *file, char path[PMR_PATH_MAX]) {
  if (!file || !*file) return NULL;
  if (strchr(file, '/')) return file;
  int saved_errno = errno;
  const char *found = NULL;
  const char *directories = getenv("PATH");
  if (!directories) directories = "/bin:/usr/bin"; /* as glibc does */
  size_t name = strlen(file);
  for (const char *at = directories; !found && name < PMR_PATH_MAX / 2;) {
    size_t length = strcspn(at, ":");
    if (length + name + 2 <= PMR_PATH_MAX) {
      memcpy(path, at, length);
      path[length] = '/';
      memcpy(path + length + (length != 0), file, name + 1);
      if (access(path, X_OK) == 0) found = path;
    }
    if (at[length] == '\0') break;
    at += length + 1;
  }
  errno = saved_errno;
  return found;
}
