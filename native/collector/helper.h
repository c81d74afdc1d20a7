/* The parts of the core helper. main() in core_helper.c says in which order they work. */
#ifndef PERIMORTEM_HELPER_H
#define PERIMORTEM_HELPER_H

#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../src/collector_layout.h"

/* The arguments of core_pattern: %P %s %c %d %t %u %g %p %e. */
enum { PID = 1, SIGNAL, LIMIT, MODE, TIME, USER, GROUP, OWN_PID, NAME, ARGUMENTS };
extern char **given;
uid_t given_user(void);

/* settings.c: the files beside us, read before anything else: they may be removed at any time. */
typedef struct settings {
  char previous[256]; /* the core_pattern before us; empty: none */
  char run_dir[512];  /* where the monitor listens; empty: unknown */
  int chains;         /* the previous handler gets each core as well */
} settings;
int read_settings(settings *into);
int open_beside(const char *name, int flags);

/* files.c */
uint64_t now_ms(void);
ssize_t read_file(const char *path, char *into, size_t size);
int write_all(int fd, const void *data, size_t size);

/* counts.c: what became of each crash, for `perimortem system status`. */
void open_counts(void);
extern pmr_collector_counts *counts;
void count_crash(uint64_t *counter, const char *what);

/* slots.c: how many crashes are worked on at once. */
void open_slots(void);
int take_work_slot(void);
int take_write_slot(uint64_t deadline_ms);

/* input.c: the core, which the kernel writes to our standard input. */
extern unsigned char *head;
extern size_t head_size;
int read_head(uint64_t deadline_ms);
uint64_t find_core_end(void);
size_t read_core(unsigned char *into, size_t size);

/* monitor.c: whether the monitor has taken the crash. */
int notify_monitor(const settings *settings, uint64_t deadline_ms);

/* pattern.c */
void expand_pattern(const char *pattern, char *into, size_t size, int is_path);

/* handler.c, core_file.c: where the core goes without a monitor. */
void run_handler(const char *command, uint64_t deadline_ms);
void write_core_file(const char *pattern, uint64_t deadline_ms);

#endif
