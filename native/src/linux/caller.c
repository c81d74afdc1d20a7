/* Find the module of an address: among those remembered at the start, else (loaded later by dlopen) by
 * reading /proc/self/maps with plain system calls.
 *
 * dladdr and dl_iterate_phdr take the loader's lock, and _exit is called from signal handlers that
 * may have interrupted its holder: they would turn an exit into a deadlock. Buffers are static: such
 * a handler may run on a stack of 8 KiB. */
#define _GNU_SOURCE
#include "caller.h"

#include "raw.h"

#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "../recorder_layout.h"

#define MODULES_MAX 512

typedef struct module_range {
  uint64_t start, end, bias;
  const char *path;
} module_range;

static module_range modules[MODULES_MAX];
static int module_count;
static uint64_t program_header; /* read once: the auxiliary vector is on a stack that may be overrun */
static char program_path[512];

/* If a language runtime exits, the program in that language asked for it. */
static const char *const runtimes[] = {
    "libpython", "libperl", "libruby", "libnode", "liblua",   "libtcl",
    "libguile",  "libphp",  "libR.so", "libc.so", "ld-linux",
};

/* These run the program's main on a thread that they create, and exit from any thread. */
static const char *const virtual_machines[] = {"libjvm", "libjli", "libcoreclr", "libhostfxr",
                                               "libmono"};

typedef struct maps_reader {
  int fd;
  size_t at, size;
  char buffer[4096];
} maps_reader;

static int read_line(maps_reader *reader, char *line, size_t capacity) {
  size_t length = 0;
  for (;;) {
    if (reader->at == reader->size) {
      long got = PMR_RAW3(SYS_read, reader->fd, reader->buffer, sizeof reader->buffer);
      if (got <= 0) return 0;
      reader->size = (size_t)got;
      reader->at = 0;
    }
    char c = reader->buffer[reader->at++];
    if (c == '\n') break;
    if (length + 1 < capacity) line[length++] = c;
  }
  line[length] = '\0';
  return 1;
}

static const char *parse_hex(const char *at, uint64_t *value) {
  *value = 0;
  for (;; at++) {
    int digit = *at >= '0' && *at <= '9' ? *at - '0' : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10 : -1;
    if (digit < 0) return at;
    *value = *value << 4 | (uint64_t)digit;
  }
}

static int begins_with_one_of(const char *name, const char *const *prefixes, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return 1;
  return 0;
}

static uint32_t classify(const char *path, int holds_program) {
  const char *name = strrchr(path, '/');
  name = name ? name + 1 : path;
  if (holds_program) return PMR_EXIT_CALLER_PROGRAM;
  if (begins_with_one_of(name, runtimes, sizeof runtimes / sizeof *runtimes))
    return PMR_EXIT_CALLER_RUNTIME;
  if (begins_with_one_of(name, virtual_machines,
                         sizeof virtual_machines / sizeof *virtual_machines))
    return PMR_EXIT_CALLER_VIRTUAL_MACHINE;
  return PMR_EXIT_CALLER_LIBRARY;
}

static int remember_module(struct dl_phdr_info *info, size_t size, void *unused) {
  uint64_t start = UINT64_MAX, end = 0;
  (void)size;
  (void)unused;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    if (header->p_type != PT_LOAD) continue;
    if (info->dlpi_addr + header->p_vaddr < start) start = info->dlpi_addr + header->p_vaddr;
    if (info->dlpi_addr + header->p_vaddr + header->p_memsz > end)
      end = info->dlpi_addr + header->p_vaddr + header->p_memsz;
  }
  if (end == 0 || module_count == MODULES_MAX) return 0;
  const char *path = info->dlpi_name && info->dlpi_name[0] ? info->dlpi_name : program_path;
  modules[module_count++] = (module_range){start, end, info->dlpi_addr, path};
  return 0;
}

void pmr_remember_modules(void) {
  program_header = getauxval(AT_PHDR);
  ssize_t length = readlink("/proc/self/exe", program_path, sizeof program_path - 1);
  program_path[length > 0 ? length : 0] = '\0';
  dl_iterate_phdr(remember_module, NULL);
}

static int find_remembered(uintptr_t address, pmr_caller *caller) {
  for (int i = 0; i < module_count; i++) {
    const module_range *module = &modules[i];
    if (address < module->start || address >= module->end) continue;
    caller->module = module->path;
    caller->module_offset = address - module->bias;
    caller->kind = classify(module->path,
                            module->start <= program_header && program_header < module->end);
    return 1;
  }
  return 0;
}

static void find_in_maps(uintptr_t address, pmr_caller *caller) {
  static maps_reader reader;
  static char line[640], module[512];
  uint64_t module_start = 0;
  module[0] = '\0';
  /* Direct system calls: the C library's are thread cancellation points. */
  reader.fd = (int)PMR_RAW4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
  reader.at = reader.size = 0;
  if (reader.fd < 0) return;
  while (read_line(&reader, line, sizeof line)) {
    uint64_t start, end;
    const char *at = parse_hex(line, &start);
    at = parse_hex(at + (*at == '-'), &end);
    const char *path = strchr(at, '/');
    /* The mappings of one module follow each other, nameless .bss parts between them. */
    if (path && strncmp(path, module, sizeof module - 1) != 0) {
      strncpy(module, path, sizeof module - 1);
      module_start = start;
    }
    if (start <= address && address < end) {
      if (!path) break; /* code without a file */
      caller->module = module;
      caller->module_offset = address - module_start;
      caller->kind = classify(module, 0);
      break;
    }
  }
  PMR_RAW1(SYS_close, reader.fd);
}

void pmr_find_caller(uintptr_t address, int may_read, pmr_caller *caller) {
  *caller = (pmr_caller){PMR_EXIT_CALLER_UNKNOWN, 0, ""};
  if (!find_remembered(address, caller) && may_read) find_in_maps(address, caller);
}

int pmr_knows_modules(void) { return module_count > 0; }

int pmr_is_python(const char *path) {
  const char *name = strrchr(path, '/');
  name = name ? name + 1 : path;
  return strncmp(name, "libpython", 9) == 0 || strncmp(name, "python", 6) == 0;
}
