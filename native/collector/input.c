/* The core, which the kernel writes to our standard input. */
#include "helper.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_MAX (64u << 20)

/* The part of the core that was read first; it is passed on like the rest. */
unsigned char *head;
size_t head_size;
static size_t head_passed;

static int read_until(size_t wanted, uint64_t deadline_ms) {
  while (head_size < wanted) {
    uint64_t now = now_ms();
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    if (now >= deadline_ms) return 0;
    uint64_t left = deadline_ms - now;
    int ready = poll(&input, 1, left < INT_MAX ? (int)left : INT_MAX);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    ssize_t got = ready < 0 ? -1 : read(STDIN_FILENO, head + head_size, wanted - head_size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 0;
    head_size += (size_t)got;
  }
  return 1;
}

static Elf64_Phdr read_segment(const Elf64_Ehdr *elf, unsigned number) {
  Elf64_Phdr segment;
  memcpy(&segment, head + elf->e_phoff + (size_t)number * sizeof segment, sizeof segment);
  return segment;
}

/* ELF header, program headers, notes: the kernel writes them first, in this order. 1 if all are there. */
int read_head(uint64_t deadline_ms) {
  if (!head) head = malloc(HEAD_MAX);
  if (!head || !read_until(sizeof(Elf64_Ehdr), deadline_ms)) return 0;
  Elf64_Ehdr elf;
  memcpy(&elf, head, sizeof elf);
  uint64_t headers_bytes = (uint64_t)elf.e_phnum * sizeof(Elf64_Phdr);
  if (memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_ident[EI_CLASS] != ELFCLASS64 ||
      elf.e_phentsize != sizeof(Elf64_Phdr) || elf.e_phoff > HEAD_MAX - headers_bytes ||
      !read_until((size_t)(elf.e_phoff + headers_bytes), deadline_ms))
    return 0;
  for (unsigned i = 0; i < elf.e_phnum; i++) {
    Elf64_Phdr segment = read_segment(&elf, i);
    if (segment.p_type != PT_NOTE) continue;
    return segment.p_offset <= HEAD_MAX && segment.p_filesz <= HEAD_MAX - segment.p_offset &&
           segment.p_offset + segment.p_filesz >= elf.e_phoff + headers_bytes &&
           read_until((size_t)(segment.p_offset + segment.p_filesz), deadline_ms);
  }
  return 0;
}

/* Where the core ends if it is whole, by its program headers; 0: unknown. Only after read_head(). */
uint64_t find_core_end(void) {
  Elf64_Ehdr elf;
  uint64_t end = 0;
  memcpy(&elf, head, sizeof elf);
  if (elf.e_phnum == PN_XNUM) return 0; /* the rest of them is counted elsewhere */
  for (unsigned i = 0; i < elf.e_phnum; i++) {
    Elf64_Phdr segment = read_segment(&elf, i);
    uint64_t segment_end = segment.p_offset + segment.p_filesz;
    if (segment_end > end) end = segment_end;
  }
  return end;
}

/* The next bytes of the core, from its beginning; less than ``size`` only at its end. */
size_t read_core(unsigned char *into, size_t size) {
  size_t filled = head_size - head_passed < size ? head_size - head_passed : size;
  if (filled > 0) memcpy(into, head + head_passed, filled);
  head_passed += filled;
  while (filled < size) {
    ssize_t got = read(STDIN_FILENO, into + filled, size - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += (size_t)got;
  }
  return filled;
}
