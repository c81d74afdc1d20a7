/* The handler that core_pattern named before us: it gets the core on its standard input. */
#include "helper.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANDLER_ARGUMENTS_MAX 32

static void execute(const char *command) {
  static char room[HANDLER_ARGUMENTS_MAX][512], text[512];
  char *arguments[HANDLER_ARGUMENTS_MAX + 1];
  int count = 0;
  strncpy(text, command, sizeof text - 1);
  for (char *word = strtok(text, " "); word && count < HANDLER_ARGUMENTS_MAX;
       word = strtok(NULL, " ")) {
    expand_pattern(word, room[count], sizeof room[count], 0);
    arguments[count] = room[count];
    count++;
  }
  arguments[count] = NULL;
  if (count) execv(arguments[0], arguments);
  _exit(127);
}

/* Its standard input is a pipe of ours, or ours itself while nothing has been read of it. */
static pid_t start_handler(const char *command, int input) {
  pid_t child = fork();
  if (child != 0) return child;
  if (input != STDIN_FILENO) dup2(input, STDIN_FILENO);
  execute(command);
  return -1;
}

static pid_t feed_handler(const char *command) {
  static unsigned char buffer[1 << 16];
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  pid_t child = start_handler(command, ends[0]);
  close(ends[0]);
  signal(SIGPIPE, SIG_IGN);
  size_t got;
  while (child > 0 && (got = read_core(buffer, sizeof buffer)) > 0)
    if (!write_all(ends[1], buffer, got)) break;
  close(ends[1]);
  return child;
}

void run_handler(const char *command, uint64_t deadline_ms) {
  if (!take_write_slot(deadline_ms)) {
    count_crash(&counts->refused, "no core: too many are written at once");
    return;
  }
  pid_t child = head_size == 0 ? start_handler(command, STDIN_FILENO) : feed_handler(command);
  if (child < 0) {
    count_crash(&counts->not_written, "no core: the handler cannot be started");
    return;
  }
  count_crash(&counts->handler, NULL);
  waitpid(child, NULL, 0);
}
