/* faults KIND: ends by a fault of that kind; what it was is to be read from the dump alone. */
#define _GNU_SOURCE
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))

struct node {
  long key, unused;
  struct node *next;
};
static const int constant = 7;
static volatile long sink;

static KEEP void write_field(volatile struct node *node) { node->next = NULL; }
static KEEP long read_field(struct node *node) { return node->next->key; }
static KEEP void write_byte(volatile char *where) { *where = 1; }
static KEEP long read_far(long *table, long index) { return table[index]; }
static KEEP int divide(int a, int b) { return a / b; }
static KEEP void check(int number) { assert(number == 42); }
static KEEP void smash(int size) {
  volatile char room[16];
  for (int i = 0; i < size; i++) room[i] = 'A';
  sink = room[3];
}
static KEEP void overrun(const char *text) {
  char room[8];
  strcpy(room, text);
  sink = room[0];
}
static KEEP void free_twice(void) {
  char *volatile room = malloc(64);
  free(room);
  free(room);
}
static KEEP int endless(volatile char *above) {
  volatile char here[256];
  here[0] = above[0];
  int below = endless(here);
  sink += below;
  return below + here[0];
}
static KEEP void trap(void) { __builtin_trap(); }
static KEEP void call_back(void (*function)(void)) {
  function();
  sink++;
}

int main(int count, char **arguments) {
  const char *kind = count > 1 ? arguments[1] : "";
  long page = sysconf(_SC_PAGESIZE);
  struct node damaged = {1, 2, (struct node *)0xdddddddddddddddd};
  struct node text;
  memcpy(&text.next, "overflow", 8);
  if (!strcmp(kind, "null")) write_byte(NULL);
  if (!strcmp(kind, "null-field")) write_field(NULL);
  if (!strcmp(kind, "null-index")) sink = read_far(NULL, 100);
  if (!strcmp(kind, "freed-map")) {
    char *room = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(room, 4 * page);
    write_byte(room + 8);
  }
  if (!strcmp(kind, "read-only")) write_byte((char *)&constant);
  if (!strcmp(kind, "no-access"))
    write_byte(mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (!strcmp(kind, "poison")) sink = read_field(&damaged);
  if (!strcmp(kind, "text-pointer")) sink = read_field(&text);
  if (!strcmp(kind, "divide")) sink = divide(count, count - 2);
  if (!strcmp(kind, "assert")) check(count);
  if (!strcmp(kind, "smash")) smash(64);
  if (!strcmp(kind, "overrun")) overrun(arguments[0]);
  if (!strcmp(kind, "double-free")) free_twice();
  if (!strcmp(kind, "overflow")) endless(arguments[0]);
  if (!strcmp(kind, "trap")) trap();
  if (!strcmp(kind, "call-null")) call_back(NULL);
  if (!strcmp(kind, "call-nowhere")) call_back((void (*)(void))(uintptr_t)0x7ead0000beef);
  if (!strcmp(kind, "call-heap")) call_back((void (*)(void))(uintptr_t)malloc(64));
  if (!strcmp(kind, "file-cut")) {
    char name[] = "/tmp/faultsXXXXXX";
    int file = mkstemp(name);
    unlink(name);
    ftruncate(file, 2 * page);
    char *mapped = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ftruncate(file, 0);
    write_byte(mapped + page);
  }
  if (!strcmp(kind, "abort")) abort();
  return 3;
}
