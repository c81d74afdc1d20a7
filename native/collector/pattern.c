/* A core_pattern of core(5), expanded as the kernel does. */
#include "helper.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *read_program(char *buffer, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%.16s/exe", given[PID]);
  ssize_t length = readlink(path, buffer, size - 1);
  buffer[length > 0 ? length : 0] = '\0';
  for (char *at = buffer; *at; at++)
    if (*at == '/') *at = '!';
  return buffer;
}

/* One %-specifier. */
static const char *expand_one(char specifier, char *buffer, size_t size) {
  switch (specifier) {
    case '%': return "%";
    case 'P': case 'I': return given[PID];
    case 'p': case 'i': return given[OWN_PID];
    case 's': return given[SIGNAL];
    case 'c': return given[LIMIT];
    case 'd': return given[MODE];
    case 't': return given[TIME];
    case 'u': return given[USER];
    case 'g': return given[GROUP];
    case 'e': return given[NAME];
    case 'h': return gethostname(buffer, size) == 0 ? buffer : "";
    case 'E': return read_program(buffer, size);
    default: return "";
  }
}

void expand_pattern(const char *pattern, char *into, size_t size, int is_path) {
  char buffer[512];
  size_t at = 0;
  for (; *pattern && at + 1 < size; pattern++) {
    const char *part = pattern[0] == '%' && pattern[1] ? expand_one(*++pattern, buffer, sizeof buffer)
                                                       : NULL;
    if (!part) {
      into[at++] = *pattern;
      continue;
    }
    /* As in the kernel: a name must not lead out of the directory. */
    if (is_path && (!strcmp(part, ".") || !strcmp(part, "..") || !*part)) part = "!";
    for (; *part && at + 1 < size; part++) into[at++] = is_path && *part == '/' ? '!' : *part;
  }
  into[at] = '\0';
}
